// Package bounce writes delivery status notifications: bounce(8), defer(8) and
// trace(8). A report is a multipart/report of RFC 3462 with the parts of RFC
// 3464: a text for people, the facts for programs, and the message or its
// header.
//
// Invariants:
//
//  1. A report is posted whole or not at all; an error means that nothing was
//     posted and the caller must try again.
//  2. A report about a bounce goes to the postmaster, one about such a notice
//     goes nowhere: there is never a report about a report about a report.
//  3. A recipient is reported only as its NOTIFY parameter allows; postmaster
//     copies name all recipients.
//  4. The original is streamed and never held whole; nothing in it, in an
//     address or in a server's reply can end a line or a part of the report.
package bounce
