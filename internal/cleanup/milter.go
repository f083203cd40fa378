package cleanup

import (
	"net/netip"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/milter"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

// filterLists are the mail filters of a Service.
type filterLists struct {
	cfg *milter.Config
	// list is non_smtpd_milters, nil for none; checks milter_header_checks.
	list   *milter.List
	checks *table.Maps
	// classes are the kinds of internal mail that are inspected like any other.
	classes map[string]bool
}

// mailClasses are the words of internal_mail_filter_classes; those that are false
// are accepted and mean nothing, as in Postfix.
var mailClasses = map[string]bool{
	"bounce": true, "notify": true, "forward": false, "qmqpd": false, "sendmail": false, "smtpd": false, "verify": false,
}

// filters reads the settings of the mail filters.
func (b *builder) filters(cfg *postconf.View) {
	s, set := b.s, &b.s.set
	var problems []postconf.Problem
	s.filters.cfg, problems = milter.FromView(cfg)
	b.problems = append(b.problems, problems...)
	var err error
	s.filters.list, err = s.filters.cfg.Parse(set.Milters)
	b.check("non_smtpd_milters", err)
	s.filters.checks = b.maps("milter_header_checks", set.MilterChecks)
	s.filters.classes = map[string]bool{}
	for _, word := range set.InternalClasses {
		matters, known := mailClasses[word]
		if !known {
			b.problem("internal_mail_filter_classes", "unknown internal_mail_filter_classes value \""+word+"\"")
		}
		s.filters.classes[word] = matters
	}
}

// filtering is where a message stands with its mail filters.
type filtering struct {
	chain *milter.Chain
	// own tells that the chain is ours: it sees a session that we make up.
	own bool
	// trace is our trace header as stored, which filters do not see.
	trace string
	// sender and rcpt are the addresses of the events that we make up.
	sender, rcpt       string
	hasSender, hasRcpt bool
	// refusal is what a filter has against the message, as the client hears it.
	refusal *mail.Status
	// checking tells that milter_header_checks are at work.
	checking bool
}

// headerLimit bounds a header field that goes to a filter: libmilter does not take
// packets over 65535 bytes.
const headerLimit = 60000

// beginFilters finds the filters of a message.
func (m *Message) beginFilters(inspected bool) {
	switch {
	case m.opt.NoMilters:
		return
	case m.opt.Origin == mail.OriginSMTP:
		m.filters.chain = m.opt.Filters
	case m.s.filters.list != nil && (m.opt.Origin == mail.OriginLocal || inspected):
		m.filters.chain = m.s.filters.list.Begin(m.ctx, m.s.deps.Log, m.filterMacro)
		m.filters.own = true
	}
	if m.filters.chain != nil {
		m.head.limit = min(m.head.limit, headerLimit)
	}
}

// filterable tells whether filters have a say in a message as it stands.
func (m *Message) filterable() bool {
	return m.filters.chain != nil && m.faults == 0 && !m.discard
}

// endFilters ends the session that we made up.
func (m *Message) endFilters() {
	if m.filters.own {
		m.filters.chain.Close()
		m.filters.chain, m.filters.own = nil, false
	}
}

// hideTrace notes our trace header, which is the first one.
func (m *Message) hideTrace(text []byte) {
	if m.filters.chain != nil {
		m.filters.trace = strings.TrimSuffix(string(appendField(nil, text)), "\r\n")
	}
}

// simulateMail tells filters of mail that did not come by SMTP about a client, its
// greeting and the sender.
func (m *Message) simulateMail() {
	if !m.filters.own || !m.filterable() {
		return
	}
	f, who := &m.filters, m.filterClient()
	if r := f.chain.Connect(milter.Client{Name: who.name, Addr: who.addr}); r != nil {
		m.object("CONNECT", r)
		return
	}
	if r := f.chain.Helo(who.name); r != nil {
		m.object("EHLO", r)
		return
	}
	f.sender, f.hasSender = m.env.Sender.External(), true
	if r := f.chain.Mail(f.sender); r != nil {
		m.object("MAIL", r)
	}
}

// simulateRcpt tells them about a recipient. One that they refuse cannot be
// refused alone.
func (m *Message) simulateRcpt(addr mail.Address) {
	if !m.filters.own || !m.filterable() {
		return
	}
	f := &m.filters
	f.rcpt, f.hasRcpt = addr.External(), true
	r := f.chain.Rcpt(false, f.rcpt)
	if r == nil || !m.object("RCPT", r) {
		return
	}
	m.warnf("milter configuration error: can't reject recipient in non-smtpd(8) submission")
	m.warnf("message not accepted, try again later")
	f.refusal, m.reason = nil, "4.3.5 Server configuration error"
	m.faults |= faultDefer
}

// inspect shows the complete message to the filters.
func (m *Message) inspect() {
	if !m.filterable() {
		return
	}
	f := &m.filters
	if f.own {
		if r := f.chain.Data(); r != nil {
			m.object("DATA", r)
		}
	}
	if !m.filterable() || !f.chain.Active() {
		return
	}
	if r := f.chain.Message(&editor{m: m}, m.filterMacro); r != nil {
		m.object("END-OF-MESSAGE", r)
	}
	if len(m.env.Recipients) == 0 {
		m.discard = true // a filter has removed all of them
	}
}

// object does what a filter wants to be done with the message; true when it is
// refused. What went wrong before goes first, and has been logged.
func (m *Message) object(stage string, r *milter.Reply) (refused bool) {
	if m.faults != 0 || m.discard {
		return false
	}
	action, said, st := "milter-reject", "", mail.Status{}
	switch r.Verdict {
	case milter.Quarantine:
		if m.env.Hold {
			return false
		}
		m.env.Hold, action = true, "milter-hold"
		if said = r.Text; said == "" {
			said = "milter triggers HOLD action"
		}
	case milter.Discard:
		m.discard, action = true, "milter-discard"
		said = "milter triggers DISCARD action"
	case milter.Shutdown:
		st = mail.Status{Code: 421, Enhanced: "4.7.0", Text: "Service unavailable"}
		said = "4.7.0 Service unavailable"
		m.refuse(st)
	default:
		st = r.Status()
		said = r.Text[min(len(r.Text), len("550 ")):]
		m.refuse(st)
	}
	e := &event.Decision{
		ID: m.ID(), Action: action, State: stage, Client: m.filterClient().String(), Status: st, Said: said,
		HasFrom: m.hasSender, From: m.env.Sender.External(), HasTo: m.hasRcpt, To: m.lastRcpt.External(),
	}
	if m.opt.Session != nil {
		e.Proto, e.Helo = m.opt.Facts.Proto, m.opt.Facts.Helo
	}
	m.emit(e)
	return action == "milter-reject"
}

// Objected tells that a filter has refused the message.
func (m *Message) Objected() bool { return m.filters.refusal != nil }

// refuse refuses the message with the words of a filter.
func (m *Message) refuse(st mail.Status) {
	m.filters.refusal = &st
	m.reason = st.Enhanced + " " + st.Text
	if st.Temporary() {
		m.faults |= faultDefer
	} else {
		m.faults |= faultContent
	}
}

// filterPeer is the client as filters and their log lines see it.
type filterPeer struct {
	name, reverse, addrText, port string
	addr                          netip.Addr
	server, serverPort            string
}

// String gives the form of the log.
func (p *filterPeer) String() string { return p.name + "[" + p.addrText + "]" }

// filterClient is the SMTP client, or this machine for all other mail.
func (m *Message) filterClient() *filterPeer {
	ses := m.opt.Session
	if ses == nil {
		p := &filterPeer{name: "localhost", reverse: "localhost", addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), port: "0", serverPort: "0"}
		if protocols := m.s.set.InetProtocols; len(protocols) > 0 && strings.EqualFold(protocols[0], "ipv6") {
			p.addr = netip.IPv6Loopback()
		}
		p.addrText = p.addr.String()
		p.server = p.addrText
		return p
	}
	c := &ses.Client
	return &filterPeer{
		name: c.Name, reverse: c.ReverseName, addr: c.Addr, addrText: c.AddrString(), port: itoa(c.Port),
		server: ses.Server.Addr().Unmap().String(), serverPort: itoa(ses.Server.Port()),
	}
}
