package access

import (
	"strings"

	"postroad/internal/dns"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// deferAction is the tempfail action that refuses at once.
const deferAction = "defer"

func rejectUnknownSenderDomain(c *Checker, _ *rule) outcome {
	return c.unknownDomain(c.senderScope(), c.req.Sender)
}

func rejectUnknownRecipientDomain(c *Checker, _ *rule) outcome {
	return c.unknownDomain(c.recipientScope(), c.req.Recipient)
}

// unknownDomain refuses an address to which no mail can be sent.
func (c *Checker) unknownDomain(s scope, addr mail.Address) outcome {
	if addr == "" {
		return dunno
	}
	res, err := c.resolve(addr)
	if err != nil {
		return c.tryLater(addr, err)
	}
	domain := res.Recipient.Domain()
	if isFinal(res) || domain == "" || domain[0] == '[' {
		return dunno
	}
	enhanced, nullCode, nullDSN := "4.1.2", 556, "5.1.10"
	if s.class == classSender {
		enhanced, nullCode, nullDSN = "4.1.8", 550, "5.7.27"
	}
	records, _, err := c.e.deps.DNS.MX(c.ctx, domain)
	switch {
	case err == nil && dns.IsNullMX(records):
		// RFC 7505 4.1 and 4.2 give these codes.
		return c.denyFor(s, nullCode, nullDSN, "Domain "+domain+" does not accept mail (nullMX)")
	case err == nil:
		return dunno
	case dns.IsNotFound(err):
		_, _, err = c.e.deps.DNS.Addrs(c.ctx, domain, dns.Any)
	}
	return c.notInDNS(s, enhanced, "Domain not found", err)
}

// isFinal tells whether mail for an address ends its way here, so that the DNS
// need not know the domain.
func isFinal(res rewrite.Resolution) bool {
	switch res.Class {
	case mail.ClassLocal, mail.ClassVirtualAlias, mail.ClassVirtualMailbox:
		return true
	}
	return false
}

// notInDNS ends a look-up: err is nil when the name was found.
func (c *Checker) notInDNS(s scope, enhanced, text string, err error) outcome {
	code, action := c.e.set.UnknownAddrCode, c.e.set.UnknownAddrAct
	if s.class == classHelo {
		code, action = c.e.set.UnknownHostCode, c.e.set.UnknownHostAct
	}
	switch {
	case err == nil:
		return dunno
	case dns.IsNotFound(err):
		return c.denyFor(s, code, enhanced, text)
	}
	st := mail.Status{Code: 450, Enhanced: enhanced, Text: s.rejected(text)}
	if strings.EqualFold(action, deferAction) {
		return c.rejectFor(byPolicy, st, err)
	}
	return c.holdBack(&c.ifPermit, st, err)
}

// rejectUnknownHelo refuses a HELO name that the DNS does not know.
func rejectUnknownHelo(c *Checker, _ *rule) outcome {
	name := c.req.Helo
	switch {
	case name == "":
		return dunno
	case name[0] == '[':
		return c.invalidLiteral(name)
	}
	var err error
	if validNumeric(name) { // RFC 5321 4.1.3 has brackets: this is a name, and no such host exists
		err = &dns.Error{Kind: dns.NotFound, Name: name}
	} else if _, _, err = c.e.deps.DNS.Addrs(c.ctx, name, dns.Any); dns.IsNotFound(err) {
		_, _, err = c.e.deps.DNS.MX(c.ctx, name)
	}
	return c.notInDNS(c.heloScope(), "4.7.1", "Host not found", err)
}
