package event

// Screening is something that happened to a client before it reached the SMTP
// server.
type Screening struct {
	// What is the label of the metric: "connect", "pass_new", "pregreet"; Text
	// the line, whose parts from the client are escaped.
	What, Text string
}

// AppendText implements Event.
func (e *Screening) AppendText(dst []byte) []byte { return AppendPrintable(dst, e.Text) }

// Count implements Counter.
func (e *Screening) Count(m *Metrics) { m.Screened.WithLabelValues(e.What).Inc() }

// ScreenReject is a command that the gate before the SMTP server refused.
type ScreenReject struct {
	// Client is [address]:port, Reply what it heard, Code the first word of that.
	Client, Reply, Code   string
	From, To, Proto, Helo string
}

// AppendText implements Event.
func (e *ScreenReject) AppendText(dst []byte) []byte {
	dst = append(append(dst, "NOQUEUE: reject: RCPT from "...), e.Client...)
	dst = AppendPrintable(append(dst, ": "...), e.Reply)
	dst = AppendPrintable(append(dst, "; from=<"...), e.From)
	dst = AppendPrintable(append(dst, ">, to=<"...), e.To)
	dst = append(append(dst, ">, proto="...), e.Proto...)
	return append(AppendPrintable(append(dst, ", helo=<"...), e.Helo), '>')
}

// Count implements Counter.
func (e *ScreenReject) Count(m *Metrics) { m.Rejects.WithLabelValues("postscreen", e.Code).Inc() }
