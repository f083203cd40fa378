// Package mail holds the nouns of the house: addresses, sessions, envelopes,
// recipients, routes, verdicts and results. It has types and small pure helpers
// only; it imports nothing of Postroad and does no I/O.
//
// Invariants:
//
//  1. An Address is in internal (unquoted) form, as the queue stores it; only
//     External gives the RFC 5321 form for the wire and the log.
//  2. A Status is what a peer may read. The cause of a failure travels beside
//     it as an error and is seen by the log only.
//  3. A queue id, a transport name and a nexthop are different types, so that
//     one is never passed for another.
package mail
