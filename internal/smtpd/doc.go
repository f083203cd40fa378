// Package smtpd is smtpd(8): the SMTP server. It speaks the protocol, keeps the
// limits, and asks the access room what to allow; what it accepts goes to the
// cleanup room as a stream. One file per command, one row per command in
// commands.go.
//
// Invariants:
//
//  1. A session is one goroutine. Nothing it does holds up another session, and
//     a panic in it ends it alone, with 421.
//  2. A transaction begins with MAIL and ends with the reply to its content, a
//     refusal of its content, RSET, HELO, EHLO, STARTTLS, XCLIENT or the end of
//     the session; all of its state is in one struct that is cleared as a whole.
//     There is no DATA or BDAT without a fresh MAIL and an accepted RCPT.
//  3. 250 after content is sent only when cleanup has returned success, and the
//     queue id in it is that of the queue.
//  4. Bytes that a client sent before STARTTLS are never read after it: a client
//     that pipelines behind STARTTLS is cut off.
//  5. Replies to pipelined commands go out in one write, before the next read
//     that may wait.
//  6. What is counted per client is bounded in number, and so is everything that
//     a session keeps.
package smtpd
