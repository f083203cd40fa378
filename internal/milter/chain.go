package milter

import (
	"net/netip"
)

// Chain is the filters of one SMTP session. They are asked in their order; the
// first objection is the answer and the others do not see the event.
type Chain struct {
	cfg     *Config
	macros  Macros
	filters []*filter
}

// Client is who speaks SMTP to us.
type Client struct {
	// Name is the verified name, or "unknown".
	Name string
	// Addr is invalid when it is not known.
	Addr netip.Addr
	Port uint16
}

// each reports an event to the filters that take part.
func (c *Chain) each(h *happening, takes func(f *filter) bool) *Reply {
	a := asks{cfg: c.cfg, values: c.macros}
	for _, f := range c.filters {
		if !takes(f) {
			if f.standing != nil {
				return f.standing
			}
			continue
		}
		if reply := f.exchange(h, a.macros(f, h.stage), nil); reply != nil {
			return reply
		}
	}
	return nil
}

// Connect connects to the filters and reports the client.
func (c *Chain) Connect(client Client) *Reply {
	name := client.Name
	if name == "unknown" && client.Addr.IsValid() {
		name = "[" + client.Addr.Unmap().String() + "]" // as Sendmail has it
	}
	h := happening{cmd: cmdConnect, unwanted: noConnect, unanswered: noConnectReply, stage: stageConnect}
	h.parts = [][]byte{terminated(name)}
	if addr := client.Addr.Unmap(); addr.IsValid() {
		family := byte(familyInet)
		if addr.Is6() {
			family = familyInet6
		}
		h.parts = append(h.parts, []byte{family, byte(client.Port >> 8), byte(client.Port)}, terminated(addr.WithZone("").String()))
	} else {
		h.parts = append(h.parts, []byte{familyUnknown})
	}
	return c.each(&h, func(f *filter) bool {
		f.open()
		if f.state != stateReady {
			return false
		}
		f.state = stateEnvelope
		return true
	})
}

// Helo reports HELO or EHLO.
func (c *Chain) Helo(name string) *Reply {
	return c.each(&happening{cmd: cmdHelo, unwanted: noHelo, unanswered: noHeloReply, stage: stageHelo, parts: [][]byte{terminated(name)}},
		func(f *filter) bool { return f.state == stateEnvelope || f.state == stateAcceptMsg })
}

// Mail reports MAIL: the address as it was given, then the parameters.
func (c *Chain) Mail(args ...string) *Reply {
	return c.each(&happening{cmd: cmdMail, unwanted: noMail, unanswered: noMailReply, stage: stageMail, parts: list(args)},
		func(f *filter) bool {
			f.opened = f.state == stateEnvelope
			return f.opened
		})
}

// Rcpt reports RCPT. A recipient that was rejected is shown only to filters that
// want to see those, and nothing follows from what they say.
func (c *Chain) Rcpt(rejected bool, args ...string) *Reply {
	reply := c.each(&happening{cmd: cmdRcpt, unwanted: noRcpt, unanswered: noRcptReply, stage: stageRcpt, parts: list(args)},
		func(f *filter) bool { return f.inTransaction() && (!rejected || f.events&withRejectedRcpt != 0) })
	if rejected {
		return nil
	}
	return reply
}

// Data reports DATA.
func (c *Chain) Data() *Reply {
	return c.each(&happening{cmd: cmdData, unwanted: noData, unanswered: noDataReply, stage: stageData}, (*filter).inTransaction)
}

// Unknown reports a command that we do not know, as it came.
func (c *Chain) Unknown(line string) *Reply {
	return c.each(&happening{cmd: cmdUnknown, unwanted: noUnknown, unanswered: noUnknownReply, stage: stageUnknown, parts: [][]byte{terminated(line)}},
		func(f *filter) bool { return f.state == stateEnvelope })
}

// Standing is the answer that an earlier one left for every other command.
func (c *Chain) Standing() *Reply {
	for _, f := range c.filters {
		if f.standing != nil {
			return f.standing
		}
	}
	return nil
}

// inTransaction tells whether a filter follows the transaction.
func (f *filter) inTransaction() bool { return f.state == stateEnvelope && f.opened }

func list(args []string) [][]byte {
	parts := make([][]byte, len(args))
	for i, a := range args {
		parts[i] = terminated(a)
	}
	return parts
}

// Abort ends the transaction.
func (c *Chain) Abort() {
	for _, f := range c.filters {
		switch f.state {
		case stateEnvelope, stateMessage, stateAcceptMsg:
			if f.conn != nil && f.send(cmdAbort) {
				f.state = stateEnvelope
			}
			f.opened = false
		}
	}
}

// Close ends the session.
func (c *Chain) Close() {
	for _, f := range c.filters {
		if f.conn != nil && f.send(cmdQuit) {
			_ = f.w.Flush() // the filter sees the end of the connection anyway
		}
		f.disconnect()
		f.state, f.standing = stateClosed, nil
	}
}

// Active tells whether a filter wants to see the message of this transaction.
func (c *Chain) Active() bool {
	for _, f := range c.filters {
		if f.inTransaction() && f.conn != nil {
			return true
		}
	}
	return false
}
