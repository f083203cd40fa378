package smtpd

import (
	"sort"
	"strings"

	"postroad/internal/wire"
)

// cmdRset ends the transaction (RFC 5321 4.1.1.5).
func (s *session) cmdRset(args string) {
	if args != "" {
		s.reply(501, "5.5.4", "Syntax: RSET")
		return
	}
	s.abort()
	s.reply(250, "2.0.0", "Ok")
}

func (s *session) cmdNoop(string) { s.reply(250, "2.0.0", "Ok") }

func (s *session) cmdQuit(string) {
	s.reply(221, "2.0.0", "Bye")
	s.flags.hangup = true
}

// cmdHelp lists the commands that are served.
func (s *session) cmdHelp(string) {
	var names []string
	for _, c := range commands() {
		if !s.masked(strings.ToLower(c.name)) && (c.name != "BDAT" || !s.masked("chunking")) {
			names = append(names, c.name)
		}
	}
	sort.Strings(names)
	s.reply(214, "2.0.0", "Commands: "+strings.Join(names, " "))
}

// cmdVrfy verifies an address (RFC 5321 4.1.1.6).
func (s *session) cmdVrfy(args string) {
	switch {
	case s.set.DisableVRFY:
		s.reply(502, "5.5.1", "VRFY command is disabled")
		return
	case s.set.HeloRequired && s.peer.Helo == "":
		s.reply(503, "5.5.1", "Error: send HELO/EHLO first")
		return
	case args == "":
		s.reply(501, "5.5.4", "Syntax: VRFY address [SMTPUTF8]")
		return
	}
	addr, err := wire.ParsePath(strings.TrimSuffix(args, " SMTPUTF8"), s.pathRules())
	if err != nil || addr == "" {
		s.reply(501, "5.1.3", "Bad recipient address syntax")
		return
	}
	s.req.Recipient = addr
	defer func() { s.req.Recipient = "" }()
	if s.access != nil && !s.check("VRFY", s.access.Vrfy) {
		return
	}
	s.reply(252, "2.0.0", args)
}

// cmdEtrn asks for the mail of a domain (RFC 1985).
func (s *session) cmdEtrn(args string) {
	switch {
	case s.set.HeloRequired && s.peer.Helo == "":
		s.reply(503, "", "Error: send HELO/EHLO first")
		return
	case s.tx.open:
		s.reply(503, "", "Error: MAIL transaction in progress")
		return
	case args == "" || strings.ContainsAny(args, " \t"):
		s.reply(500, "", "Syntax: ETRN domain")
		return
	}
	domain := strings.TrimLeft(args, "@#")
	if !wire.ValidDomain(domain, s.set.UTF8) {
		s.reply(501, "", "Error: invalid parameter syntax")
		return
	}
	s.req.ETRNDomain = domain
	defer func() { s.req.ETRNDomain = "" }()
	if s.access != nil && !s.check("ETRN", s.access.Etrn) {
		return
	}
	allowed, err := false, error(nil)
	if s.srv.Flush != nil {
		allowed, err = s.srv.Flush.Flush(s.ctx, domain)
	}
	switch {
	case err != nil:
		s.log.Warnf("reject: ETRN %.100s... from %s", args, s.client())
		s.reply(458, "", "Unable to queue messages")
	case !allowed:
		s.log.Warnf("reject: ETRN %.100s... from %s", args, s.client())
		s.reply(459, "", "<"+args+">: service unavailable")
	default:
		s.reply(250, "", "Queuing started")
	}
}
