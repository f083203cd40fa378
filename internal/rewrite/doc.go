// Package rewrite is trivial-rewrite(8): it puts addresses into user@domain
// form, finds the address class of a domain, the transport and the next hop of
// a recipient, and tells whether a recipient exists. It also holds the scanner
// for addresses as people write them: in SMTP commands and in headers.
//
// Invariants:
//
//  1. An Engine never changes after New; any number of goroutines may use it.
//  2. A lookup that fails is an error and means "try later". It never becomes
//     "user unknown", "not our domain" or "no such route".
//  3. Rewriting never fails and never makes an address out of nothing: the null
//     address stays the null address.
//  4. Resolving ends after a bounded number of steps whatever the address.
//  5. The scanner takes time linear in its input; it changes only the bytes of
//     the addresses that a caller changes.
package rewrite
