package smtpd

import (
	"net/netip"
	"strings"

	"postroad/internal/mail"
)

// cmdXforward takes facts about the first hop, for the log and for filters.
func (s *session) cmdXforward(args string) {
	switch {
	case s.tx.open:
		s.reply(503, "5.5.1", "Error: MAIL transaction in progress")
		return
	case args == "":
		s.reply(501, "5.5.4", "Syntax: XFORWARD attribute=value...")
		return
	case !s.flags.xforward:
		s.reply(550, "5.7.0", "Error: insufficient authorization")
		return
	}
	var f mail.Forwarded
	if s.peer.Forwarded != nil {
		f = *s.peer.Forwarded
	}
	text := func(to *string) func(string) bool {
		return func(v string) bool {
			if *to = v; strings.EqualFold(v, unavailable) || strings.EqualFold(v, tempUnavail) {
				*to = ""
			}
			return true
		}
	}
	if !s.attributes("XFORWARD", args, map[string]func(string) bool{
		"NAME": text(&f.Name), "PROTO": text(&f.Proto), "HELO": text(&f.Helo), "IDENT": text(&f.Ident),
		"PORT": func(v string) bool {
			if text(&f.Port)(v); f.Port == "" {
				return true
			}
			_, err := parseDigits(v)
			return err == nil
		},
		"ADDR": func(v string) bool {
			var a netip.Addr
			if text(&f.Addr)(v); f.Addr == "" {
				return true
			}
			if !parseAddr(v, &a) {
				return false
			}
			f.Addr = a.String()
			return true
		},
		"SOURCE": func(v string) bool {
			f.Source = strings.ToUpper(v)
			return f.Source == "LOCAL" || f.Source == "REMOTE" || f.Source == unavailable
		},
	}) {
		return
	}
	s.peer.Forwarded = &f
	s.reply(250, "2.0.0", "Ok")
}
