// Package milter speaks to mail filters as smtpd(8) and cleanup(8) do: the Milter
// protocol, versions 2 to 6, from the side of the mail server.
//
// A Config holds the milter_* parameters of a service, a List the filters of one
// smtpd_milters or non_smtpd_milters, a Chain their connections during one SMTP
// session. A Chain reports commands as they come (Connect, Helo, Mail ...) and a
// complete message (Message); a Reply is what a filter has against it, nil when
// it has nothing.
//
// The protocol is written here and not taken from a library, because Postfix's
// behaviour lies in its details: which macros go where, when an event is left
// out, what a filter that fails at some point means for the commands that follow.
//
// Invariants:
//
//  1. What a filter asks to be changed is collected and bounded, and reaches the
//     message only with its final answer; a filter that dies, hangs or talks
//     nonsense before that has changed nothing.
//  2. A filter that failed is not spoken to again in its session. Its default
//     action (milter_default_action, or its own) answers in its place.
//  3. A packet, the number of packets in an answer and the time for each of them
//     and for all of them are bounded, whatever the filter sends.
//  4. A message is sent piece by piece: the memory of a filter is a header field
//     and one chunk of body.
//  5. Events and macros are those that the negotiated version knows, in the order
//     in which Postfix sends them.
//
// A Chain belongs to one goroutine.
package milter
