// Package limits counts what clients do over hours and days, beside anvil(8): the
// restriction postroad_limit. It reads the rules, keeps the counters, and tells
// whether there is room. Postfix has no such thing.
//
// Invariants:
//
//  1. Asking and counting is one step: at most Max events of a key pass in any
//     period of the length Per, however many sessions ask at a time. An event
//     counts for up to a sixteenth of the period longer.
//  2. What is refused is not counted, and a rule with several windows counts in
//     all of them or in none.
//  3. Memory is bounded: maxKeys keys for a rule, maxRules rules. A rule that is
//     full forgets, of some keys taken at random, the one that has used least of
//     its limit: many new keys cannot make it forget those near theirs.
//  4. Counters outlive a reload and, in a Store, a restart. A crash loses what was
//     counted since the last Save.
package limits
