// Package box runs a piece of a test inside a private machine: its own mount,
// process, host name and network namespaces, with private copies of /etc,
// the spool, the log and the mailboxes. The mail server under test (the
// Subject) sees an ordinary system with the host name mx.example.test; the
// rest of the world (clients, remote servers, name server) is played by the
// test from the other end of a cable.
//
// The program re-executes itself: Main, called first thing, turns the copy into
// the first process of the box or into the runner of the job.
//
//	server network                         world network
//	127.0.0.1, 192.0.2.1, 2001:db8::1 ---- all of 192.0.2.0/24, 198.51.100.0/24,
//	the subject; DNS on 127.0.0.1:53       203.0.113.0/24, 2001:db8::/64
//
// Invariants:
//
//  1. Nothing outside the box changes: every mount is in a private mount
//     namespace, every file that a subject writes lies on a private file system.
//  2. When the first process of the box ends, the kernel ends all others; no
//     process outlives its test.
//  3. A box needs root. It never skips: without root it is an error.
package box
