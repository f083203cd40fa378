// Package postscreen is postscreen(8), with dnsblog(8) and the server side of
// tlsproxy(8): the gate before the SMTP server. It accepts the connections of a
// port, finds out who is no mail client, and hands the others to smtpd. A client
// that has passed is remembered and let through at once.
//
// The ways of a client, each a file:
//
//	client.go   admit: limits, access list, what is remembered; conclude
//	early.go    before the greeting: does it talk too early, is it listed
//	engine.go   a little SMTP server that takes no mail: how does it talk
//
// Invariants:
//
//  1. A client costs one goroutine and, while it is silent, no buffer. What waits
//     is bounded: clients in tests, clients that wait for smtpd, connections of one
//     client, lookups at a time, entries in the cache.
//  2. No byte that a client sent is lost when it is handed over, and no byte that
//     came before STARTTLS is read after it.
//  3. The engine never accepts a recipient, so it never has a message to lose.
//  4. What cannot be found out now (a list that does not answer, a table that
//     cannot be read) lets the client on to smtpd, which asks again; only the list
//     of interfaces that may be remembered fails closed.
//  5. The cache is knowledge that may be lost: it is not synced.
package postscreen
