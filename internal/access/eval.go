package access

import (
	"fmt"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// outcome is what a rule decides.
type outcome uint8

const (
	dunno outcome = iota
	permit
	refuse
)

// refusal is o as far as it concerns the command: a permission ends a list only.
func (o outcome) refusal() outcome {
	if o == refuse {
		return refuse
	}
	return dunno
}

// run evaluates a list.
func (c *Checker) run(l *list, s scope) outcome {
	outer, outerRule, outerSaid := c.scope, c.rule, c.said
	c.scope = s
	c.depth++
	defer func() { c.depth--; c.scope, c.rule, c.said = outer, outerRule, outerSaid }()
	if c.depth > maxDepth {
		c.warnf("restriction nesting too deep in %s", l.param)
		return c.serverError()
	}
	for i := range l.rules {
		if c.actions.Discard {
			return dunno
		}
		r := &l.rules[i]
		if r.name == warnIfReject {
			if c.warn == 0 {
				c.warn = c.depth
			}
			continue
		}
		c.rule, c.key, c.said = r, "", said{}
		held := c.ifPermit.active
		o := r.run(c, r)
		if c.trace != nil {
			c.step(r, o, held)
		}
		if c.warn >= c.depth {
			c.warn = 0
		}
		if o != dunno {
			return o
		}
		// When both a permission and a rejection would end in a deferral, the
		// rest of the list cannot matter.
		if c.ifPermit.active && c.ifReject.active {
			break
		}
	}
	return dunno
}

// kind tells whether warn_if_reject may turn a refusal into a warning.
type kind uint8

const (
	byPolicy kind = iota
	byFailure
)

// maxReply bounds a reply: RFC 5321 4.5.3.1.5 without the line end.
const maxReply = 510

// deny refuses with "<subject>: CLASS rejected: text".
func (c *Checker) deny(code int, enhanced, text string) outcome {
	return c.denyFor(c.scope, code, enhanced, text)
}

// denyFor is deny about something else than what the list is about.
func (c *Checker) denyFor(s scope, code int, enhanced, text string) outcome {
	return c.reject(byPolicy, mail.Status{Code: code, Enhanced: enhanced, Text: s.rejected(text)})
}

// rejected is the text of a refusal.
func (s scope) rejected(text string) string {
	return "<" + s.subject + ">: " + s.class + " rejected: " + text
}

// reject refuses the command, unless warn_if_reject stands before the rule.
func (c *Checker) reject(k kind, st mail.Status) outcome {
	return c.rejectFor(k, st, nil)
}

// rejectFor is reject with the error behind it, for the log.
func (c *Checker) rejectFor(k kind, st mail.Status, cause error) outcome {
	if st.Code < 400 || st.Code > 599 {
		c.warnf("SMTP reply code configuration error: %s", st.String())
		st = mail.Status{Code: 450, Enhanced: "4.7.1", Text: "Service unavailable"}
	}
	warn := c.warn != 0 && k == byPolicy
	if !warn && c.ifReject.active && st.Code >= 500 {
		c.warn, c.ifReject.active = 0, false
		return c.refuseWith(c.ifReject.verdict)
	}
	v := c.verdictOf(st, cause)
	if warn {
		c.log("reject_warning", v.Status)
		c.said.warning = v.Status
		return dunno
	}
	v.Failure = k == byFailure
	c.verdict = v
	return refuse
}

// refuseWith refuses with a verdict from an earlier rule.
func (c *Checker) refuseWith(v mail.Verdict) outcome {
	c.verdict = v
	return refuse
}

// verdictOf makes a refusal by the current rule.
func (c *Checker) verdictOf(st mail.Status, cause error) mail.Verdict {
	if c.e.set.SoftBounce && st.Code >= 500 {
		st.Code -= 100
	}
	// The reply code governs the class of the enhanced code (RFC 3463 2).
	if len(st.Enhanced) > 1 {
		st.Enhanced = string(rune('0'+st.Code/100)) + st.Enhanced[1:]
	}
	st.Text = printable(st.Text, maxReply-len("550 ")-len(st.Enhanced)-1)
	v := c.ruled(mail.Reject)
	if st.Code == 421 || st.Code == 521 {
		v.Action = mail.Disconnect
	}
	v.Status, v.Cause = st, cause
	return v
}

// ruled is a verdict that names the current rule.
func (c *Checker) ruled(a mail.Action) mail.Verdict {
	v := mail.Verdict{Action: a, Key: c.key}
	if c.rule != nil {
		v.Rule, v.Index, v.List = c.rule.word, c.rule.index, c.rule.list.param
	}
	return v
}

// printable replaces control characters by spaces and cuts at n bytes.
func printable(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// holdBack remembers a refusal for the case that the command would be permitted
// or rejected.
func (c *Checker) holdBack(d *deferral, st mail.Status, cause error) outcome {
	if c.warn != 0 && d == &c.ifPermit {
		return c.rejectFor(byPolicy, st, cause)
	}
	if !d.active {
		d.active, d.verdict = true, c.verdictOf(st, cause)
	}
	return dunno
}

// serverError is the answer when the configuration makes no sense.
func (c *Checker) serverError() outcome {
	return c.reject(byFailure, mail.Status{Code: 451, Enhanced: "4.3.5", Text: "Server configuration error"})
}

// tryLater is the answer when a lookup about an address failed.
func (c *Checker) tryLater(addr mail.Address, err error) outcome {
	return c.rejectFor(byFailure, mail.Status{
		Code: 451, Enhanced: "4.3.0", Text: "<" + string(addr) + ">: Temporary lookup failure",
	}, err)
}

// allow permits on behalf of an action; about is what the permission is for.
func (c *Checker) allow(action string, about scope) outcome {
	return c.allowFrom(action, about, "")
}

// allowFrom is allow with the source of the permission. Postfix leaves a space
// where there is none.
func (c *Checker) allowFrom(action string, about scope, source string) outcome {
	// A permission that a deferral overrules is none.
	if !c.ifPermit.active && c.e.logsPermit(c.ctx, action) {
		c.log("permit", mail.Status{Text: "action=" + action + " for " + about.class + "=" + about.subject + " " + source})
	}
	c.permitted = c.ruled(mail.Permit)
	return permit
}

// log writes a line about the current command.
func (c *Checker) log(action string, st mail.Status) {
	r := c.req
	c.req.Log.Emit(&event.Decision{
		ID: r.QueueID, Action: action, State: r.Stage, Client: r.Session.Client.String(), Status: st,
		From: r.Sender.External(), HasFrom: r.HasSender, To: r.Recipient.External(), HasTo: r.Recipient != "",
		Proto: r.Session.Proto(), Helo: r.Helo, SASL: r.Session.SASL,
	})
}

// warnf writes a warning.
func (c *Checker) warnf(format string, args ...any) {
	if c.req.Log != nil {
		c.req.Log.Warnf(format, args...)
		return
	}
	c.e.deps.Log.Warnf("%s", fmt.Sprintf(format, args...))
}
