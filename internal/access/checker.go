package access

import (
	"context"
	"strings"
	"time"

	"postroad/internal/mail"
)

// Checker is the access control of one session. It remembers between commands
// what Postfix does: deferrals that wait for a permission, and what tables want
// done to the message. One goroutine uses it.
type Checker struct {
	e   *Engine
	ctx context.Context
	req *Request

	scope scope
	// rule is the one being evaluated, key the table key that it found.
	rule *rule
	key  string
	// datum is what was looked up, of which key may be a part.
	datum string
	// verdict is the last refusal, permitted the last permission.
	verdict, permitted mail.Verdict
	// depth counts the lists being evaluated; warn is the depth at which
	// warn_if_reject stands, 0 for none.
	depth, warn int
	// ifPermit turns a permission into a deferral, ifReject a rejection.
	ifPermit, ifReject deferral
	// afterClient, afterHelo and afterSender tell whether ifPermit was set at
	// the end of these stages, so that a repeated command starts from there.
	afterClient, afterHelo, afterSender bool
	// senderDone and recipientDone tell that "unlisted" was checked already.
	senderDone, recipientDone bool
	actions                   Actions
	// discarded is the verdict of the rule that set actions.Discard.
	discarded mail.Verdict
	trace     func(Step)
	said      said
	memo      [2]resolved
	turn      int
	// listings are the answers of lists in the DNS by the name asked for.
	listings map[string]listing
	// defaults counts the default actions of policy servers under evaluation.
	defaults int
}

// scope is what a reply speaks about: the subject in angle brackets, its class,
// and what a bare table means.
type scope struct{ subject, class, bare string }

// deferral is a refusal that waits for its condition; the first one counts.
type deferral struct {
	active  bool
	verdict mail.Verdict
}

// The classes of Postfix's replies.
const (
	classClient    = "Client host"
	classReverse   = "Unverified Client host"
	classHelo      = "Helo command"
	classSender    = "Sender address"
	classRecipient = "Recipient address"
	classETRN      = "Etrn command"
	classData      = "Data command"
	classEndOfData = "End-of-data"
	classCert      = "Client certificate"
	classSASL      = "SASL login name"
)

// Actions returns what tables want done to the message of this transaction.
func (c *Checker) Actions() Actions { return c.actions }

// ResetTransaction forgets what belongs to a transaction.
func (c *Checker) ResetTransaction() {
	c.actions, c.discarded = Actions{}, mail.Verdict{}
	c.senderDone, c.recipientDone = false, false
	c.afterSender = c.afterHelo
	c.ifPermit.active = c.afterHelo
	c.memo = [2]resolved{}
}

// Client checks a client that connects.
func (c *Checker) Client(ctx context.Context, r *Request) mail.Verdict {
	if c.e.set.DelayReject {
		return mail.Verdict{}
	}
	c.begin(ctx, r, "CONNECT")
	return c.end(c.clientStage())
}

// Helo checks the argument of HELO or EHLO.
func (c *Checker) Helo(ctx context.Context, r *Request) mail.Verdict {
	if c.e.set.DelayReject {
		return mail.Verdict{}
	}
	c.begin(ctx, r, "HELO")
	return c.end(c.heloStage())
}

// Sender checks the address of MAIL.
func (c *Checker) Sender(ctx context.Context, r *Request) mail.Verdict {
	if c.e.set.DelayReject {
		return mail.Verdict{}
	}
	c.begin(ctx, r, "MAIL")
	return c.end(c.senderStage())
}

// Recipient checks the address of RCPT, after all that was delayed.
func (c *Checker) Recipient(ctx context.Context, r *Request) mail.Verdict {
	c.begin(ctx, r, "RCPT")
	return c.end(c.recipientStage())
}

// Vrfy checks the address of VRFY as that of RCPT.
func (c *Checker) Vrfy(ctx context.Context, r *Request) mail.Verdict {
	c.begin(ctx, r, "VRFY")
	return c.end(c.recipientStage())
}

// Data checks the transaction at DATA or BDAT.
func (c *Checker) Data(ctx context.Context, r *Request) mail.Verdict {
	c.begin(ctx, r, "DATA")
	return c.end(c.messageStage(c.e.data, scope{"DATA", classData, tableNone}))
}

// EndOfData checks the transaction when the content is there.
func (c *Checker) EndOfData(ctx context.Context, r *Request) mail.Verdict {
	c.begin(ctx, r, afterContent)
	return c.end(c.messageStage(c.e.endOfData, scope{afterContent, classEndOfData, tableNone}))
}

// afterContent is the name of the stage after the content.
const afterContent = "END-OF-MESSAGE"

// Etrn checks the argument of ETRN.
func (c *Checker) Etrn(ctx context.Context, r *Request) mail.Verdict {
	c.begin(ctx, r, "ETRN")
	return c.end(c.etrnStage())
}

// begin takes up a request.
func (c *Checker) begin(ctx context.Context, r *Request, stage string) {
	c.ctx, c.req = ctx, r
	if r.Stage == "" {
		r.Stage = stage
	}
	c.verdict, c.permitted = mail.Verdict{}, mail.Verdict{}
}

