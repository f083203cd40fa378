package event

import (
	"strconv"
	"strings"

	"postroad/internal/mail"
)

// Connect says that an SMTP client connected.
type Connect struct {
	// Client is name[address], with a port when so configured; Service the
	// first column of master.cf.
	Client, Service string
}

// AppendText implements Event.
func (e *Connect) AppendText(dst []byte) []byte {
	return AppendPrintable(append(dst, "connect from "...), e.Client)
}

// Count implements Counter.
func (e *Connect) Count(m *Metrics) {
	m.Connections.WithLabelValues(e.Service).Inc()
	m.Sessions.WithLabelValues(e.Service).Inc()
}

// CommandCount is how often a client sent a command.
type CommandCount struct {
	Name      string
	OK, Total int
}

// Disconnect says that an SMTP client is gone, and what it did.
type Disconnect struct {
	Client, Service string
	// Counts are the commands in the order of the log; those never sent are
	// left out of the line.
	Counts []CommandCount
	// Note is an observation, such as "bare_lf", or empty.
	Note string
}

// AppendText implements Event.
func (e *Disconnect) AppendText(dst []byte) []byte {
	dst = AppendPrintable(append(dst, "disconnect from "...), e.Client)
	ok, total := 0, 0
	for _, c := range e.Counts {
		if c.Total == 0 {
			continue
		}
		ok, total = ok+c.OK, total+c.Total
		dst = append(append(append(dst, ' '), c.Name...), '=')
		dst = appendRatio(dst, c.OK, c.Total)
	}
	dst = append(dst, " commands="...)
	if total == 0 {
		dst = append(dst, "0/0"...)
	} else {
		dst = appendRatio(dst, ok, total)
	}
	if e.Note != "" {
		dst = append(append(dst, " notes="...), e.Note...)
	}
	return dst
}

// Count implements Counter.
func (e *Disconnect) Count(m *Metrics) { m.Sessions.WithLabelValues(e.Service).Dec() }

// appendRatio appends "ok/total", or one number when they are equal.
func appendRatio(dst []byte, ok, total int) []byte {
	dst = AppendInt(dst, ok)
	if ok != total {
		dst = AppendInt(append(dst, '/'), total)
	}
	return dst
}

// Accepted says that a transaction got its queue id, and from whom it is.
type Accepted struct {
	ID     mail.QueueID
	Client string
	SASL   *mail.SASL
	// OrigID and OrigClient come from XFORWARD, empty without.
	OrigID, OrigClient string
}

// AppendText implements Event.
func (e *Accepted) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.ID...), ": client="...)
	dst = AppendPrintable(dst, e.Client)
	dst = appendSASL(dst, e.SASL, ", ")
	if e.OrigID != "" {
		dst = AppendPrintable(append(dst, ", orig_queue_id="...), e.OrigID)
	}
	if e.OrigClient != "" {
		dst = AppendPrintable(append(dst, ", orig_client="...), e.OrigClient)
	}
	return dst
}

// appendSASL appends the fields of an authenticated session.
func appendSASL(dst []byte, s *mail.SASL, sep string) []byte {
	if s == nil {
		return dst
	}
	for _, f := range [...]struct{ name, value string }{
		{"sasl_method=", s.Method}, {"sasl_username=", s.Username}, {"sasl_sender=", s.Sender},
	} {
		if f.value != "" {
			dst = append(append(dst, sep...), f.name...)
			dst = AppendPrintable(dst, f.value)
		}
	}
	return dst
}

// Decision is what access control said about a command: a reject, or an action
// such as hold.
type Decision struct {
	ID mail.QueueID
	// Action is the word of the log: "reject", "hold", "milter-reject"; State
	// the stage: "RCPT", "END-OF-MESSAGE".
	Action, State, Client string
	Status                mail.Status
	// Said is shown in place of Status when it is not empty: the words of a mail
	// filter, as they came.
	Said string
	// From and To are as the client gave them; HasFrom and HasTo tell whether
	// there are any at this stage.
	From, To       string
	HasFrom, HasTo bool
	Proto, Helo    string
	SASL           *mail.SASL
}

// AppendText implements Event.
func (e *Decision) AppendText(dst []byte) []byte {
	if e.ID == "" {
		dst = append(dst, mail.NoQueue...)
	} else {
		dst = append(dst, e.ID...)
	}
	dst = append(append(append(dst, ": "...), e.Action...), ": "...)
	dst = append(append(dst, e.State...), " from "...)
	dst = append(AppendPrintable(dst, e.Client), ": "...)
	said := e.Said
	if said == "" {
		said = e.Status.String()
	}
	return e.appendEnvelope(AppendPrintable(dst, said))
}

// appendEnvelope appends what the transaction is, behind a text.
func (e *Decision) appendEnvelope(dst []byte) []byte {
	dst = append(dst, ';')
	if e.HasFrom {
		dst = append(AppendPrintable(append(dst, " from=<"...), e.From), '>')
	}
	if e.HasTo {
		dst = append(AppendPrintable(append(dst, " to=<"...), e.To), '>')
	}
	if e.Proto != "" {
		dst = append(append(dst, " proto="...), e.Proto...)
	}
	if e.Helo != "" {
		dst = append(AppendPrintable(append(dst, " helo=<"...), e.Helo), '>')
	}
	return appendSASL(dst, e.SASL, " ")
}

