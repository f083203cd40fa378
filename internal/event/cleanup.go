package event

import "postroad/internal/mail"

// MessageID is the Message-ID header as cleanup(8) found or made it.
type MessageID struct {
	ID mail.QueueID
	// Text is the value of the header, empty when there is none.
	Text string
	// Resent tells that it is a Resent-Message-ID.
	Resent bool
}

// AppendText implements Event.
func (e MessageID) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.ID...), ": "...)
	if e.Resent {
		dst = append(dst, "resent-"...)
	}
	dst = append(dst, "message-id="...)
	if e.Text == "" {
		return append(dst, "<>"...)
	}
	return AppendPrintable(dst, e.Text)
}

// ContentCheck is what a header or body check did.
type ContentCheck struct {
	ID mail.QueueID
	// Action is "reject", "warning", "hold" and so on.
	Action string
	// Class is "header", "body" or "mime-error NAME"; Line the text it is about.
	Class, Line string
	// Client is where the message came from: "name[addr]", "local" or empty.
	Client string
	// Sender and Recipient are those of the envelope; Recipient is the last one.
	Sender, Recipient       mail.Address
	HasSender, HasRecipient bool
	// Proto and Helo are those of the SMTP session.
	Proto, Helo string
	// Text is what the rule says.
	Text string
}

// maxCheckedLine is how much of a line is logged.
const maxCheckedLine = 200

// AppendText implements Event.
func (e *ContentCheck) AppendText(dst []byte) []byte {
	dst = append(append(append(dst, e.ID...), ": "...), e.Action...)
	dst = append(append(append(dst, ": "...), e.Class...), ' ')
	dst = AppendPrintable(dst, e.Line[:min(len(e.Line), maxCheckedLine)])
	client := e.Client
	if client == "" {
		client = "unknown"
	}
	dst = append(AppendPrintable(append(dst, " from "...), client), ';')
	if e.HasSender {
		dst = append(appendAddress(append(dst, " from=<"...), e.Sender), '>')
	}
	if e.HasRecipient {
		dst = append(appendAddress(append(dst, " to=<"...), e.Recipient), '>')
	}
	if e.Proto != "" {
		dst = AppendPrintable(append(dst, " proto="...), e.Proto)
	}
	if e.Helo != "" {
		dst = append(AppendPrintable(append(dst, " helo=<"...), e.Helo), '>')
	}
	if e.Text != "" {
		dst = AppendPrintable(append(dst, ": "...), e.Text)
	}
	return dst
}

// Pickup says that a local submission is about to become a message.
type Pickup struct {
	ID mail.QueueID
	// UID is the owner of the file, From the sender as given.
	UID  int
	From mail.Address
	// OrigID is set for a message that was put back to be cleaned again.
	OrigID mail.QueueID
}

// AppendText implements Event.
func (e Pickup) AppendText(dst []byte) []byte {
	dst = AppendInt(append(append(dst, e.ID...), ": uid="...), e.UID)
	dst = append(appendAddress(append(dst, " from=<"...), e.From), '>')
	if e.OrigID != "" {
		dst = append(append(dst, " orig_id="...), e.OrigID...)
	}
	return dst
}
