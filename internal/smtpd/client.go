package smtpd

import (
	"context"
	"net/netip"
	"strings"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/wire"
)

// lookupName finds the client's name.
func (s *session) lookupName() {
	if s.srv.Names != nil {
		LookupName(s.ctx, s.srv.Names, &s.peer.Client, s.log)
	}
}

// LookupName finds the name of a client whose name is not known: the name of its
// address must have that address again. log hears why a name does not count.
func LookupName(ctx context.Context, names Resolver, c *mail.Peer, log *event.Logger) {
	if !c.Addr.IsValid() {
		return
	}
	found, err := names.Names(ctx, c.Addr)
	if err != nil || len(found) == 0 {
		if err != nil && names.Temporary(err) {
			c.NameStatus, c.ReverseStatus = mail.NameTempFail, mail.NameTempFail
		}
		return
	}
	name := strings.TrimSuffix(found[0], ".")
	if _, err := netip.ParseAddr(name); err == nil || !wire.ValidDomain(name, false) {
		log.Warnf("%s: malformed hostname %.100s", c.AddrString(), name)
		return
	}
	c.ReverseName, c.ReverseStatus = name, mail.NameOK
	addrs, err := names.Addrs(ctx, name, c.Addr)
	if err != nil {
		c.NameStatus = mail.NameForged
		if names.Temporary(err) {
			c.NameStatus = mail.NameTempFail
		}
		log.Warnf("hostname %s does not resolve to address %s: Name or service not known", name, c.AddrString())
		return
	}
	for _, a := range addrs {
		if a.Unmap() == c.Addr {
			c.Name, c.NameStatus = name, mail.NameOK
			return
		}
	}
	c.NameStatus = mail.NameForged
	log.Warnf("hostname %s does not resolve to address %s", name, c.AddrString())
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
	f.debug = in("debug_peer_list", l.Debug)
	f.xclient = in("smtpd_authorized_xclient_hosts", l.Xclient)
	f.xforward = in("smtpd_authorized_xforward_hosts", l.Xforward)
	f.verp = in("smtpd_authorized_verp_clients", l.VERP)
	f.rateExempt = f.xclient || in("smtpd_client_event_limit_exceptions", l.RateExempt)
	f.authExempt = in("smtpd_sasl_exceptions_networks", l.AuthExempt)
	f.bareExempt = in("smtpd_forbid_bare_newline_exclusions", l.BareNewlineExempt)
	s.findMask()
}

// freshRequest is a request that knows the session only.
func (s *session) freshRequest() access.Request {
	return access.Request{Session: &s.peer, Pipelined: s.req.Pipelined, Log: s.log}
}

// open begins the session; false ends it.
func (s *session) open() bool {
	if s.set.TLSWrapper && !s.wrap() {
		return s.finish()
	}
	// Postscreen has looked at the client's manners.
	if !s.flags.handed && s.outOfTurn("CONNECT") {
		return s.finish()
	}
	if over, why := s.overConnections(); over {
		s.reply(421, "4.7.0", s.set.Hostname+" "+why)
		return s.finish()
	}
	s.greet("CONNECT")
	return true
}

// wrap does the handshake that comes before everything else (RFC 8314 3.3).
func (s *session) wrap() bool {
	if s.srv.TLS == nil {
		return false
	}
	return !s.tlsRefused("TLS service") && s.handshake()
}

// greet says who we are, or turns the client away; stage is CONNECT or XCLIENT.
func (s *session) greet(stage string) {
	s.beginFilters()
	if s.access != nil && !s.admit(stage) {
		return
	}
	if !s.filterConnect() {
		s.reply(220, "", s.set.Banner)
	}
}

// admit asks access control about the client.
func (s *session) admit(stage string) bool {
	s.stage(stage)
	v := s.access.Client(s.ctx, &s.req)
	switch v.Action {
	case mail.Reject, mail.Disconnect:
	case mail.Hangup:
		s.flags.hangup = true
		return false
	default:
		return true
	}
	s.logReject(stage, v.Status)
	s.chat.refused(&v)
	s.flags.denied = true
	s.errors++
	s.status(v.Status)
	return false
}

// stage prepares the request for a stage of access control.
func (s *session) stage(name string) {
	s.req.Stage, s.req.Log, s.req.Helo = name, s.log, s.peer.Helo
	s.req.Stress = s.srv.Stress != nil && s.set == s.srv.Stress
}
