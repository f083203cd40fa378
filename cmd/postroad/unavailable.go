package main

import (
	"context"

	"postroad/internal/agent"
	"postroad/internal/mail"
)

// unavailable answers for a transport that master.cf does not have, or that no
// room serves: its mail waits.
type unavailable struct{}

// Deliver implements agent.Agent.
func (unavailable) Deliver(_ context.Context, d *agent.Delivery) []mail.Result {
	out := make([]mail.Result, len(d.Recipients))
	for i := range out {
		out[i] = mail.Result{Index: i, Enhanced: "4.3.0", Text: "mail transport unavailable", SiteFailure: true}
	}
	return out
}
