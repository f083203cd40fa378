package smtpd

import (
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

// helpWords are the commands that HELP lists, each with the EHLO keyword whose
// masking hides it.
var helpWords = [...]struct {
	name    string
	keyword ehloMask
}{
	{"AUTH", ehloAuth}, {"BDAT", ehloChunking}, {"DATA", 0}, {"EHLO", 0}, {"ETRN", ehloETRN}, {"HELO", 0}, {"HELP", 0},
	{"MAIL", 0}, {"NOOP", 0}, {"QUIT", 0}, {"RCPT", 0}, {"RSET", 0}, {"STARTTLS", ehloStartTLS}, {"VRFY", ehloVRFY},
	{"XCLIENT", ehloXclient}, {"XFORWARD", ehloXforward},
}

// cmdHelp lists the commands that are served.
func (s *session) cmdHelp(string) {
	text := "Commands:"
	for _, h := range helpWords {
		if !s.masked(h.keyword) {
			text += " " + h.name
		}
	}
	s.reply(214, "2.0.0", text)
}

// cmdVrfy verifies an address (RFC 5321 4.1.1.6).
func (s *session) cmdVrfy(args string) {
	switch {
	case s.set.DisableVRFY:
		s.reply(502, "5.5.1", "VRFY command is disabled")
		return
	case args == "":
		s.reply(501, "5.5.4", "Syntax: VRFY address [SMTPUTF8]")
		return
	}
	if over, why := s.overRate(rateRecipient); over {
		s.reply(450, "4.7.1", why)
		return
	}
	if s.filterStanding(false) {
		return
	}
	// RFC 6531 3.7.4.2: VRFY has the parameter too.
	text, utf8 := args, false
	if rest, last, ok := cutLast(args); ok && s.set.UTF8 && strings.EqualFold(last, "SMTPUTF8") {
		text, utf8 = rest, true
	}
	addr, ok := s.address("VRFY", text, utf8)
	if !ok {
		s.reply(501, "5.1.3", "Bad recipient address syntax")
		return
	}
	s.req.Recipient = addr
	defer func() { s.req.Recipient = "" }()
	if s.access != nil && !strings.EqualFold(string(addr), "postmaster") && !s.check("VRFY", s.access.Vrfy) {
		return
	}
	s.reply(252, "2.0.0", text)
}

// cutLast splits s at its last white space.
func cutLast(s string) (rest, last string, ok bool) {
	i := strings.LastIndexAny(s, " \t")
	if i < 0 {
		return "", s, false
	}
	return strings.TrimRight(s[:i], " \t"), s[i+1:], true
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
	domain := args
	if domain[0] == '@' || domain[0] == '#' {
		domain = domain[1:]
	}
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
		s.log.Warnf("ETRN %.100s from %s: %v", domain, s.client(), err)
		s.reply(458, "", "Unable to queue messages")
	case !allowed:
		s.log.Warnf("reject: ETRN %.100s... from %s", domain, s.client())
		s.reply(459, "", "<"+domain+">: service unavailable")
	default:
		s.reply(250, "", "Queuing started")
	}
}
