// Package control is the protocol between the commands and the running server:
// what the showq, pickup, qmgr, flush and postlog sockets are in Postfix. It runs over
// the unix socket public/postroad in the queue directory.
//
// A frame is a length in four bytes (big endian) and that many bytes of JSON.
// The client sends one Request per connection; the server answers with frames
// until one has End set.
//
// Invariants:
//
//  1. Who asks is known from the kernel (SO_PEERCRED), never from the request.
//  2. A frame longer than its limit ends the connection before it is read.
//  3. A request is bounded in time.
package control
