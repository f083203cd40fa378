package smtpd

import (
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
)

// proxyFilter notes that smtpd_proxy_filter is wanted. It is not served, and is
// treated as one that cannot be reached: no message passes that should have been
// filtered.
func (b *viewBuilder) proxyFilter() {
	v, err := b.v.Value("smtpd_proxy_filter")
	b.note(true, err)
	if strings.TrimSpace(v) != "" {
		b.srv.lacks.proxy = true
		b.warn("smtpd_proxy_filter is not served by this release: mail is deferred")
	}
}

func (b *viewBuilder) warn(text string) {
	p := postconf.Problem{Text: text}
	if svc := b.v.Service(); svc != nil {
		p.Origin = svc.Origin
	}
	b.problems = append(b.problems, p)
}

// unfiltered answers MAIL when its filter is missing; true ends the command.
func (s *session) unfiltered(sender mail.Address) bool {
	if !s.srv.lacks.proxy {
		return false
	}
	st := mail.Status{Code: 451, Enhanced: "4.3.0", Text: "Error: queue file write error"}
	s.log.Emit(&event.Decision{
		Action: "proxy-reject", State: "MAIL", Client: s.client(), Status: st, HasFrom: true, From: sender.External(),
		Proto: s.peer.Proto(), Helo: s.peer.Helo, SASL: s.peer.SASL,
	})
	s.status(st)
	return true
}
