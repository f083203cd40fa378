package smtpd

import (
	"errors"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/wire"
)

// cmdRcpt adds a recipient (RFC 5321 4.1.1.3).
func (s *session) cmdRcpt(args string) {
	switch {
	case !s.tx.open:
		s.reply(503, "5.5.1", "Error: need MAIL command")
		return
	case s.tx.bdat != bdatNone:
		s.reply(503, "5.5.1", "Error: RCPT after BDAT")
		return
	}
	path, params, err := wire.SplitPath(args, "TO:")
	if errors.Is(err, wire.ErrBadPath) {
		s.reply(501, "5.1.3", "Bad recipient address syntax")
		return
	}
	if err != nil {
		s.reply(501, "5.5.4", "Syntax: RCPT TO:<address>")
		return
	}
	if over, why := s.overRate(rateRecipient); over {
		s.reply(450, "4.7.1", why)
		return
	}
	addr, ok := s.address("RCPT", path, s.tx.params.SMTPUTF8)
	if !ok {
		s.reply(501, "5.1.3", "Bad recipient address syntax")
		return
	}
	r := mail.Recipient{Address: addr, Original: addr}
	if s.rcptParams(&r, params) {
		return
	}
	if !ascii(string(addr)) && s.set.StrictUTF8 && !s.tx.params.SMTPUTF8 {
		s.reply(553, "5.6.7", "Must declare SMTPUTF8 to send unicode address")
		return
	}
	if s.access != nil {
		addr = s.access.ProbeSender(addr)
		r.Address, r.Original = addr, addr
	}
	if s.tx.rcpts >= s.set.RecipientLimit {
		s.tooMany()
		return
	}
	s.req.Recipient, s.req.RcptCount = addr, s.tx.rcpts
	// RFC 5321 4.5.1: postmaster without a domain is always taken.
	if s.access != nil && !strings.EqualFold(string(addr), "postmaster") && !s.check("RCPT", s.access.Recipient) {
		code := s.code
		s.filterRcptTo(path, params, &s.refused)
		s.code = code
		s.req.Recipient = ""
		return
	}
	if s.filterRcptTo(path, params, nil) {
		s.req.Recipient = ""
		return
	}
	if !s.openMessage() {
		s.req.Recipient = ""
		return
	}
	s.apply()
	if p := s.tx.proxy; p != nil && !p.command(s.line, '2') {
		s.req.Recipient = ""
		s.proxyReply(p)
		return
	}
	s.tx.msg.AddRecipient(r)
	if s.tx.rcpts++; s.tx.rcpts == 1 {
		s.tx.first = addr
	}
	s.req.Recipient, s.req.RcptCount = "", s.tx.rcpts
	s.reply(250, "2.1.5", "Ok")
}

// tooMany refuses recipients beyond the limit; the first ones are no errors.
func (s *session) tooMany() {
	s.reply(452, "4.5.3", "Error: too many recipients")
	if s.tx.overshoot++; s.tx.overshoot <= s.set.Overshoot {
		s.code = 0 // no error: the client is expected to send the rest later
	}
}

// rcptParams reads the parameters of RCPT (RFC 3461 4); true when it has refused.
func (s *session) rcptParams(r *mail.Recipient, params wire.Params) bool {
	for {
		param, name, value, has, ok := params.Next()
		if !ok {
			return false
		}
		upper := strings.ToUpper(name)
		switch {
		case (upper == "NOTIFY" || upper == "ORCPT") && s.masked(ehloDSN):
			s.reply(501, "5.7.1", "DSN support is disabled")
			return true
		case upper == "NOTIFY" && has:
			notify, unknown, good := parseNotify(value)
			if unknown != "" {
				s.log.Warnf("unknown DSN NOTIFY command value \"%s\" in \"%s\"", unknown, value)
			}
			if !good || r.Notify != 0 {
				s.reply(501, "5.5.4", "Error: Bad NOTIFY parameter syntax")
				return true
			}
			r.Notify = notify
		case upper == "ORCPT" && has:
			kind, text, found := strings.Cut(value, ";")
			if plain, err := wire.DecodeXtext(text); !found || kind == "" || err != nil || strings.ContainsAny(plain, "\x00\r\n") || r.ORCPT != "" {
				s.reply(501, "5.5.4", "Error: Bad ORCPT parameter syntax")
				return true
			}
			r.ORCPT = value
		default:
			s.reply(555, "5.5.4", "Unsupported option: "+param)
			return true
		}
	}
}

// notifyWords are the words of NOTIFY.
var notifyWords = [...]struct {
	word string
	bit  mail.Notify
}{
	{"SUCCESS", mail.NotifySuccess}, {"FAILURE", mail.NotifyFailure}, {"DELAY", mail.NotifyDelay}, {"NEVER", mail.NotifyNever},
}

// parseNotify reads NOTIFY; NEVER stands alone (RFC 3461 4.1). unknown is a word
// that is none of these.
func parseNotify(value string) (n mail.Notify, unknown string, ok bool) {
next:
	for word := range strings.SplitSeq(value, ",") {
		for _, w := range notifyWords {
			if strings.EqualFold(w.word, word) {
				n |= w.bit
				continue next
			}
		}
		return 0, word, false
	}
	return n, "", n&mail.NotifyNever == 0 || n == mail.NotifyNever
}
