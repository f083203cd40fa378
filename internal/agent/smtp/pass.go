package smtp

import (
	"context"
	"strings"

	"postroad/internal/agent"
	"postroad/internal/mail"
)

// maxPassed bounds how often mail is handed on: two transports could name each
// other.
const maxPassed = 5

// passOn hands the recipients that are left to best_mx_transport: we are the best
// mail exchanger for their domain.
func (a *attempt) passOn(ctx context.Context, transport string) {
	name, _, _ := strings.Cut(transport, ":")
	if a.d.Passed >= maxPassed {
		a.d.Logger.Warnf("transport=%s leads back to itself", name)
		a.bulkFail(nil, newFailure("4.3.5", "mail system configuration error"), failFinal)
		return
	}
	d := *a.d
	d.Recipients, d.Reuse = nil, agent.Reuse{}
	d.Passed++
	var left []int
	for i, st := range a.state {
		if st == rcptDone {
			continue
		}
		left = append(left, i)
		d.Recipients = append(d.Recipients, a.d.Recipients[i])
		a.d.Logger.Infof("%s: passing <%s> to transport=%s", a.d.Envelope.ID, a.d.Recipients[i].Address.External(), name)
	}
	out, program, ok := a.c.Pass(ctx, transport, &d)
	if !ok {
		a.d.Logger.Warnf("connect to subsystem private/%s: No such file or directory", name)
		a.bulkFail(nil, newFailure("4.3.0", "mail transport unavailable"), failFinal)
		return
	}
	for _, res := range out {
		if res.Index < 0 || res.Index >= len(left) || a.state[left[res.Index]] == rcptDone {
			continue
		}
		i := left[res.Index]
		own := a.settle(i, nil)
		own.Outcome, own.Enhanced, own.Text, own.Steps, own.Sync = res.Outcome, res.Enhanced, res.Text, res.Steps, res.Sync
		if len(own.Steps) == 0 {
			res.Sync = nil
			own.Steps = []mail.Step{{Recipient: a.d.Recipients[i], Agent: program, Result: res}}
		}
	}
}
