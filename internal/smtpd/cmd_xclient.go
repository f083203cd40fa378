package smtpd

import (
	"net/netip"
	"strconv"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/wire"
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
	// The session begins anew, with what the client says now.
	peer := s.peer
	peer.Helo, peer.ESMTP, peer.SASL = "", false, nil
	ok := s.attributes("XCLIENT", args, xclientFields(&peer))
	if !ok {
		return
	}
	s.abort()
	s.endFilters()
	s.peer = peer
	s.name = ""
	s.req = s.freshRequest()
	if s.access != nil {
		s.access = s.srv.Access.Begin()
	}
	s.flags.denied = false
	s.classify()
	s.greet("XCLIENT")
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

// attributes reads "NAME=value" pairs in xtext, as XCLIENT and XFORWARD have them.
func (s *session) attributes(verb, args string, known map[string]func(string) bool) bool {
	fields := strings.Fields(args)
	if len(fields) == 0 {
		s.reply(501, "5.5.4", "Syntax: "+verb+" attribute=value...")
		return false
	}
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			s.reply(501, "5.5.4", "Error: attribute=value expected")
			return false
		}
		if len(value) > 255 {
			s.reply(501, "5.5.4", "Error: attribute value too long")
			return false
		}
		plain, err := wire.DecodeXtext(value)
		name = strings.ToUpper(name)
		set := known[name]
		if set == nil {
			s.reply(501, "5.5.4", "Bad "+verb+" attribute name: "+name)
			return false
		}
		if err != nil || strings.ContainsAny(plain, "\r\n\x00") || !set(plain) {
			s.reply(501, "5.5.4", "Bad "+name+" syntax: "+value)
			return false
		}
	}
	return true
}
