package agent

import (
	"context"
	"strings"

	"postroad/internal/mail"
)

// PassFunc hands recipients to another transport, "transport:nexthop". The results
// are those of its agent, whose program is name; ok is false when there is none.
type PassFunc func(ctx context.Context, transport string, d *Delivery) (res []mail.Result, name string, ok bool)

// maxPassed bounds how often recipients are handed on: two transports could name
// each other.
const maxPassed = 5

// PassOn hands some recipients of the attempt to another transport. When that
// cannot be done, fault is the result for all of them.
func (d *Delivery) PassOn(ctx context.Context, pass PassFunc, transport string, rcpts []mail.Recipient) (res []mail.Result, program string, fault *mail.Result) {
	name, _, _ := strings.Cut(transport, ":")
	if d.Passed >= maxPassed {
		d.Logger.Warnf("transport=%s leads back to itself", name)
		return nil, "", &mail.Result{Enhanced: "4.3.5", Text: configError}
	}
	for i := range rcpts {
		d.Logger.Infof("%s: passing <%s> to transport=%s", d.Envelope.ID, rcpts[i].Address.External(), name)
	}
	other := *d
	other.Recipients, other.Reuse = rcpts, Reuse{}
	other.Passed++
	res, program, ok := pass(ctx, transport, &other)
	if !ok || len(res) == 0 {
		d.Logger.Warnf("connect to subsystem private/%s: No such file or directory", name)
		return nil, "", &mail.Result{Enhanced: "4.3.0", Text: "mail transport unavailable"}
	}
	return res, program, nil
}
