package smtpd

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"postroad/internal/access"
	"postroad/internal/mail"
	"postroad/internal/queue"
	"postroad/internal/wire"
)

// cmdMail begins a transaction (RFC 5321 4.1.1.2).
func (s *session) cmdMail(args string) {
	switch {
	case s.set.HeloRequired && s.peer.Helo == "":
		s.reply(503, "5.5.1", "Error: send HELO/EHLO first")
		return
	case s.tx.open:
		s.reply(503, "5.5.1", "Error: nested MAIL command")
		return
	case s.tx.bdat != bdatNone:
		s.reply(503, "5.5.1", "Error: MAIL after BDAT")
		return
	}
	path, params, err := wire.SplitPath(args, "FROM:")
	if errors.Is(err, wire.ErrBadPath) {
		s.reply(501, "5.1.7", "Bad sender address syntax")
		return
	}
	if err != nil {
		s.reply(501, "5.5.4", "Syntax: MAIL FROM:<address>")
		return
	}
	if over, why := s.overRate(rateMessage); over {
		s.reply(450, "4.7.1", why)
		return
	}
	addr, ok := s.address("MAIL", path, wantsUTF8(params))
	if !ok {
		s.reply(501, "5.1.7", "Bad sender address syntax")
		return
	}
	tx := transaction{open: true, sender: addr, line: s.line}
	size, refused := s.mailParams(&tx, params)
	if refused {
		return
	}
	if !ascii(string(addr)) && s.set.StrictUTF8 && !tx.params.SMTPUTF8 {
		s.reply(553, "5.6.7", "Must declare SMTPUTF8 to send unicode address")
		return
	}
	if limit := s.set.MessageLimit; limit > 0 && size > limit {
		st := mail.Status{Code: 552, Enhanced: "5.3.4", Text: "Message size exceeds fixed limit"}
		s.req.HasSender, s.req.Sender = true, addr
		s.logReject("MAIL", st)
		s.req.HasSender, s.req.Sender = false, ""
		s.status(st)
		return
	}
	if s.access != nil {
		addr = s.access.ProbeSender(addr)
		tx.sender = addr
	}
	if tx.local, ok = s.rewritesLocally(); !ok {
		return
	}
	s.tx = tx
	s.req.HasSender, s.req.Sender, s.req.Size = true, addr, size
	if s.access != nil && !s.check("MAIL", s.access.Sender) {
		s.clear()
		return
	}
	if s.filterMail(path, params) {
		s.clear()
		return
	}
	if s.srv.Space != nil && (s.srv.proxy == nil || s.srv.proxy.adjust) {
		if err := s.srv.Space(); err != nil {
			s.noSpace(err)
			s.clear()
			return
		}
	}
	s.serial.mails++
	s.req.Instance = access.Instance{PID: s.serial.pid, Began: time.Now(), Seq: s.serial.mails - 1}
	if !s.set.DelayOpen && !s.openMessage() {
		s.clear()
		return
	}
	s.reply(250, "2.1.0", "Ok")
}

// noSpace says why no message can be taken now.
func (s *session) noSpace(err error) {
	if errors.Is(err, queue.ErrFull) {
		s.reply(452, "4.3.1", "Insufficient system storage")
		return
	}
	s.log.Warnf("queue: %v", err)
	s.reply(451, "4.3.0", "Error: queue file write error")
}

// pathRules say how lenient addresses are read; a domain above ASCII needs
// SMTPUTF8 (RFC 6531 3.3).
func (s *session) pathRules(utf8 bool) wire.PathRules {
	return wire.PathRules{
		Strict: s.set.StrictEnvelopes, UTF8: utf8 && s.set.UTF8, Numeric: s.set.NumericDomain, MinUser: s.set.AllowMinUser,
	}
}

