// Package sasl authenticates SMTP clients (RFC 4954): through the socket of
// Dovecot's auth service, or against a lookup table of password hashes.
//
// Invariants:
//
//  1. No password and no client response appears in an error, a log line or a
//     String method.
//  2. An exchange that cannot be decided now ends in ErrTemporary, never in a
//     refusal and never in success.
//  3. An unknown user costs as much time as a wrong password.
//  4. A mechanism that the security options forbid is neither announced nor
//     accepted.
package sasl
