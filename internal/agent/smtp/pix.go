package smtp

import (
	"bytes"
	"context"
	"strings"

	"postroad/internal/sys"
)

// The workarounds of smtp_pix_workarounds.
const (
	pixDelayDot     = "delay_dotcrlf"
	pixDisableESMTP = "disable_esmtp"
)

// isPIX tells whether a greeting has been through a firewall that hides what the
// server says, and that gets the end of the data wrong.
func isPIX(greeting []byte) bool {
	return len(bytes.Trim(greeting, "20 *\t\n")) == 0
}

// pix turns the workarounds for such a firewall on.
func (a *attempt) pix(ctx context.Context, s *session) {
	set := &a.c.Settings
	words := a.byAddress(ctx, s, "_pix_workaround_maps", a.c.PIXByAddr, set.PIXWorkarounds)
	var on []string
	for _, w := range words {
		w = strings.ToLower(w)
		switch {
		case w == pixDelayDot && a.d.Active.Sub(a.d.Envelope.Arrived) >= set.PIXThreshold:
			s.feat |= featPIXDelay
			on = append(on, w)
		case w == pixDisableESMTP:
			s.feat &^= featESMTP
			on = append(on, w)
		}
	}
	if len(words) > 0 {
		a.d.Logger.Infof("%s: enabling PIX workarounds: %s for %s", a.d.Envelope.ID, strings.Join(on, " "), s.relay)
	}
}

// pixPause sends what there is of the message and waits, so that the firewall sees
// its end in a packet of its own.
func (x *xfer) pixPause(ctx context.Context) error {
	s, set := x.s, &x.a.c.Settings
	if s.feat&featPIXDelay == 0 {
		return nil
	}
	if err := s.flush(set.DataXferTimeout); err != nil {
		return err
	}
	return sys.Pause(ctx, set.PIXDelay)
}
