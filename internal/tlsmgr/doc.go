// Package tlsmgr makes TLS configurations from main.cf: certificates, protocol
// ranges, cipher grades and verification, for the server and the client side,
// and describes connections in the words of OpenSSL that Postfix logs.
//
// Invariants:
//
//  1. A configuration is built once per generation and shared by all sessions;
//     nothing is cloned per connection.
//  2. Session tickets of one server configuration are of no use to another:
//     each has keys of its own.
//  3. SSLv2 and SSLv3 are never spoken, whatever a protocol list says.
//  4. Private keys never appear in errors or log lines.
package tlsmgr
