package smtp

import (
	"context"

	"postroad/internal/mail"
)

// passOn hands the recipients that are left to best_mx_transport: we are the best
// mail exchanger for their domain.
func (a *attempt) passOn(ctx context.Context, transport string) {
	var left []int
	var rcpts []mail.Recipient
	for i, st := range a.state {
		if st != rcptDone {
			left = append(left, i)
			rcpts = append(rcpts, a.d.Recipients[i])
		}
	}
	out, program, fault := a.d.PassOn(ctx, a.c.Pass, transport, rcpts)
	if fault != nil {
		a.bulkFail(nil, newFailure(fault.Enhanced, fault.Text), failFinal)
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
