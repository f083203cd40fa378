package event

import "postroad/internal/mail"

// QueueActive says that a message entered the active queue, at each attempt.
type QueueActive struct {
	ID   mail.QueueID
	From mail.Address
	// Size is the length of the content, Recipients how many are left to do.
	Size       int64
	Recipients int
}

// AppendText implements Event.
func (e QueueActive) AppendText(dst []byte) []byte {
	dst = appendFrom(dst, e.ID, e.From)
	dst = AppendInt(append(dst, ", size="...), int(e.Size))
	dst = AppendInt(append(dst, ", nrcpt="...), e.Recipients)
	return append(dst, " (queue active)"...)
}

// Count implements Counter.
func (e QueueActive) Count(m *Metrics) { m.Activated.Inc() }

// Removed says that a message left the queue.
type Removed struct {
	ID mail.QueueID
	// Note is "" after delivery; cleanup logs "canceled" and "discarded".
	Note string
}

// AppendText implements Event.
func (e Removed) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.ID...), ": removed"...)
	if e.Note != "" {
		dst = append(append(append(dst, " ("...), e.Note...), ')')
	}
	return dst
}

// Count implements Counter.
func (e Removed) Count(m *Metrics) { m.Removed.Inc() }

// Expired says that a message was too long in the queue and goes back to its
// sender.
type Expired struct {
	ID   mail.QueueID
	From mail.Address
	// Forced tells that an administrator expired it (postsuper -e).
	Forced bool
}

// AppendText implements Event.
func (e Expired) AppendText(dst []byte) []byte {
	dst = append(appendFrom(dst, e.ID, e.From), ", status="...)
	if e.Forced {
		dst = append(dst, "force-"...)
	}
	return append(dst, "expired, returned to sender"...)
}

// Count implements Counter.
func (e Expired) Count(m *Metrics) { m.Expired.Inc() }

// BounceFailed says that a report could not be posted, so that the message
// stays in the queue.
type BounceFailed struct{ ID mail.QueueID }

// AppendText implements Event.
func (e BounceFailed) AppendText(dst []byte) []byte {
	return append(append(dst, e.ID...), ": status=deferred (bounce failed)"...)
}

// StillDelivering says that a message was not picked up again because an
// attempt is under way.
type StillDelivering struct{ ID mail.QueueID }

// AppendText implements Event.
func (e StillDelivering) AppendText(dst []byte) []byte {
	return append(append(dst, e.ID...), ": skipped, still being delivered"...)
}

// appendFrom appends "QID: from=<address>".
func appendFrom(dst []byte, id mail.QueueID, from mail.Address) []byte {
	dst = append(append(dst, id...), ": from=<"...)
	return append(appendAddress(dst, from), '>')
}
