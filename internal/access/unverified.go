package access

import (
	"strings"
	"time"

	"postroad/internal/mail"
	"postroad/internal/verify"
)

// unverified is what differs between senders and recipients in the verification
// of addresses.
type unverified struct {
	about                    scope
	deferCode, rejectCode    int
	reason, action, enhanced string
}

func rejectUnverifiedSender(c *Checker, _ *rule) outcome {
	set := &c.e.set
	return c.unverified(c.req.Sender, &unverified{
		about: c.senderScope(), deferCode: set.UnvSenderDefer, rejectCode: set.UnvSenderReject,
		reason: set.UnvSenderReason, action: set.UnvSenderAction, enhanced: "4.1.7",
	})
}

func rejectUnverifiedRecipient(c *Checker, _ *rule) outcome {
	set := &c.e.set
	return c.unverified(c.req.Recipient, &unverified{
		about: c.recipientScope(), deferCode: set.UnvRcptDefer, rejectCode: set.UnvRcptReject,
		reason: set.UnvRcptReason, action: set.UnvRcptAction, enhanced: "4.1.1",
	})
}

// unverified refuses an address that a probe says cannot be delivered to.
func (c *Checker) unverified(addr mail.Address, u *unverified) outcome {
	if addr == "" {
		return dunno
	}
	if c.trace != nil && c.e.deps.Verify != nil {
		c.note = notAsked // a probe would be sent
		return dunno
	}
	status, why, err := c.verify(addr)
	if err != nil {
		c.warnf("%s service failure", c.e.set.VerifyService)
		return c.tempFail(u, 450, "address verification problem", err)
	}
	code := 0
	switch status {
	case verify.Deliverable:
		return dunno
	case verify.Undeliverable:
		code = u.rejectCode
	default:
		code = u.deferCode
	}
	if code >= 400 && u.reason != "" {
		why = u.reason
	}
	switch code / 100 {
	case 2:
		return dunno
	case 4:
		return c.tempFail(u, code, "unverified address: "+why[:min(len(why), maxWhy)], nil)
	}
	return c.denyFor(u.about, code, u.enhanced, "undeliverable address: "+why)
}

// maxWhy bounds the reason in a reply about an address that is not verified.
const maxWhy = 250

// verify asks about an address, and waits a little for the probe to come back.
func (c *Checker) verify(addr mail.Address) (verify.Status, string, error) {
	if c.e.deps.Verify == nil {
		return verify.Unknown, "", errNoVerify
	}
	polls := c.e.set.PollCount
	if c.req.Stress {
		polls = c.e.stressPolls
	}
	wait := time.Duration(polls-1) * c.e.set.PollDelay
	return c.e.deps.Verify.Ask(c.ctx, addr, wait)
}

// tempFail defers at once or only if the mail would be permitted.
func (c *Checker) tempFail(u *unverified, code int, text string, cause error) outcome {
	st := mail.Status{Code: code, Enhanced: u.enhanced, Text: u.about.rejected(text)}
	if strings.EqualFold(u.action, deferAction) {
		return c.rejectFor(byPolicy, st, cause)
	}
	return c.holdBack(&c.ifPermit, st, cause)
}
