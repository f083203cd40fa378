package access

import (
	"strings"

	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// resolved remembers how an address resolves.
type resolved struct {
	sender, addr mail.Address
	res          rewrite.Resolution
}

// resolve resolves an address of this transaction; rules ask for the same one
// again and again.
func (c *Checker) resolve(addr mail.Address) (rewrite.Resolution, error) {
	for i := range c.memo {
		if m := &c.memo[i]; m.addr == addr && m.sender == c.req.Sender {
			return m.res, nil
		}
	}
	rw := c.e.deps.Rewrite
	res, err := rw.Lookup(c.ctx, c.req.Sender, rw.Rewrite(rewrite.Local, string(addr)))
	if err != nil {
		return res, err
	}
	c.turn = 1 - c.turn
	c.memo[c.turn] = resolved{c.req.Sender, addr, res}
	return res, nil
}

// senderScope and recipientScope are the subjects of rules about addresses.
func (c *Checker) senderScope() scope {
	return scope{string(c.req.Sender), classSender, c.scope.bare}
}

func (c *Checker) recipientScope() scope {
	return scope{string(c.req.Recipient), classRecipient, c.scope.bare}
}

func rejectNonFQDNSender(c *Checker, _ *rule) outcome {
	return c.nonFQDN(c.senderScope())
}

func rejectNonFQDNRecipient(c *Checker, _ *rule) outcome {
	return c.nonFQDN(c.recipientScope())
}

// nonFQDN refuses an address without a complete domain.
func (c *Checker) nonFQDN(s scope) outcome {
	if s.subject == "" {
		return dunno
	}
	domain := mail.Address(s.subject).Domain()
	if strings.HasPrefix(domain, "[") || qualified(domain) {
		return dunno
	}
	return c.denyFor(s, c.e.set.NonFQDNCode, "4.5.2", "need fully-qualified address")
}

func rejectUnlistedSender(c *Checker, _ *rule) outcome {
	if c.req.Sender == "" || c.senderDone {
		return dunno
	}
	c.senderDone = c.warn == 0
	return c.unlisted(c.senderScope(), c.req.Sender)
}

func rejectUnlistedRecipient(c *Checker, _ *rule) outcome {
	if c.req.Recipient == "" || c.recipientDone {
		return dunno
	}
	c.recipientDone = c.warn == 0
	return c.unlisted(c.recipientScope(), c.req.Recipient)
}

// unlisted refuses an address of ours that does not exist.
func (c *Checker) unlisted(s scope, addr mail.Address) outcome {
	if c.e.noUserChecks {
		return dunno
	}
	res, err := c.resolve(addr)
	if err != nil {
		return c.tryLater(addr, err)
	}
	st, err := c.e.deps.Rewrite.Known(c.ctx, res, s.class == classSender)
	switch {
	case err != nil:
		return c.tryLater(addr, err)
	case st == nil:
		return dunno
	}
	return c.denyFor(s, st.Code, c.fixDSN(st.Enhanced, s.class), st.Text)
}

func rejectUnauthDestination(c *Checker, _ *rule) outcome {
	return c.unauthDestination(c.e.set.RelayCode, "5.7.1")
}

func deferUnauthDestination(c *Checker, _ *rule) outcome {
	return c.unauthDestination(c.e.set.RelayCode-100, "4.7.1")
}

// unauthDestination refuses a recipient in a domain that is not ours.
func (c *Checker) unauthDestination(code int, enhanced string) outcome {
	rcpt := c.req.Recipient
	if rcpt == "" {
		return dunno
	}
	res, err := c.resolve(rcpt)
	if err != nil {
		return c.tryLater(rcpt, err)
	}
	if c.e.deps.Rewrite.Permits(res) {
		return dunno
	}
	return c.reject(byPolicy, mail.Status{
		Code: code, Enhanced: enhanced, Text: "<" + string(rcpt) + ">: Relay access denied",
	})
}

func permitAuthDestination(c *Checker, r *rule) outcome {
	rcpt := c.req.Recipient
	if rcpt == "" {
		return dunno
	}
	res, err := c.resolve(rcpt)
	if err != nil {
		return c.tryLater(rcpt, err)
	}
	if !c.e.deps.Rewrite.Permits(res) {
		return dunno
	}
	return c.allow(r.name, c.recipientScope())
}

// rejectMultiBounce refuses a bounce to several people: no mail system sends
// such.
func rejectMultiBounce(c *Checker, _ *rule) outcome {
	n := c.req.RcptCount
	if c.req.Stage == "RCPT" {
		n++ // the one that is asked about
	}
	if !c.req.HasSender || c.req.Sender != "" || n < 2 {
		return dunno
	}
	return c.deny(c.e.set.MultiRcptCode, "5.5.3", "Multi-recipient bounce")
}
