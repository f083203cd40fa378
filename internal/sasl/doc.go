// Package sasl authenticates SMTP clients (RFC 4954): through the socket of
// Dovecot's auth service, as Cyrus SASL would by its configuration file (saslauthd,
// sasldb), or against a lookup table of password hashes.
//
// Mechanisms that are spoken here are PLAIN, LOGIN, CRAM-MD5 and SCRAM; those of
// Dovecot are passed through. Hashes of passwords are in Dovecot's {SCHEME} forms.
//
// Invariants:
//
//  1. No password and no client response appears in an error, a log line or a
//     String method.
//  2. An exchange that cannot be decided now ends in ErrTemporary, never in a
//     refusal and never in success. So does a stored password of a scheme that is
//     not known.
//  3. An unknown user costs as much time as a wrong password.
//  4. A mechanism that the security options or the filter forbid is neither
//     announced nor accepted.
//  5. What an attempt may cost is bounded: the length of a password, the work of a
//     hash, how many are computed at a time, and how long a peer is waited for.
package sasl
