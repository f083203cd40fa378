package smtpd

import (
	"net/netip"
	"strconv"
	"strings"

	"postroad/internal/mail"
)

// Values that stand for what is not known (XCLIENT_README).
const (
	unavailable = "[UNAVAILABLE]"
	tempUnavail = "[TEMPUNAVAIL]"
)

// cmdXclient lets a trusted host speak as somebody else. The session begins anew.
func (s *session) cmdXclient(args string) {
	switch {
	case s.tx.open:
		s.reply(503, "5.5.1", "Error: MAIL transaction in progress")
		return
	case args == "":
		s.reply(501, "5.5.4", "Syntax: XCLIENT attribute=value...")
		return
	case !s.flags.xclient:
		s.reply(550, "5.7.0", "Error: insufficient authorization")
		return
	}
	peer := s.peer
	ok := s.attributes("XCLIENT", args, xclientFields(&peer))
	if !ok {
		return
	}
	s.abort()
	peer.TLS = s.peer.TLS
	s.peer = peer
	s.req = s.req0()
	if s.access != nil {
		s.access = s.srv.Access.Begin()
	}
	s.mask = nil
	s.classify()
	s.open()
}

// xclientFields are the attributes of XCLIENT.
func xclientFields(p *mail.Session) map[string]func(string) bool {
	c := &p.Client
	known := func(v string) bool { return !strings.EqualFold(v, unavailable) && !strings.EqualFold(v, tempUnavail) }
	status := func(v string) mail.NameStatus {
		switch {
		case strings.EqualFold(v, unavailable):
			return mail.NameUnknown
		case strings.EqualFold(v, tempUnavail):
			return mail.NameTempFail
		}
		return mail.NameOK
	}
	name := func(to *string, st *mail.NameStatus) func(string) bool {
		return func(v string) bool {
			*st, *to = status(v), v
			if !known(v) {
				*to = "unknown"
			}
			return true
		}
	}
	return map[string]func(string) bool{
		"NAME":         name(&c.Name, &c.NameStatus),
		"REVERSE_NAME": name(&c.ReverseName, &c.ReverseStatus),
		"ADDR": func(v string) bool {
			if !known(v) {
				c.Addr = netip.Addr{}
				return true
			}
			return parseAddr(v, &c.Addr)
		},
		"PORT": func(v string) bool { return parsePort(v, known, &c.Port) },
		"PROTO": func(v string) bool {
			p.ESMTP = strings.EqualFold(v, "ESMTP")
			return p.ESMTP || strings.EqualFold(v, "SMTP")
		},
		"HELO": func(v string) bool {
			p.Helo = v
			if !known(v) {
				p.Helo = ""
			}
			return true
		},
		"LOGIN": func(v string) bool {
			p.SASL = nil
			if known(v) {
				p.SASL = &mail.SASL{Method: "XCLIENT", Username: v}
			}
			return true
		},
		"DESTADDR": func(v string) bool {
			var a netip.Addr
			if known(v) && !parseAddr(v, &a) {
				return false
			}
			p.Server = netip.AddrPortFrom(a, p.Server.Port())
			return true
		},
		"DESTPORT": func(v string) bool {
			port := p.Server.Port()
			if !parsePort(v, known, &port) {
				return false
			}
			p.Server = netip.AddrPortFrom(p.Server.Addr(), port)
			return true
		},
	}
}

// parseAddr reads an address; IPv6 has "IPV6:" in front (RFC 5321 4.1.3).
func parseAddr(v string, to *netip.Addr) bool {
	if len(v) > 5 && strings.EqualFold(v[:5], "IPV6:") {
		v = v[5:]
	}
	a, err := netip.ParseAddr(v)
	if err == nil {
		*to = a.Unmap()
	}
	return err == nil
}

func parsePort(v string, known func(string) bool, to *uint16) bool {
	if !known(v) {
		*to = 0
		return true
	}
	n, err := strconv.ParseUint(v, 10, 16)
	*to = uint16(n)
	return err == nil
}

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
		"NAME": text(&f.Name), "PORT": text(&f.Port), "PROTO": text(&f.Proto), "HELO": text(&f.Helo), "IDENT": text(&f.Ident),
		"ADDR": func(v string) bool {
			var a netip.Addr
			if strings.EqualFold(v, unavailable) {
				f.Addr = ""
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
