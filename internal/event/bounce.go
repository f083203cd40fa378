package event

import "postroad/internal/mail"

// Notified says that a delivery status notification is on its way.
type Notified struct {
	// ID is the message that it is about, NewID that of the notification.
	ID, NewID mail.QueueID
	// What names it as the log does: "sender non-delivery notification".
	What string
	// Kind is failure, delay, success or verify.
	Kind string
}

// AppendText implements Event.
func (e Notified) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.ID...), ": "...)
	dst = append(append(dst, e.What...), ": "...)
	return append(dst, e.NewID...)
}

// Count implements Counter.
func (e Notified) Count(m *Metrics) { m.Reports.WithLabelValues(e.Kind).Inc() }
