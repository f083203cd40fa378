package cli

import (
	"context"
	"errors"
	"net/netip"
	"os"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
	"postroad/internal/postconf"
	"postroad/internal/smtpd"
)

// standAlone is sendmail -bs: an SMTP session on the standard streams, in this
// process and with the rights of its user, as smtpd -S of Postfix. What it accepts
// goes to the maildrop, so that it works while no server runs. Restrictions, TLS,
// authentication, milters and filters are for strangers, and not asked.
func (e *Env) standAlone(c *config) int {
	if !c.allowed("authorized_submit_users", c.settings.SubmitUsers, e.UID) {
		return e.Fatalf(exTempfail, "User %s(%d) is not allowed to submit mail", userName(e.UID), e.UID)
	}
	set, done := openTables(c.Config)
	defer done()
	sink := event.Sink(discardLog{})
	if e.log != nil {
		sink = e.log
	}
	srv, problems := smtpd.FromView(standAloneView(c.Config), set, sink, os.ReadFile)
	for i := range problems {
		if problems[i].Fatal {
			return e.Fatalf(exTempfail, "%v", problems[i].Error())
		}
	}
	srv.TLS, srv.SASL, srv.Access, srv.Stress = nil, nil, nil, nil
	srv.Cleanup = dropOff{env: e, c: c}
	srv.Names, srv.Flush = localhost{}, unable{}
	srv.MaxSessions = 1
	srv.ServeLocal(context.Background(), newStdConn(e.Stdin, e.Stdout))
	return 0
}

// standAloneView is main.cf without what an ordinary user's process cannot have
// and a session of the user's own does not need.
func standAloneView(cfg *postconf.Config) *postconf.View {
	v := cfg.View(nil)
	for _, o := range []struct{ name, value string }{
		{"smtpd_tls_security_level", "none"}, {"smtpd_tls_wrappermode", "no"}, {"smtpd_use_tls", "no"}, {"smtpd_enforce_tls", "no"},
		{"smtpd_tls_cert_file", ""}, {"smtpd_tls_key_file", ""}, {"smtpd_tls_chain_files", ""},
		{"smtpd_sasl_auth_enable", "no"}, {"smtpd_sasl_exceptions_networks", ""},
		{"smtpd_milters", ""}, {"smtpd_milter_maps", ""}, {"smtpd_proxy_filter", ""},
		{"smtpd_authorized_xclient_hosts", ""}, {"smtpd_authorized_xforward_hosts", ""}, {"smtpd_authorized_verp_clients", ""},
		{"smtpd_client_event_limit_exceptions", ""}, {"smtpd_forbid_bare_newline", "no"}, {"smtpd_forbid_bare_newline_exclusions", ""},
		{"smtpd_forbid_unauth_pipelining", "no"}, {"local_header_rewrite_clients", "permit_inet_interfaces"}, {"mynetworks", "127.0.0.0/8"},
	} {
		v = v.With(o.name, o.value)
	}
	return v
}

// discardLog says nothing.
type discardLog struct{ event.Sink }

// localhost is the name of the only client.
type localhost struct{}

// Names implements smtpd.Resolver.
func (localhost) Names(context.Context, netip.Addr) ([]string, error) {
	return []string{"localhost"}, nil
}

// Addrs implements smtpd.Resolver.
func (localhost) Addrs(_ context.Context, _ string, like netip.Addr) ([]netip.Addr, error) {
	return []netip.Addr{like}, nil
}

// Temporary implements smtpd.Resolver.
func (localhost) Temporary(error) bool { return false }

// unable answers ETRN: only the server can flush.
type unable struct{}

// Flush implements smtpd.Flusher.
func (unable) Flush(context.Context, string) (bool, error) {
	return true, errors.New("a stand-alone session cannot flush the queue")
}

// dropOff takes the messages of a stand-alone session to the maildrop.
type dropOff struct {
	env *Env
	c   *config
}

// Begin implements smtpd.Cleanup.
func (o dropOff) Begin(context.Context, *smtpd.MessageOptions) (smtpd.Message, error) {
	d, err := o.env.openDrop(o.c)
	if err != nil {
		return nil, err
	}
	return &letter{drop: d, lf: &maildrop.LineFeeds{W: o.c.limited(d)}, envelope: maildrop.Envelope{Queued: o.env.now()}}, nil
}

// letter is a message of a stand-alone session.
type letter struct {
	drop     drop
	lf       *maildrop.LineFeeds
	envelope maildrop.Envelope
	begun    bool
	err      error
}

// ID implements smtpd.Message.
func (m *letter) ID() mail.QueueID { return m.drop.ID() }

// SetSender implements smtpd.Message.
func (m *letter) SetSender(addr mail.Address, p smtpd.SenderParams) {
	e := &m.envelope
	e.Sender, e.EnvID, e.Ret, e.SMTPUTF8, e.RequireTLS, e.VERP = addr, p.EnvID, p.Ret, p.SMTPUTF8, p.RequireTLS, p.VERP
	if p.EightBit {
		e.Encoding = "8bit"
	}
}

// AddRecipient implements smtpd.Message.
func (m *letter) AddRecipient(r mail.Recipient) {
	m.envelope.Recipients = append(m.envelope.Recipients, maildrop.Recipient{Address: r.Address, ORCPT: r.ORCPT, Notify: r.Notify})
}

// Header implements smtpd.Message.
func (m *letter) Header(field string) { _, _ = m.Write([]byte(field + "\r\n")) }

// Objected implements smtpd.Message; filters see the message when it is picked up.
func (*letter) Objected() bool { return false }

// Apply implements smtpd.Message; nobody asks for an action.
func (*letter) Apply(access.Actions) {}

// Write implements smtpd.Message.
func (m *letter) Write(p []byte) (int, error) {
	m.begin()
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.lf.Write(p)
	m.err = err
	return n, err
}

// begin writes the envelope, once.
func (m *letter) begin() {
	if !m.begun {
		m.begun = true
		m.err = m.drop.Begin(&m.envelope)
	}
}

// Finish implements smtpd.Message.
func (m *letter) Finish(context.Context) mail.Status {
	m.begin()
	if m.err == nil {
		m.err = m.lf.End()
	}
	if m.err == nil {
		m.err = m.drop.Commit()
	}
	m.drop.Abort() // does nothing after Commit
	var failed *dropError
	switch {
	case m.err == nil:
		return mail.Status{Code: 250, Enhanced: "2.0.0", Text: "Ok: queued as " + string(m.ID())}
	case errors.Is(m.err, errTooBig), errors.As(m.err, &failed) && failed.status == dropSize:
		return mail.Status{Code: 552, Enhanced: "5.3.4", Text: "Error: message file too big"}
	case errors.As(m.err, &failed) && failed.status == dropDeny:
		return mail.Status{Code: 550, Enhanced: "5.7.1", Text: "Error: " + failed.reason}
	}
	return mail.Status{Code: 451, Enhanced: "4.3.0", Text: "Error: queue file write error"}
}

// Abort implements smtpd.Message.
func (m *letter) Abort() { m.drop.Abort() }
