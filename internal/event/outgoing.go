package event

import "postroad/internal/mail"

// OutgoingCheck is what smtp_header_checks and their kind did with a line.
type OutgoingCheck struct {
	ID mail.QueueID
	// Action is "info", "replace" and so on; Class is "header" or "body", Line what
	// it is about and Text what the rule says.
	Action, Class, Line, Text string
}

// AppendText implements Event.
func (e OutgoingCheck) AppendText(dst []byte) []byte {
	dst = append(append(append(dst, e.ID...), ": "...), e.Action...)
	dst = append(append(append(dst, ": "...), e.Class...), ' ')
	dst = AppendPrintable(dst, e.Line[:min(len(e.Line), maxCheckedLine)])
	if e.Text == "" {
		return dst
	}
	return AppendPrintable(append(dst, ": "...), e.Text)
}
