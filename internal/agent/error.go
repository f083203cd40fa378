package agent

import (
	"context"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
)

// errorAgent is error(8). The nexthop is the text, with an optional code in
// front. The service named retry defers what error bounces.
type errorAgent struct {
	outcome  mail.Outcome
	enhanced string
}

func newError(v *postconf.View, _ *Deps) (Agent, []postconf.Problem) {
	if s := v.Service(); s != nil && s.Name == "retry" {
		return &errorAgent{mail.Deferred, "4.0.0"}, nil
	}
	return &errorAgent{mail.Bounced, "5.0.0"}, nil
}

// Deliver implements Agent.
func (a *errorAgent) Deliver(_ context.Context, d *Delivery) []mail.Result {
	enhanced, text := SplitEnhanced(string(d.Route.Nexthop), a.enhanced)
	res := mail.Result{Outcome: a.outcome, Enhanced: enhanced, Text: text}
	// The code says how: a 4.x.x text is never a bounce.
	if enhanced[0] == '4' {
		res.Outcome = mail.Deferred
	} else if a.outcome == mail.Deferred {
		res.Enhanced = "4" + enhanced[1:]
	}
	if d.Flags&Verify != 0 && res.Outcome == mail.Bounced {
		res.Outcome = mail.Undeliverable
	}
	return each(d, func(int, *mail.Recipient) mail.Result { return res })
}

// SplitEnhanced takes an RFC 3463 code off the front of a text, or gives fallback.
func SplitEnhanced(text, fallback string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if !isEnhanced(word) {
		return fallback, strings.TrimSpace(text)
	}
	return word, strings.TrimSpace(rest)
}

// isEnhanced tells whether s is class "." subject "." detail (RFC 3463 2).
func isEnhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 || !strings.Contains("245", parts[0]) {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) == 0 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}
