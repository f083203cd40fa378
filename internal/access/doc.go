// Package access decides what an SMTP client may do: the smtpd_*_restrictions
// of smtpd(8) and the tables of access(5).
//
// The lists are compiled once per service into rules; each word of the language
// is a row in restrictions.go. A Checker holds what one session remembers
// between commands.
//
// Invariants:
//
//  1. Every Verdict that is not Dunno names the rule, the list, the place in
//     the list and, when a table decided, its key.
//  2. A lookup that fails refuses with 4xx. It never permits, and never becomes
//     "unknown user".
//  3. A word that we do not know, or do not have yet, is a problem when the
//     configuration is read and refuses with 451 when it is reached; it is
//     never skipped.
//  4. Mail to a destination that is not ours passes only a list that names a
//     rule against it: a configuration without one does not start, and if it
//     were used all the same, every recipient would be refused with 451.
//  5. Evaluation ends: lists nest at most maxDepth deep, and the word lists in
//     tables are bounded.
package access
