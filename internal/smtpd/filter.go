package smtpd

import (
	"slices"
	"strings"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
)

// missingFilter is what to do about a content filter that the configuration names
// and this server cannot speak to. It is treated as Postfix treats a filter that
// cannot be reached: no message passes that should have been filtered, unless the
// administrator said so.
type missingFilter uint8

const (
	filterNone missingFilter = iota
	filterDefer
	filterHold
)

// filters finds the filters that are wanted and not served.
func (b *viewBuilder) filters() {
	value := func(name string) string {
		v, err := b.v.Value(name)
		b.note(true, err)
		return strings.TrimSpace(v)
	}
	overrides, err := b.v.List("receive_override_options")
	b.note(true, err)
	if value("smtpd_milters") == "" || slices.Contains(overrides, "no_milters") {
		return
	}
	switch strings.ToLower(value("milter_default_action")) {
	case "accept":
		b.warn("smtpd_milters is not served by this release: mail passes unfiltered, as milter_default_action = accept says")
	case "quarantine":
		b.srv.lacks.filter = filterHold
		b.warn("smtpd_milters is not served by this release: mail is put on hold, as milter_default_action = quarantine says")
	default:
		b.srv.lacks.filter = filterDefer
		b.warn("smtpd_milters is not served by this release: mail is deferred, as if no filter answered; " +
			"set milter_default_action = accept to take mail without the filters, or empty smtpd_milters")
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
	st := mail.Status{Code: 451, Enhanced: "4.7.1", Text: "Service unavailable - try again later"}
	if s.srv.lacks.filter != filterDefer {
		return false
	}
	s.log.Emit(&event.Decision{
		Action: "milter-reject", State: "MAIL", Client: s.client(), Status: st, HasFrom: true, From: sender.External(),
		Proto: s.peer.Proto(), Helo: s.peer.Helo, SASL: s.peer.SASL,
	})
	s.status(st)
	return true
}

// quarantine puts a message on hold whose filter is missing.
func (s *session) quarantine() {
	if s.srv.lacks.filter == filterHold {
		s.tx.msg.Apply(access.Actions{Hold: true})
	}
}
