package access

import (
	"cmp"
	"slices"

	"postroad/internal/dns"
	"postroad/internal/mail"
)

// permitMXBackup permits mail for a domain for which this machine is a mail
// exchanger, but not the best one.
func permitMXBackup(c *Checker, r *rule) outcome {
	rcpt := c.req.Recipient
	if rcpt == "" {
		return dunno
	}
	res, err := c.resolve(rcpt)
	if err != nil {
		return c.tryLater(rcpt, err)
	}
	domain := res.Recipient.Domain()
	switch {
	case domain == "":
		return c.allow(r.name, c.recipientScope())
	case res.Routed && !c.e.set.AllowUntrusted:
		return dunno
	case isFinal(res) || res.Class == mail.ClassRelay:
		return c.allow(r.name, c.recipientScope())
	case domain[0] == '[':
		return dunno
	}
	records, _, err := c.e.deps.DNS.MX(c.ctx, domain)
	if err != nil {
		if !dns.IsNotFound(err) {
			c.deferBackup("Unable to look up mail exchanger information: " + shortReason(err))
		}
		return dunno
	}
	if dns.IsNullMX(records) { // RFC 7505 3: there is no mail to be a backup for
		return dunno
	}
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b dns.MXRecord) int { return cmp.Compare(a.Pref, b.Pref) })
	n := 1
	for n < len(records) && records[n].Pref == records[0].Pref {
		n++
	}
	best, rest := records[:n], records[n:]
	if c.amMX(best) || !c.amMX(rest) || !c.bestAllowed(best) {
		return dunno
	}
	return c.allow(r.name, c.recipientScope())
}

// deferBackup makes a rejection a deferral, because the DNS could not tell.
func (c *Checker) deferBackup(text string) {
	c.holdBack(&c.ifReject, mail.Status{Code: 450, Enhanced: "4.4.4", Text: c.recipientScope().rejected(text)}, nil)
}

// amMX tells whether this machine is one of the hosts.
func (c *Checker) amMX(records []dns.MXRecord) bool {
	rw := c.e.deps.Rewrite
	for _, record := range records {
		if local, err := rw.IsLocal(c.ctx, record.Host); err == nil && local {
			return true
		}
	}
	for _, record := range records {
		addrs, err := c.e.deps.DNS.Native(c.ctx, record.Host, c.e.family)
		if err != nil {
			c.deferBackup("Unable to look up mail exchanger host " + record.Host + ": " + resolveReason(err))
			continue
		}
		if slices.ContainsFunc(addrs, rw.OwnAddress) {
			return true
		}
	}
	return false
}

// bestAllowed tells whether every address of the best mail exchangers is in
// permit_mx_backup_networks, if that says anything.
func (c *Checker) bestAllowed(best []dns.MXRecord) bool {
	if len(c.e.set.BackupNetworks) == 0 {
		return true
	}
	for _, record := range best {
		addrs, _, err := c.e.deps.DNS.Addrs(c.ctx, record.Host, c.e.family)
		if err != nil {
			c.deferBackup("Unable to look up host " + record.Host + " as mail exchanger: " + shortReason(err))
			return false
		}
		for _, addr := range addrs {
			in, err := c.e.backupNetworks.MatchHost(c.ctx, record.Host, addr)
			if err != nil {
				c.warnf("permit_mx_backup_networks lookup error for address %s for %s", addr, record.Host)
				c.deferBackup("Unable to verify host " + record.Host + " as mail exchanger")
			}
			if !in {
				return false
			}
		}
	}
	return true
}
