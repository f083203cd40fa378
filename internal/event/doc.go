// Package event is the one place through which the rooms say what happened.
// An Event is a typed fact; the same value becomes a line of the mail log, in
// Postfix's own grammar, and counts in the metrics.
//
// Invariants:
//
//  1. The mail path never waits for the log: Emit formats into a buffer that a
//     single writer goroutine flushes.
//  2. A line is one line: control characters from peers are printed as "?".
//  3. No event carries a password, a key or the content of a message.
package event
