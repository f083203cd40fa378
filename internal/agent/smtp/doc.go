// Package smtp is the network delivery agent: smtp(8) and lmtp(8).
//
// An attempt walks from the next hop to sites, from a site to its servers in
// order of preference, and from a server to a session; each recipient ends
// with one result. The files follow that walk: client.go, attempt.go, dest.go,
// target.go, dial.go, session.go, xfer.go; reply.go and body.go are the bytes.
//
// Invariants:
//
//  1. A recipient is sent only by a 2xx reply to the end of the data, and every
//     recipient without a final answer is deferred.
//  2. A transaction is repeated on another connection only while no end of data
//     was sent in it, or after the server refused it with 4xx.
//  3. What goes out after DATA has CRLF line ends only, a dot before each line
//     that starts with one, and ends in one CRLF.CRLF that we wrote.
//  4. Every reply is bounded in bytes, lines and time.
//  5. Nothing that a server said before TLS started is believed afterwards; at a
//     mandatory level nothing is sent in plaintext.
//  6. A cached connection that turns out dead before its first reply is replaced
//     silently; a connection in an unknown state is never kept.
package smtp
