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
//     bytes stay, but for addresses that are rewritten and names that are followed
//     by blanks before the colon.
//  6. Every answer is one of the rows in status.go, the first that applies.
//
// Mail filters (milters) will look at a message in Finish, after the content is
// complete and before the recipients are settled.
package cleanup