// address reads a path. Where the local part may name another destination, the
// resolver is asked whether the whole makes sense.
func (s *session) address(verb, path string, utf8 bool) (mail.Address, bool) {
	rules := s.pathRules(utf8)
	if verb == "VRFY" { // RFC 5321 4.1.1.6: its argument is no path
		rules.Strict = false
	}
	addr, err := wire.ParsePath(path, rules)
	if err == nil && s.srv.Senseless != nil && strings.ContainsAny(addr.Local(), "@%!") && s.srv.Senseless(s.ctx, addr) {
		err = wire.ErrBadPath
	}
	if err != nil || addr == "" && verb != "MAIL" {
		s.log.Warnf("Illegal address syntax from %s in %s command: %s", s.client(), verb, path)
		return "", false
	}
	return addr, true
}

// wantsUTF8 looks for SMTPUTF8 among the parameters, which stand behind the
// address that it is about.
func wantsUTF8(params wire.Params) bool {
	for {
		param, _, _, _, ok := params.Next()
		if !ok || strings.EqualFold(param, "SMTPUTF8") {
			return ok
		}
	}
}

// mailParams reads the parameters of MAIL. refused tells that it has replied.
func (s *session) mailParams(tx *transaction, params wire.Params) (size int64, refused bool) {
	fail := func(code int, enhanced, text string) (int64, bool) {
		s.reply(code, enhanced, text)
		return 0, true
	}
	for {
		param, name, value, has, ok := params.Next()
		if !ok {
			return size, false
		}
		switch upper := strings.ToUpper(name); {
		case upper == "SIZE" && has:
			n, err := parseDigits(value)
			if errors.Is(err, strconv.ErrRange) {
				return fail(552, "5.3.4", "Message size exceeds file system imposed limit")
			}
			if err != nil {
				return fail(501, "5.5.4", "Bad message size syntax")
			}
			size = n
		case upper == "BODY" && strings.EqualFold(value, "8BITMIME"):
			tx.params.EightBit = true
		case upper == "BODY" && strings.EqualFold(value, "7BIT"):
		case upper == "SMTPUTF8" && !has && s.set.UTF8:
			tx.params.SMTPUTF8 = true
		case upper == "REQUIRETLS" && !has && s.offersRequireTLS():
			tx.params.RequireTLS = true
		case upper == "AUTH" && value == "<>":
		case upper == "AUTH" && has:
			if s.peer.SASL == nil {
				return fail(503, "5.5.4", "Error: send AUTH command first")
			}
			who, err := wire.DecodeXtext(value)
			if err != nil {
				return fail(501, "5.5.4", "Bad AUTH parameter syntax")
			}
			sasl := *s.peer.SASL
			sasl.Sender = who
			s.peer.SASL = &sasl
		case (upper == "RET" || upper == "ENVID") && s.masked(ehloDSN):
			return fail(501, "5.7.1", "DSN support is disabled")
		case upper == "RET":
			ret := parseRet(value)
			if ret == mail.RetUnset || tx.params.Ret != mail.RetUnset {
				return fail(501, "5.5.4", "Bad RET parameter syntax")
			}
			tx.params.Ret = ret
		case upper == "ENVID" && has:
			if id, err := wire.DecodeXtext(value); err != nil || id == "" || strings.ContainsAny(id, "\x00\r\n") || tx.params.EnvID != "" {
				return fail(501, "5.5.4", "Bad ENVID parameter syntax")
			}
			tx.params.EnvID = value
		case upper == "XVERP" && s.flags.verp:
			if tx.sender == "" {
				return fail(503, "5.5.4", "Error: XVERP requires non-null sender")
			}
			tx.params.VERP = s.set.VERPDelims
			if has {
				tx.params.VERP = value
			}
			if len(tx.params.VERP) != 2 || strings.Trim(tx.params.VERP, s.set.VERPFilter) != "" {
				return fail(501, "5.5.4", "Error: XVERP needs two characters from "+s.set.VERPFilter)
			}
		default:
			return fail(555, "5.5.4", "Unsupported option: "+param)
		}
	}
}

// parseRet reads RET (RFC 3461 4.3).
func parseRet(value string) mail.Ret {
	switch strings.ToUpper(value) {
	case "FULL":
		return mail.RetFull
	case "HDRS":
		return mail.RetHeaders
	}
	return mail.RetUnset
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
