// Package dns is the resolver of the house: a caching stub that asks the name
// servers of resolv.conf, and a reader of /etc/hosts for "native" lookups. It
// stands where Postfix uses the resolver of the C library.
//
// Invariants:
//
//  1. An answer has three kinds: found, not there (NotFound, NoData), try later
//     (Temporary). A timeout, SERVFAIL or a malformed reply is always "later".
//  2. A reply is believed only when it comes from the server asked, with our
//     random id and our question; the rest is ignored until the deadline.
//  3. The AD bit counts only when the server is on loopback or the
//     administrator said "trust-ad".
//  4. Everything is bounded: records per set, CNAME steps, cache entries,
//     questions in flight, time.
//  5. Names come out in lower case without the final dot, and are syntactically
//     valid host names; records with other names are dropped.
package dns
