package event

import "postroad/internal/mail"

// ServerUnreachable says that a server could not be connected to; another may
// be tried. Postfix logs it without queue id.
type ServerUnreachable struct {
	// Text is "connect to host[addr]:port: reason".
	Text string
}

// AppendText implements Event.
func (e ServerUnreachable) AppendText(dst []byte) []byte { return AppendPrintable(dst, e.Text) }

// ServerSkipped says why a server did not take a message that may still go to
// another one.
type ServerSkipped struct {
	ID mail.QueueID
	// Text is the reason, as in the delivery line.
	Text string
}

// AppendText implements Event.
func (e ServerSkipped) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.ID...), ": "...)
	return AppendPrintable(dst, e.Text)
}

// ClientTLS says that TLS was established with a server.
type ClientTLS struct {
	// Trust is Anonymous, Untrusted, Trusted or Verified.
	Trust string
	// Server is "host[addr]:port", Session the description of the session.
	Server, Session string
}

// AppendText implements Event.
func (e ClientTLS) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.Trust...), " TLS connection established to "...)
	return append(append(AppendPrintable(dst, e.Server), ": "...), e.Session...)
}

// LineFolded says that lines of a message were broken on their way out because
// they were too long.
type LineFolded struct {
	ID    mail.QueueID
	Limit int
}

// AppendText implements Event.
func (e LineFolded) AppendText(dst []byte) []byte {
	dst = append(append(dst, e.ID...), ": breaking line > "...)
	return append(AppendInt(dst, e.Limit), " bytes with <CR><LF>SPACE"...)
}
