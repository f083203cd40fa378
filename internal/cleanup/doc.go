// Package cleanup is cleanup(8), the only writer of the queue, and pickup(8),
// which feeds it what local users submitted.
//
// A Message takes the envelope and then the content, and ends in the queue or
// nowhere. The header is handled one logical line at a time while it streams in
// and the body is copied; what is missing in the header is added behind it, so
// nothing needs to be held back.
//
// Invariants:
//
//  1. The memory of a message does not grow with its content: one logical header
//     line (header_size_limit), one piece of a body line (line_length_limit), the
//     stack of MIME boundaries (mime_nesting_limit) and the recipients.
//  2. Finish answers 250 only after the queue has made the message durable. Every
//     other answer means that nothing of it is in the queue.
//  3. A lookup that fails refuses the message for now. It never counts as "not
//     found", and the message is never changed by half.
//  4. A stored line ends with CRLF and holds no other CR or LF, whatever was
//     written (only cleanup_replace_stray_cr_lf = no lets a CR through): nothing
//     downstream can see a line that we did not.
//  5. Body bytes are not changed otherwise, unless a body check says so. Header
//     bytes stay, but for blanks between a name and its colon, and for a list of
//     addresses of which one is rewritten: it is laid out again.
//  6. Every answer is one of the rows in status.go, the first that applies.
//
// The files in testdata/cases say what a running cleanup(8) of Postfix does; the
// test with the build tag oracle asks it again.
//
// Mail filters (milters) look at a message in Finish, when header and body are in
// the queue's writer and before the commit. What one of them wants to be changed is
// made in one step, into a second content that takes the place of the first
// (milter_edit.go). Those of SMTP sessions come with the message; for other mail a
// session is made up (milter.go).
package cleanup