// Count implements Counter.
func (e *Decision) Count(m *Metrics) {
	if e.Action == "reject" || e.Action == "milter-reject" {
		m.Rejects.WithLabelValues(e.State, strconv.Itoa(e.Status.Code)).Inc()
	}
}

// LimitReached says that a limit of the site has no room for a command, whatever is
// done about it.
type LimitReached struct {
	// Decision has the command; its status is the text.
	Decision
	// Rule is the name of the limit, which comes from main.cf.
	Rule string
}

// Count implements Counter.
func (e *LimitReached) Count(m *Metrics) { m.Limited.WithLabelValues(e.Rule).Inc() }

// ProxyVerdict is what the filter of smtpd_proxy_filter said to a message.
type ProxyVerdict struct {
	// Decision has the transaction; its action and status are of no use here.
	Decision
	Accepted bool
	Reply    string
}

// AppendText implements Event.
func (e *ProxyVerdict) AppendText(dst []byte) []byte {
	word := "proxy-reject"
	if e.Accepted {
		word = "proxy-accept"
	}
	dst = append(append(dst, word...), ": END-OF-MESSAGE: "...)
	return e.appendEnvelope(AppendPrintable(dst, e.Reply))
}

// Count implements Counter.
func (e *ProxyVerdict) Count(m *Metrics) {
	if !e.Accepted && len(e.Reply) >= 3 {
		m.Rejects.WithLabelValues("proxy", e.Reply[:3]).Inc()
	}
}

// SessionEnded says that a session ended otherwise than by QUIT.
type SessionEnded struct {
	ID mail.QueueID
	// Reason is "lost connection", "timeout" or "too many errors"; After the
	// command or stage that came last.
	Reason, After, Client string
	// Bytes is how much content had come in, when After is DATA or BDAT; else -1.
	Bytes int64
}

// AppendText implements Event.
func (e *SessionEnded) AppendText(dst []byte) []byte {
	if e.ID == "" {
		dst = append(dst, mail.NoQueue...)
	} else {
		dst = append(dst, e.ID...)
	}
	dst = append(append(append(dst, ": "...), e.Reason...), " after "...)
	dst = AppendPrintable(dst, e.After)
	if e.Bytes >= 0 {
		dst = strconv.AppendInt(append(dst, " ("...), e.Bytes, 10)
		dst = append(dst, " bytes)"...)
	}
	return AppendPrintable(append(dst, " from "...), e.Client)
}

// Login is the outcome of an authentication.
type Login struct {
	Client, Mechanism, Username string
	// Failed and Temporary tell the outcome; both false is success, which has
	// no line of its own.
	Failed, Temporary bool
	// Throttled tells that the account failed too often for another attempt.
	Throttled bool
	// Unknown tells that Mechanism is a word of the client, not one on offer.
	Unknown bool
	// Reason is what the authentication server said, without any secret.
	Reason string
}

// AppendText implements Event.
func (e *Login) AppendText(dst []byte) []byte {
	dst = append(AppendPrintable(append(dst, "warning: "...), e.Client), ": SASL "...)
	dst = AppendPrintable(dst, e.Mechanism)
	dst = AppendPrintable(append(dst, " authentication failed: "...), e.Reason)
	if e.Username != "" {
		dst = AppendPrintable(append(dst, ", sasl_username="...), e.Username)
	} else {
		dst = append(dst, ", sasl_username=(unavailable)"...)
	}
	return dst
}

// Count implements Counter.
func (e *Login) Count(m *Metrics) {
	mechanism, result := strings.ToUpper(e.Mechanism), "failed"
	if e.Unknown {
		mechanism = "unknown"
	}
	switch {
	case !e.Failed:
		result = "ok"
	case e.Throttled:
		result = "throttled"
	case e.Temporary:
		result = "error"
	}
	m.Logins.WithLabelValues(mechanism, result).Inc()
}

// Logged implements Unlogged: a success shows in the line of the message.
func (e *Login) Logged() bool { return e.Failed }

// TLSEstablished says that a handshake succeeded.
type TLSEstablished struct {
	// Trust is Anonymous, Untrusted, Trusted or Verified; Direction "from" or "to".
	Trust, Direction, Peer string
	// Summary is the protocol and cipher as tlsmgr describes them.
	Summary string
}

// AppendText implements Event.
func (e *TLSEstablished) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.Trust...), " TLS connection established "...)
	dst = append(append(dst, e.Direction...), ' ')
	dst = append(AppendPrintable(dst, e.Peer), ": "...)
	return AppendPrintable(dst, e.Summary)
}

// Pipelining says that a client sent more than it may before an answer.
type Pipelining struct {
	After, Client string
	// Text is the beginning of what it sent.
	Text string
}

// AppendText implements Event.
func (e *Pipelining) AppendText(dst []byte) []byte {
	dst = append(append(dst, "improper command pipelining after "...), e.After...)
	dst = append(AppendPrintable(append(dst, " from "...), e.Client), ": "...)
	return AppendEscaped(dst, e.Text)
}
