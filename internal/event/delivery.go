package event

import (
	"strings"
	"time"

	"postroad/internal/mail"
)

// Delivery is the end of one delivery attempt for one recipient: the line that
// every delivery agent of Postfix logs.
type Delivery struct {
	ID mail.QueueID
	// To is the recipient, OrigTo what the client asked for; OrigTo is logged
	// only when it differs.
	To, OrigTo mail.Address
	// Transport is the master.cf service; it labels the metrics.
	Transport mail.Transport
	// Relay is who answered ("host[addr]:port"), empty for none.
	Relay string
	// ConnUse counts the deliveries over this connection; logged from 2 on.
	ConnUse int
	// Times are the moments that the delays are computed from.
	Times Times
	// DelayDigits is delay_logging_resolution_limit; 0 means the default and a
	// negative number means whole seconds.
	DelayDigits int
	// TLS is the tls= value, empty when TLS was not considered.
	TLS string
	// DSN is the RFC 3463 code.
	DSN     string
	Outcome mail.Outcome
	// SoftBounce tells that soft_bounce turned a bounce into a deferral.
	SoftBounce bool
	Reason     string
}

// Times are the stations of a delivery. A zero time is a station not passed.
type Times struct {
	// Arrived is when the message came in, Active when it entered the active
	// queue, Started when the agent took over, Connected when the connection
	// was ready, Done the end.
	Arrived, Active, Started, Connected, Done time.Time
}

// Delays are the parts of delays=a/b/c/d and their total.
type Delays struct{ Total, BeforeQueue, Queue, Setup, Transmit time.Duration }

// Delays computes the parts: before the queue manager, in it, connection set-up
// and transmission. Without a connection all of the agent's time is transmission.
func (t Times) Delays() Delays {
	var d Delays
	d.Total = span(t.Arrived, t.Done)
	if !t.Started.IsZero() {
		if t.Connected.IsZero() {
			d.Transmit = span(t.Started, t.Done)
		} else {
			d.Setup = span(t.Started, t.Connected)
			d.Transmit = span(t.Connected, t.Done)
		}
	}
	if !t.Active.IsZero() {
		end := t.Started
		if end.IsZero() {
			end = t.Done
		}
		d.Queue = span(t.Active, end)
		d.BeforeQueue = span(t.Arrived, t.Active)
	}
	return d
}

// span is the time from one station to another, never negative.
func span(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return max(to.Sub(from), 0)
}

// AppendText implements Event.
func (e *Delivery) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.ID...), ": to=<"...)
	dst = appendAddress(dst, e.To)
	dst = append(dst, '>')
	if e.OrigTo != "" && !strings.EqualFold(string(e.OrigTo), string(e.To)) {
		dst = append(dst, ", orig_to=<"...)
		dst = appendAddress(dst, e.OrigTo)
		dst = append(dst, '>')
	}
	dst = append(dst, ", relay="...)
	if e.Relay == "" {
		dst = append(dst, "none"...)
	} else {
		dst = AppendPrintable(dst, e.Relay)
	}
	if e.ConnUse > 1 {
		dst = AppendInt(append(dst, ", conn_use="...), e.ConnUse)
	}
	dst = e.appendDelays(dst)
	if e.TLS != "" {
		dst = AppendPrintable(append(dst, ", tls="...), e.TLS)
	}
	dst = AppendPrintable(append(dst, ", dsn="...), e.DSN)
	dst = append(append(dst, ", status="...), e.status()...)
	dst = append(dst, " ("...)
	dst = AppendPrintable(dst, e.Reason)
	return append(dst, ')')
}

// appendDelays appends delay= and delays=.
func (e *Delivery) appendDelays(dst []byte) []byte {
	digits := e.DelayDigits
	if digits == 0 {
		digits = DefaultDelayDigits
	}
	d := e.Times.Delays()
	dst = AppendDelay(append(dst, ", delay="...), d.Total, digits)
	dst = AppendDelay(append(dst, ", delays="...), d.BeforeQueue, digits)
	dst = AppendDelay(append(dst, '/'), d.Queue, digits)
	dst = AppendDelay(append(dst, '/'), d.Setup, digits)
	return AppendDelay(append(dst, '/'), d.Transmit, digits)
}

// status is the word behind status=.
func (e *Delivery) status() string {
	if e.SoftBounce {
		return "SOFTBOUNCE"
	}
	return e.Outcome.String()
}

// Count implements Counter.
func (e *Delivery) Count(m *Metrics) {
	status := e.Outcome.String()
	m.Deliveries.WithLabelValues(string(e.Transport), status).Inc()
	d := e.Times.Delays()
	m.Delay.WithLabelValues("total").Observe(d.Total.Seconds())
	m.Delay.WithLabelValues("before_queue").Observe(d.BeforeQueue.Seconds())
	m.Delay.WithLabelValues("queue").Observe(d.Queue.Seconds())
	m.Delay.WithLabelValues("setup").Observe(d.Setup.Seconds())
	m.Delay.WithLabelValues("transmit").Observe(d.Transmit.Seconds())
}

// appendAddress appends an address as the log shows it: in RFC 5321 form
// (info_log_address_format = external).
func appendAddress(dst []byte, a mail.Address) []byte {
	return AppendPrintable(dst, a.External())
}
