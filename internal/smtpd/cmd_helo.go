package smtpd

import (
	"strings"
)

func (s *session) cmdHelo(args string) { s.helo("HELO", args) }

func (s *session) cmdEhlo(args string) { s.helo("EHLO", args) }

// helo greets back (RFC 5321 4.1.1.1).
func (s *session) helo(name, args string) {
	if args == "" {
		s.reply(501, "", "Syntax: "+name+" hostname")
		return
	}
	before := s.peer.Helo
	s.peer.Helo = neuter(args)
	if s.access != nil && !s.check(name, s.access.Helo) {
		s.peer.Helo = before
		return
	}
	refused, done := s.filterHelo(args)
	if done {
		s.peer.Helo = before
		return
	}
	s.abortHelo(before)
	s.abort()
	if name == "HELO" {
		s.reply(250, "", s.set.Hostname)
		return
	}
	s.peer.ESMTP = true // a later HELO does not take this back
	if refused {
		mask := s.mask
		defer func() { s.mask = mask }()
		s.mask |= ^ehloStatusCodes
	}
	if hidden := s.mask &^ ehloSilent; hidden != 0 && !s.masked(ehloSilent) {
		s.log.Infof("discarding EHLO keywords: %s", hidden)
	}
	s.reply(250, "", s.ehloText())
}

// neuter replaces what must not leave its place in a header, a log line or a
// reply: control characters and the delimiters of RFC 5322.
func neuter(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`<>()\";@`, r) {
			return '?'
		}
		return r
	}, s)
}

// mechanisms are the SASL mechanisms on offer now.
func (s *session) mechanisms() []string {
	if !s.authEnabled() || s.flags.authExempt {
		return nil
	}
	mechs, err := s.srv.SASL.Mechanisms(s.ctx, s.peer.TLS != nil)
	if err != nil {
		s.log.Warnf("SASL: %v", err)
	}
	return mechs
}

// authEnabled tells whether AUTH may be used in this session as it stands. Clients
// in smtpd_sasl_exceptions_networks are not told of it, and may use it.
func (s *session) authEnabled() bool {
	if s.peer.TLS == nil && (s.set.AuthOnlyTLS || s.srv.DemandsTLS()) {
		return false
	}
	return s.srv.SASL != nil
}
