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
//  3. A word that we do not know, or whose argument makes no sense, is a problem
//     when the configuration is read and refuses with 451 when it is reached; it
//     is never skipped.
//  4. Mail to a destination that is not ours passes only a list that names a
//     rule against it: a configuration without one does not start, and if it
//     were used all the same, every recipient would be refused with 451.
//  5. Evaluation ends: lists nest at most maxDepth deep, and the word lists in
//     tables are bounded. So are the lists of the DNS that a session remembers,
//     the hosts behind a name, and what a policy server may say.
//  6. A list of the DNS, or the hosts behind a name, that cannot be found out
//     refuse nobody, as in Postfix: they are for the bad, not for the good. What
//     would permit makes a rejection a deferral instead.
//  7. Nobody is permitted because of hosts that the client itself may name: mail
//     exchangers, name servers and addresses are for refusing only.
//  8. Who only traces asks no policy server and sends no probe.
package access
