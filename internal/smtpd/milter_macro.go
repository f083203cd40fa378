package smtpd

import (
	"strconv"
	"strings"

	"postroad/internal/mail"
)

// macro is the value of a macro for filters.
func (s *session) macro(name string) (string, bool) {
	row := filterMacros[name]
	if row == nil {
		return "", false
	}
	return row(s)
}

// filterMacros are the macros that smtpd(8) knows.
var filterMacros = map[string]func(*session) (string, bool){
	"{daemon_name}": func(s *session) (string, bool) { return s.srv.Lists.Filters.Config.DaemonName(), true },
	"{v}":           func(s *session) (string, bool) { return s.srv.Lists.Filters.Config.Version(), true },
	"{j}":           func(s *session) (string, bool) { return s.set.Hostname, true },
	"{_}": func(s *session) (string, bool) {
		c := &s.peer.Client
		text := c.ReverseName + " [" + c.AddrString() + "]"
		if !strings.EqualFold(c.Name, c.ReverseName) {
			text += " (may be forged)"
		}
		return text, true
	},
	"{client_addr}":        func(s *session) (string, bool) { return s.addrLiteral(), true },
	"{client_port}":        func(s *session) (string, bool) { return strconv.Itoa(int(s.peer.Client.Port)), true },
	"{client_connections}": func(s *session) (string, bool) { return strconv.Itoa(s.filters.connections), true },
	"{client_name}":        func(s *session) (string, bool) { return s.peer.Client.Name, true },
	"{client_ptr}":         func(s *session) (string, bool) { return s.peer.Client.ReverseName, true },
	"{client_resolve}": func(s *session) (string, bool) {
		return [...]string{mail.NameOK: "OK", mail.NameUnknown: "FAIL", mail.NameTempFail: "TEMP", mail.NameForged: "FORGED"}[s.peer.Client.NameStatus], true
	},
	"{daemon_addr}": func(s *session) (string, bool) { return s.peer.Server.Addr().Unmap().String(), true },
	"{daemon_port}": func(s *session) (string, bool) { return strconv.Itoa(int(s.peer.Server.Port())), true },

	"{tls_version}": ofTLS(func(t *mail.TLS) (string, bool) { return t.Protocol, true }),
	"{cipher}":      ofTLS(func(t *mail.TLS) (string, bool) { return t.Cipher, true }),
	"{cipher_bits}": ofTLS(func(t *mail.TLS) (string, bool) { return strconv.Itoa(t.Bits), true }),
	// Of a certificate that nobody vouches for, the names mean nothing.
	"{cert_subject}": ofTLS(func(t *mail.TLS) (string, bool) { return t.PeerCN, t.PeerTrusted }),
	"{cert_issuer}":  ofTLS(func(t *mail.TLS) (string, bool) { return t.PeerIssuer, t.PeerTrusted }),

	"{i}":           func(s *session) (string, bool) { return string(s.tx.id), s.tx.id != "" },
	"{auth_type}":   ofSASL(func(a *mail.SASL) string { return a.Method }),
	"{auth_authen}": ofSASL(func(a *mail.SASL) string { return a.Username }),
	"{auth_author}": ofSASL(func(a *mail.SASL) string { return a.Sender }),

	"{mail_addr}": func(s *session) (string, bool) {
		if s.req.Sender == "" {
			return "", s.req.HasSender
		}
		r, ok := s.senderRoute()
		return r.Recipient.Fold().External(), ok
	},
	"{mail_host}": func(s *session) (string, bool) {
		r, ok := s.senderRoute()
		return string(r.Nexthop), ok
	},
	"{mail_mailer}": func(s *session) (string, bool) {
		r, ok := s.senderRoute()
		return string(r.Transport), ok
	},
	// Of a recipient that we refused, the macros tell why.
	"{rcpt_addr}": func(s *session) (string, bool) {
		if st := s.filters.rejected; st != nil {
			_, text, ok := strings.Cut(st.Text, " ") // behind what it is about
			return text, ok
		}
		r, ok := s.rcptRoute()
		return r.Recipient.Fold().External(), ok
	},
	"{rcpt_host}": func(s *session) (string, bool) {
		if st := s.filters.rejected; st != nil {
			return st.Enhanced, true
		}
		r, ok := s.rcptRoute()
		return string(r.Nexthop), ok
	},
	"{rcpt_mailer}": func(s *session) (string, bool) {
		if s.filters.rejected != nil {
			return "error", true
		}
		r, ok := s.rcptRoute()
		return string(r.Transport), ok
	},
}

// ofTLS is a macro that only an encrypted session has.
func ofTLS(value func(*mail.TLS) (string, bool)) func(*session) (string, bool) {
	return func(s *session) (string, bool) {
		if s.peer.TLS == nil {
			return "", false
		}
		return value(s.peer.TLS)
	}
}

// ofSASL is a macro that only an authenticated session has.
func ofSASL(value func(*mail.SASL) string) func(*session) (string, bool) {
	return func(s *session) (string, bool) {
		if s.peer.SASL == nil {
			return "", false
		}
		v := value(s.peer.SASL)
		return v, v != ""
	}
}

// filterRcpt is the recipient that filters and their log lines are about: that of
// RCPT, later the first of the transaction.
func (s *session) filterRcpt() (mail.Address, bool) {
	if s.req.Recipient != "" {
		return s.req.Recipient, true
	}
	return s.tx.first, s.tx.rcpts > 0
}

// senderRoute is where mail to the sender would go.
func (s *session) senderRoute() (mail.Route, bool) {
	if !s.req.HasSender {
		return mail.Route{}, false
	}
	rcpt, _ := s.filterRcpt()
	return s.route(rcpt, s.req.Sender)
}

// rcptRoute is where the recipient goes.
func (s *session) rcptRoute() (mail.Route, bool) {
	rcpt, ok := s.filterRcpt()
	if !ok {
		return mail.Route{}, false
	}
	return s.route(s.req.Sender, rcpt)
}

// maxRoutes bounds what a transaction remembers of routes.
const maxRoutes = 8

// route asks where an address goes. Without an answer the macro is left out.
func (s *session) route(sender, addr mail.Address) (mail.Route, bool) {
	if s.srv.Lists.Filters.Route == nil {
		return mail.Route{}, false
	}
	key := [2]mail.Address{sender, addr}
	if r, ok := s.filters.routes[key]; ok {
		return r, true
	}
	r, err := s.srv.Lists.Filters.Route(s.ctx, sender, addr)
	if err != nil {
		s.log.Warnf("milter macros: %s: %v", addr, err)
		return mail.Route{}, false
	}
	if s.filters.routes == nil || len(s.filters.routes) >= maxRoutes {
		s.filters.routes = make(map[[2]mail.Address]mail.Route, 2)
	}
	s.filters.routes[key] = r
	return r, true
}
