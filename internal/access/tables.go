package access

import (
	"strings"

	"postroad/internal/mail"
	"postroad/internal/rewrite"
	"postroad/internal/table"
)

func checkClient(c *Checker, r *rule) outcome {
	return c.checkHost(r, c.req.Session.Client.Name, c.clientScope())
}

// checkReverseClient looks at a name that nobody has verified: it may refuse,
// but not permit.
func checkReverseClient(c *Checker, r *rule) outcome {
	name := c.req.Session.Client.ReverseName
	o := c.checkHost(r, name, scope{name, classReverse, c.scope.bare})
	return c.forbidPermit(r, o, name)
}

// forbidPermit turns a permission into a configuration error.
func (c *Checker) forbidPermit(r *rule, o outcome, subject string) outcome {
	if o != permit || c.actions.Discard {
		return o
	}
	c.warnf("restriction %s returns OK for %s", r.name, subject)
	c.warnf("this is not allowed for security reasons")
	c.warnf("use DUNNO instead of OK if you want to make an exception")
	return c.serverError()
}

// checkHost looks up a name and its parents, then the address and its networks.
func (c *Checker) checkHost(r *rule, name string, s scope) outcome {
	c.datum = name
	hit, err := r.maps.LookupHost(c.ctx, name, c.e.dotParents)
	if err == nil && !hit.Found {
		c.datum = c.req.Session.Client.AddrString()
		hit, err = r.maps.LookupNet(c.ctx, c.addr())
	}
	return c.decide(r, hit, err, s)
}

// decide does what a table says.
func (c *Checker) decide(r *rule, hit table.Hit, err error, s scope) outcome {
	switch {
	case err != nil:
		c.warnf("%s: table lookup problem", r.spec)
		// Postfix answers as if the table had said so.
		return c.apply(r, "451 4.3.5 Server configuration error", s)
	case !hit.Found:
		return dunno
	}
	c.key = hit.Key
	return c.apply(r, hit.Value, s)
}

func checkHelo(c *Checker, r *rule) outcome {
	if c.req.Helo == "" {
		return dunno
	}
	c.datum = c.req.Helo
	hit, err := r.maps.LookupHost(c.ctx, c.req.Helo, c.e.dotParents)
	return c.decide(r, hit, err, c.heloScope())
}

func checkETRN(c *Checker, r *rule) outcome {
	name := c.req.ETRNDomain
	if name == "" {
		return dunno
	}
	c.datum = name
	hit, err := r.maps.LookupHost(c.ctx, name, c.e.dotParents)
	return c.decide(r, hit, err, scope{name, classETRN, c.scope.bare})
}

func checkSASL(c *Checker, r *rule) outcome {
	user := c.login()
	if !c.hasLogins(r.name) || user == "" {
		return dunno
	}
	user = printable(user, len(user))
	c.datum = user
	hit, err := r.maps.Lookup(c.ctx, user)
	return c.decide(r, hit, err, scope{user, classSASL, c.scope.bare})
}

// certPrint gives a fingerprint of a client certificate.
type certPrint func(t *mail.TLS) string

// certPrints are the words of search_order, usualPrints what holds without it.
var (
	certPrints = map[string]certPrint{
		"cert_fingerprint":   func(t *mail.TLS) string { return t.Fingerprint },
		"pubkey_fingerprint": func(t *mail.TLS) string { return t.KeyFingerprint },
	}
	usualPrints = []certPrint{certPrints["cert_fingerprint"], certPrints["pubkey_fingerprint"]}
)

func checkCert(c *Checker, r *rule) outcome {
	t := c.req.Session.TLS
	if t == nil || !t.PeerPresent {
		return dunno
	}
	prints := r.prints
	if prints == nil {
		prints = usualPrints
	}
	for _, of := range prints {
		print := of(t)
		if print == "" {
			continue
		}
		c.datum = print
		hit, err := r.maps.Lookup(c.ctx, print)
		if err != nil || hit.Found {
			return c.decide(r, hit, err, scope{print, classCert, c.scope.bare})
		}
	}
	return dunno
}

func checkSender(c *Checker, r *rule) outcome {
	if !c.req.HasSender {
		return dunno
	}
	if c.req.Sender != "" {
		return c.checkAddress(r, c.senderScope())
	}
	c.datum = c.e.set.NullKey
	hit, err := r.maps.Lookup(c.ctx, c.e.set.NullKey)
	return c.decide(r, hit, err, c.senderScope())
}

func checkRecipient(c *Checker, r *rule) outcome {
	if c.req.Recipient == "" {
		return dunno
	}
	return c.checkAddress(r, c.recipientScope())
}

// checkAddress looks up an address as access(5) says: user+ext@domain,
// user@domain, the domain and its parents, user+ext@, user@.
func (c *Checker) checkAddress(r *rule, s scope) outcome {
	addr := c.req.Recipient
	if s.class == classSender {
		addr = c.req.Sender
	}
	res, err := c.resolve(addr)
	if err != nil {
		return c.tryLater(addr, err)
	}
	full := string(res.Recipient)
	at := strings.LastIndexByte(full, '@')
	if at < 0 {
		return dunno
	}
	c.datum = full
	hit, err := c.findAddress(r, full, at)
	o := c.decide(r, hit, err, s)
	// A recipient that names another destination in its local part is too
	// suspicious to be permitted.
	if o == permit && res.Routed && !c.e.set.AllowUntrusted && s.class == classRecipient {
		return dunno
	}
	return o
}

// findAddress searches a table for an address whose "@" is at position at.
func (c *Checker) findAddress(r *rule, full string, at int) (table.Hit, error) {
	hit, err := rewrite.FindAddress(c.ctx, r.maps, mail.Address(full), c.e.search)
	if err != nil || hit.Found {
		return hit, err
	}
	if hit, err = r.maps.LookupDomain(c.ctx, full[at+1:], c.e.dotParents); err != nil || hit.Found {
		return hit, err
	}
	hit, err = rewrite.FindDerived(c.ctx, r.maps, mail.Address(full[:at+1]))
	base, extension := c.e.search.Split(full[:at])
	if err != nil || hit.Found || extension == "" {
		return hit, err
	}
	return rewrite.FindDerived(c.ctx, r.maps, mail.Address(base+"@"))
}
