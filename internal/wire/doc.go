// Package wire is SMTP as bytes: bounded lines, DATA and BDAT content, replies,
// dot-stuffing, xtext, and the grammar of MAIL and RCPT arguments. It serves
// both directions: smtpd reads commands with it and the smtp agent reads
// replies. It knows no configuration and no policy.
//
// Invariants:
//
//  1. Nothing here holds more than one buffer, one bounded line or one bounded
//     reply of a peer in memory, whatever the peer sends.
//  2. Only CRLF "." CRLF ends DATA (RFC 5321 4.1.1.4). No other sequence does,
//     in any mode and however the network cuts the stream.
//  3. Content that leaves a DataReader or a ChunkReader has CRLF at every line
//     end and no bare LF.
//  4. A byte slice returned by a Reader is valid until the next call on it.
package wire
