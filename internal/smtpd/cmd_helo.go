package smtpd

import (
	"strconv"
	"strings"

	"postroad/internal/tlsmgr"
)

// ehloMask are the EHLO keywords that are left out, in lower case.
type ehloMask map[string]bool

func (s *session) cmdHelo(args string) { s.helo(args, false) }

func (s *session) cmdEhlo(args string) { s.helo(args, true) }

// helo greets back (RFC 5321 4.1.1.1).
func (s *session) helo(args string, extended bool) {
	name := "HELO"
	if extended {
		name = "EHLO"
	}
	host, _, _ := strings.Cut(args, " ")
	if host == "" {
		s.reply(501, "", "Syntax: "+name+" hostname")
		return
	}
	if s.peer.Helo != "" {
		if s.junk++; s.junk > s.set.JunkLimit {
			s.errors++
		}
	}
	s.abort()
	s.peer.Helo, s.peer.ESMTP = host, false
	s.req.Helo = host
	if s.access != nil && !s.check(name, s.access.Helo) {
		s.peer.Helo = ""
		return
	}
	s.peer.ESMTP = extended
	if !extended {
		s.reply(250, "", s.set.Hostname)
		return
	}
	s.w.WriteString(s.ehloLines())
	s.code = 250
}

// ehloLines is the reply to EHLO with the extensions in Postfix's order.
func (s *session) ehloLines() string {
	lines := []string{s.set.Hostname}
	add := func(keyword, text string) {
		if !s.masked(keyword) {
			lines = append(lines, text)
		}
	}
	add("pipelining", "PIPELINING")
	size := "SIZE"
	if s.set.MessageLimit > 0 {
		size += " " + strconv.FormatInt(s.set.MessageLimit, 10)
	}
	add("size", size)
	if !s.set.DisableVRFY {
		add("vrfy", "VRFY")
	}
	if len(s.set.FastFlush) > 0 || s.srv.Flush != nil {
		add("etrn", "ETRN")
	}
	if t := s.srv.TLS; t != nil && s.peer.TLS == nil && t.Level >= tlsmgr.LevelMay {
		add("starttls", "STARTTLS")
	}
	if mechs := s.mechanisms(); len(mechs) > 0 {
		add("auth", "AUTH "+strings.Join(mechs, " "))
		if s.set.AuthBroken {
			add("auth", "AUTH="+strings.Join(mechs, " "))
		}
	}
	if s.flags.verp {
		add("xverp", "XVERP")
	}
	if s.flags.xclient {
		add("xclient", "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT")
	}
	if s.flags.xforward {
		add("xforward", "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT")
	}
	add("enhancedstatuscodes", "ENHANCEDSTATUSCODES")
	add("8bitmime", "8BITMIME")
	add("dsn", "DSN")
	if s.set.UTF8 {
		add("smtputf8", "SMTPUTF8")
	}
	add("chunking", "CHUNKING")
	var b strings.Builder
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		b.WriteString("250" + sep + line + "\r\n")
	}
	return b.String()
}

// masked tells whether an EHLO keyword is left out.
func (s *session) masked(keyword string) bool { return s.mask[keyword] }

// mechanisms are the SASL mechanisms on offer now.
func (s *session) mechanisms() []string {
	if s.srv.SASL == nil || s.flags.authExempt || (s.set.AuthOnlyTLS && s.peer.TLS == nil) {
		return nil
	}
	mechs, err := s.srv.SASL.Mechanisms(s.ctx, s.peer.TLS != nil)
	if err != nil {
		s.log.Warnf("SASL: %v", err)
	}
	return mechs
}
