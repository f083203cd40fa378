package agent

import (
	"context"

	"postroad/internal/mail"
	"postroad/internal/postconf"
)

// discardAgent is discard(8): it says that it delivered.
type discardAgent struct{}

func newDiscard(*postconf.View, *Deps) (Agent, []postconf.Problem) { return discardAgent{}, nil }

// Deliver implements Agent.
func (discardAgent) Deliver(_ context.Context, d *Delivery) []mail.Result {
	res := mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: string(d.Route.Nexthop)}
	if d.Flags&Verify != 0 {
		res.Outcome = mail.Deliverable
	}
	return each(d, func(int, *mail.Recipient) mail.Result { return res })
}
