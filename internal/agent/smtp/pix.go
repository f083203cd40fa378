package smtp

import (
	"bytes"
	"context"
	"strings"

	"postroad/internal/sys"
)

// pixWords are the workarounds of smtp_pix_workarounds.
var pixWords = [...]string{"delay_dotcrlf", "disable_esmtp"}

// isPIX tells whether a greeting has been through a firewall that hides what the
// server says, and that gets the end of the data wrong.
func isPIX(greeting []byte) bool {
	return len(bytes.Trim(greeting, "20 *\t\n")) == 0
}

// pix turns the workarounds for such a firewall on.
func (a *attempt) pix(ctx context.Context, s *session) {
	set := &a.c.Settings
	words := set.PIXWorkarounds
	if a.c.PIXByAddr != nil && s.t.path == "" {
		value, found, err := a.c.PIXByAddr.Find(ctx, s.t.addr.String())
		if err != nil {
			a.d.Logger.Warnf("%s_pix_workaround_maps: %v", a.c.proto(), err)
		}
		if found {
			words = strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
		}
	}
	var on []string
	for _, w := range words {
		w = strings.ToLower(w)
		switch {
		case w == pixWords[0] && a.d.Active.Sub(a.d.Envelope.Arrived) >= set.PIXThreshold:
			s.feat |= featPIXDelay
			on = append(on, w)
		case w == pixWords[1]:
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
