package cleanup

import (
	"strings"

	"postroad/internal/mail"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/wire"
)

// seenFilter drops recipients that come twice, up to duplicate_filter_limit
// different ones.
type seenFilter struct {
	limit int
	seen  map[string]struct{}
}

// first tells whether key is new.
func (f *seenFilter) first(key string) bool {
	if _, known := f.seen[key]; known {
		return false
	}
	if f.limit > 0 && len(f.seen) >= f.limit {
		return true
	}
	if f.seen == nil {
		f.seen = map[string]struct{}{}
	}
	f.seen[key] = struct{}{}
	return true
}

// drop forgets key.
func (f *seenFilter) drop(key string) { delete(f.seen, key) }

// lookupFault notes that a table does not answer now: the message comes later.
// The table has said why.
func (m *Message) lookupFault(param string, addr mail.Address) {
	about := ""
	if addr != "" {
		about = " for " + string(addr)
	}
	m.warnf("%s map lookup problem%s -- message not accepted, try again later", param, about)
	m.fail(faultWrite, "")
}

// SetSender takes the address of MAIL FROM or of the sendmail command.
func (m *Message) SetSender(addr mail.Address, p SenderParams) {
	if p.VERP != "" {
		m.env.VERP = p.VERP
	}
	m.env.EnvID, m.env.Ret, m.env.SMTPUTF8, m.env.EightBit = p.EnvID, p.Ret, p.SMTPUTF8, p.Body8Bit
	m.env.RequireTLS = p.RequireTLS
	m.setSender(addr)
	m.simulateMail()
}

// setSender puts the sender into the envelope.
func (m *Message) setSender(addr mail.Address) {
	m.hasSender = true
	if addr != "" {
		addr = m.s.deps.Rewrite.Rewrite(rewrite.Local, string(addr))
		addr = m.masquerade(m.canonical(addr, envelopeSender), envelopeSender)
	}
	m.env.Sender = addr
	m.utf8([]byte(addr))
	m.mapCopy(m.s.senderBcc, "sender_bcc_maps", addr)
}

// AddRecipient takes a recipient: it is rewritten and expanded, and what comes
// out of that is what the message goes to.
func (m *Message) AddRecipient(r mail.Recipient) {
	if m.deaf() {
		return
	}
	if r.Original == "" {
		r.Original = r.Address
	}
	r.Address = m.canonicalRecipient(r.Address)
	if r.ORCPT == "" {
		// RFC 3461 4.2: the address that we were given, for whoever reports on
		// it; a local user may leave out the domain, so his is completed first.
		given := r.Address
		if m.opt.Origin == mail.OriginSMTP {
			given = r.Original
		}
		r.ORCPT = "rfc822;" + wire.EncodeXtext(given.External())
	}
	m.lastRcpt, m.hasRcpt = r.Address, true
	m.utf8([]byte(r.Address))
	m.expand(r)
	m.mapCopy(m.s.recipientBcc, "recipient_bcc_maps", r.Address)
	m.simulateRcpt(r.Address)
}

// Rewritten is the last recipient after rewriting and before expansion.
func (m *Message) Rewritten() mail.Address { return m.lastRcpt }

// utf8 marks a local submission that needs SMTPUTF8 (RFC 6531) because of what
// an address or its header holds.
func (m *Message) utf8(text []byte) {
	if m.autoUTF8 && !m.env.SMTPUTF8 && hasEightBit(text) {
		m.env.SMTPUTF8 = true
	}
}

// canonicalRecipient rewrites an envelope recipient.
func (m *Message) canonicalRecipient(addr mail.Address) mail.Address {
	if addr == "" {
		addr = mail.Address(m.s.set.EmptyRecipient)
	}
	addr = m.s.deps.Rewrite.Rewrite(rewrite.Local, string(addr))
	return m.masquerade(m.canonical(addr, envelopeRecipient), envelopeRecipient)
}

// mapCopy adds the automatic recipient that a table has for addr.
func (m *Message) mapCopy(maps *table.Maps, param string, addr mail.Address) {
	if !m.bcc || maps.Empty() || addr == "" {
		return
	}
	hit, err := maps.LookupAddress(m.ctx, addr, m.s.search)
	if err != nil {
		m.lookupFault(param, "")
		return
	}
	if hit.Found {
		m.addCopy(mail.Address(hit.Value))
	}
}

// addCopy adds an automatic recipient. Nobody gets reports about it.
func (m *Message) addCopy(addr mail.Address) {
	addr = m.canonicalRecipient(addr)
	m.expand(mail.Recipient{Address: addr, Original: addr, Notify: mail.NotifyNever})
}

// canonicalHeader rewrites an address of the header.
func (m *Message) canonicalHeader(addr mail.Address, where class) mail.Address {
	addr = m.s.deps.Rewrite.Rewrite(m.context, string(addr))
	return m.masquerade(m.canonical(addr, where), where)
}

// canonical applies the canonical maps: the one for senders or recipients, then
// the common one, each once.
func (m *Message) canonical(addr mail.Address, where class) mail.Address {
	if !m.mapped {
		return addr
	}
	side, param := &m.s.senderCanonical, "sender_canonical_maps"
	if where&(envelopeRecipient|headerRecipient) != 0 {
		side, param = &m.s.recipientCanonical, "recipient_canonical_maps"
	}
	addr = m.mapOne(addr, where, side, param)
	return m.mapOne(addr, where, &m.s.canonical, "canonical_maps")
}

// mapOne applies one canonical map.
func (m *Message) mapOne(addr mail.Address, where class, mp *mapping, param string) mail.Address {
	if mp.classes&where == 0 || mp.maps.Empty() || addr == "" {
		return addr
	}
	hit, err := mp.maps.LookupAddress(m.ctx, addr, m.s.search)
	if err != nil {
		m.lookupFault(param, addr)
		return addr
	}
	if !hit.Found {
		return addr
	}
	results := m.results(addr, hit, m.s.propagateCanonical, 2)
	if len(results) == 0 {
		return addr
	}
	if len(results) > 1 {
		m.warnf("multi-valued %s entry for %s", param, addr)
	}
	return results[0]
}

// results reads the addresses of a table's answer.
func (m *Message) results(addr mail.Address, hit table.Hit, propagate bool, limit int) []mail.Address {
	complete := func(text string) mail.Address { return m.s.deps.Rewrite.Rewrite(rewrite.Local, text) }
	return rewrite.Mapped(complete, addr, hit.Value, hit.Extension, propagate, limit)
}

// masquerade strips the host part below a domain of masquerade_domains. The
// first domain that matches decides; "!" before it means to leave it.
func (m *Message) masquerade(addr mail.Address, where class) mail.Address {
	q := &m.s.masq
	if !m.mapped || len(q.domains) == 0 || q.classes&where == 0 {
		return addr
	}
	local, domain := addr.Split()
	if domain == "" {
		return addr
	}
	except, err := q.exceptions.Match(m.ctx, local)
	if err != nil {
		m.lookupFault("masquerade_exceptions", "")
	}
	if err != nil || except {
		return addr
	}
	low := strings.ToLower(domain)
	for _, item := range q.domains {
		parent := strings.TrimLeft(item, "!")
		keep := (len(item)-len(parent))%2 == 1
		parent = strings.ToLower(parent)
		if low == parent {
			return addr
		}
		if parent == "" || !strings.HasSuffix(low, "."+parent) {
			continue
		}
		if keep {
			return addr
		}
		return mail.Address(local + "@" + parent)
	}
	return addr
}
