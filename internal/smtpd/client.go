package smtpd

import (
	"net/netip"
	"strings"

	"postroad/internal/access"
	"postroad/internal/mail"
	"postroad/internal/wire"
)

// lookupName finds the client's name: the name of its address must have that
// address again.
func (s *session) lookupName() {
	c := &s.peer.Client
	if s.srv.Names == nil || !c.Addr.IsValid() {
		return
	}
	found, err := s.srv.Names.Names(s.ctx, c.Addr)
	if err != nil || len(found) == 0 {
		if err != nil && s.srv.Names.Temporary(err) {
			c.NameStatus, c.ReverseStatus = mail.NameTempFail, mail.NameTempFail
		}
		return
	}
	name := strings.TrimSuffix(found[0], ".")
	if _, err := netip.ParseAddr(name); err == nil || !wire.ValidDomain(name, false) {
		s.log.Warnf("%s: malformed hostname %.100s", c.AddrString(), name)
		return
	}
	c.ReverseName, c.ReverseStatus = name, mail.NameOK
	addrs, err := s.srv.Names.Addrs(s.ctx, name, c.Addr)
	if err != nil {
		c.NameStatus = mail.NameForged
		if s.srv.Names.Temporary(err) {
			c.NameStatus = mail.NameTempFail
		}
		s.log.Warnf("hostname %s does not resolve to address %s: Name or service not known", name, c.AddrString())
		return
	}
	for _, a := range addrs {
		if a.Unmap() == c.Addr {
			c.Name, c.NameStatus = name, mail.NameOK
			return
		}
	}
	c.NameStatus = mail.NameForged
	s.log.Warnf("hostname %s does not resolve to address %s", name, c.AddrString())
}

// classify finds out what the client is to us.
func (s *session) classify() {
	l, f := &s.srv.Lists, &s.flags
	in := func(what string, m HostMatcher) bool {
		if m == nil {
			return false
		}
		ok, err := m.MatchHost(s.ctx, s.peer.Client.Name, s.peer.Client.Addr)
		if err != nil {
			s.log.Warnf("%s: %v", what, err)
		}
		return ok
	}
	f.xclient = in("smtpd_authorized_xclient_hosts", l.Xclient)
	f.xforward = in("smtpd_authorized_xforward_hosts", l.Xforward)
	f.verp = in("smtpd_authorized_verp_clients", l.VERP)
	f.rateExempt = f.xclient || in("smtpd_client_event_limit_exceptions", l.RateExempt)
	f.authExempt = in("smtpd_sasl_exceptions_networks", l.AuthExempt)
	f.bareExempt = in("smtpd_forbid_bare_newline_exclusions", l.BareNewlineExempt)
	s.mask = ehloMask{}
	words := s.set.DiscardEHLO
	if l.DiscardEHLO != nil {
		value, ok, err := l.DiscardEHLO(s.ctx, s.peer.Client.AddrString())
		if err != nil {
			s.log.Warnf("smtpd_discard_ehlo_keyword_address_maps: %v", err)
		}
		if ok {
			words = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
		}
	}
	for _, w := range words {
		s.mask[strings.ToLower(w)] = true
	}
}

// req0 is a request that knows the session only.
func (s *session) req0() access.Request {
	return access.Request{Session: &s.peer, Pipelined: s.req.Pipelined, Log: s.log}
}

// open greets the client, or turns it away; false ends the session.
func (s *session) open() bool {
	if over, why := s.overLimit(); over {
		s.reply(421, "4.7.0", s.set.Hostname+" "+why)
		return s.finish()
	}
	if s.set.TLSWrapper && s.peer.TLS == nil {
		if s.srv.TLS == nil || !s.handshake() {
			return false
		}
	}
	if s.set.ForbidPipelining && s.r.Buffered() > 0 {
		s.outOfTurn("CONNECT")
		return s.finish()
	}
	if s.access != nil {
		v := s.access.Client(s.ctx, s.request("CONNECT"))
		if v.Action == mail.Reject || v.Action == mail.Disconnect {
			s.logReject("CONNECT", v.Status)
			if v.Action == mail.Disconnect || v.Status.Code == 421 || v.Status.Code == 521 {
				s.status(v.Status)
				return s.finish()
			}
			s.denied = v.Status.Text
			s.reply(v.Status.Code, v.Status.Enhanced, v.Status.Text)
			return true
		}
	}
	s.reply(220, "", s.set.Banner)
	return true
}

// request is the request of a stage.
func (s *session) request(stage string) *access.Request {
	s.req.Stage, s.req.Log, s.req.Helo = stage, s.log, s.peer.Helo
	return &s.req
}
