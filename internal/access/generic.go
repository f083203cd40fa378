package access

import (
	"time"

	"postroad/internal/mail"
	"postroad/internal/sys"
)

func permitAll(c *Checker, r *rule) outcome { return c.allow(r.name, c.scope) }

func rejectAll(c *Checker, _ *rule) outcome {
	return c.deny(c.e.set.RejectCode, "5.7.1", "Access denied")
}

func deferAll(c *Checker, _ *rule) outcome {
	return c.deny(c.e.set.DeferCode, "4.3.2", "Try again later")
}

func deferIfPermit(c *Checker, _ *rule) outcome {
	return c.holdBack(&c.ifPermit, mail.Status{Code: 450, Enhanced: "4.7.0", Text: c.scope.rejected("defer_if_permit requested")}, nil)
}

func deferIfReject(c *Checker, _ *rule) outcome {
	return c.holdBack(&c.ifReject, mail.Status{Code: 450, Enhanced: "4.7.0", Text: c.scope.rejected("defer_if_reject requested")}, nil)
}

// sleep makes the client wait.
func sleep(c *Checker, r *rule) outcome {
	_ = sys.Pause(c.ctx, time.Duration(r.seconds)*time.Second) // the session ends with its context
	return dunno
}

// rejectPipelining refuses a client that sends ahead where RFC 2920 3.1 does
// not allow it.
func rejectPipelining(c *Checker, _ *rule) outcome {
	r := c.req
	if r.Pipelined == nil || r.Session.ESMTP && r.Stage != "DATA" || !r.Pipelined() {
		return dunno
	}
	return c.deny(503, "5.5.0", "Improper use of SMTP command pipelining")
}

func rejectPlaintext(c *Checker, _ *rule) outcome {
	if c.req.Session.TLS != nil {
		return dunno
	}
	return c.reject(byPolicy, mail.Status{
		Code: c.e.set.PlaintextCode, Enhanced: "4.7.1", Text: "Session encryption is required",
	})
}

// runClass evaluates a restriction class.
func runClass(c *Checker, r *rule) outcome { return c.run(r.class, c.scope) }

// configError stands for a word that cannot be evaluated.
func configError(c *Checker, r *rule) outcome {
	c.warnf("%s", r.fault)
	return c.serverError()
}

// bareError stands for a table without a word before it, where it means nothing.
func bareError(c *Checker, r *rule) outcome {
	c.warnf("%s before %s restriction %q", specifyOne, c.scope.class, r.word)
	return c.serverError()
}

// runBareTable is a table without a word before it in a restriction class: it
// means what it would in the list that the class is used in.
func runBareTable(c *Checker, r *rule) outcome {
	row, known := c.e.words[c.scope.bare]
	if !known {
		return bareError(c, r)
	}
	return row.run(c, r)
}