// end gives the verdict of a stage.
func (c *Checker) end(o outcome) mail.Verdict {
	c.ctx, c.req, c.rule = nil, nil, nil
	switch {
	case o == refuse:
		return c.verdict
	case c.actions.Discard:
		return c.discarded
	}
	return c.permitted
}

// reset starts a stage: defer_if_reject does not last longer.
func (c *Checker) reset() {
	c.depth, c.warn = 0, 0
	c.ifReject.active = false
	c.rule, c.key = nil, ""
}

func (c *Checker) clientStage() outcome {
	c.reset()
	o := c.run(c.e.client, scope{c.req.Session.Client.String(), classClient, tableClient})
	c.afterClient = c.ifPermit.active
	return o.refusal()
}

func (c *Checker) heloStage() outcome {
	if c.req.Helo == "" {
		return dunno
	}
	c.ifPermit.active = c.afterClient
	c.reset()
	o := c.run(c.e.helo, scope{c.req.Helo, classHelo, tableHelo})
	c.afterHelo = c.ifPermit.active
	return o.refusal()
}

func (c *Checker) senderStage() outcome {
	if !c.req.HasSender {
		return dunno
	}
	c.ifPermit.active = c.afterHelo
	c.senderDone = false
	c.reset()
	o := c.run(c.e.sender, scope{string(c.req.Sender), classSender, tableSender})
	c.afterSender = c.ifPermit.active
	if o != refuse && c.e.set.UnlistedSender && !c.senderDone && !c.actions.Discard && c.req.Sender != "" {
		o = c.implied("smtpd_reject_unlisted_sender", rejectUnlistedSender)
	}
	return o.refusal()
}

func (c *Checker) recipientStage() outcome {
	// RFC 5321 4.5.1: postmaster without a domain is always accepted. A probe
	// to the address that we probe with must not ask for another probe.
	rcpt := string(c.req.Recipient)
	if strings.EqualFold(rcpt, "postmaster") || c.isProbeSender(rcpt) {
		return dunno
	}
	if c.e.unsafe {
		c.reset()
		c.rule = &rule{word: "no rule against relaying", list: c.e.relay}
		return c.serverError()
	}
	c.recipientDone = false
	if c.e.set.DelayReject {
		c.ifPermit.active, c.afterClient, c.afterHelo, c.afterSender = false, false, false, false
		for _, stage := range [3]func() outcome{c.clientStage, c.heloStage, c.senderStage} {
			if stage() == refuse {
				return refuse
			}
		}
	}
	c.ifPermit.active = c.afterSender
	c.reset()
	lists := [2]*list{c.e.recipient, c.e.relay}
	if c.e.set.RelayFirst {
		lists[0], lists[1] = lists[1], lists[0]
	}
	o := dunno
	for i := 0; i < len(lists) && o != refuse; i++ {
		c.depth, c.warn = 0, 0
		o = c.run(lists[i], scope{rcpt, classRecipient, tableRecipient})
	}
	if o != refuse && c.ifPermit.active {
		o = c.refuseWith(c.ifPermit.verdict)
	}
	if o != refuse && c.e.set.UnlistedRcpt && !c.recipientDone && !c.actions.Discard {
		o = c.implied("smtpd_reject_unlisted_recipient", rejectUnlistedRecipient)
	}
	return o.refusal()
}

// isProbeSender tells whether an address is that from which we send probes.
func (c *Checker) isProbeSender(rcpt string) bool {
	return rcpt != "" && c.e.probeSender.Is(mail.Address(rcpt), time.Now())
}

// ProbeSender takes the time out of an address from which we send probes; any
// other address stays as it is.
func (c *Checker) ProbeSender(addr mail.Address) mail.Address {
	if addr != "" && c.e.probeSender.Is(addr, time.Now()) {
		return c.e.probeSender.Address
	}
	return addr
}

// messageStage checks a whole message; with several recipients it is about
// none of them.
func (c *Checker) messageStage(l *list, s scope) outcome {
	if c.req.RcptCount > 1 {
		r := *c.req
		r.Recipient = ""
		c.req = &r
	}
	c.ifPermit.active = false
	c.reset()
	o := c.run(l, s)
	if o != refuse && c.ifPermit.active {
		o = c.refuseWith(c.ifPermit.verdict)
	}
	return o.refusal()
}

func (c *Checker) etrnStage() outcome {
	if c.e.set.DelayReject {
		c.ifPermit.active, c.afterClient, c.afterHelo = false, false, false
		for _, stage := range [2]func() outcome{c.clientStage, c.heloStage} {
			if stage() == refuse {
				return refuse
			}
		}
	}
	c.ifPermit.active = c.afterHelo
	c.reset()
	o := c.run(c.e.etrn, scope{c.req.ETRNDomain, classETRN, tableETRN})
	if o != refuse && c.ifPermit.active {
		o = c.refuseWith(c.ifPermit.verdict)
	}
	return o.refusal()
}

// implied runs a restriction that stands in no list.
func (c *Checker) implied(param string, run func(*Checker, *rule) outcome) outcome {
	r := rule{list: &list{param: param}, word: strings.TrimPrefix(param, "smtpd_")}
	c.rule, c.key = &r, ""
	return run(c, &r)
}
