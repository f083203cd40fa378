package cleanup

import (
	"strings"

	"postroad/internal/mail"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/wire"
)

// seenFilter drops recipients that come twice, up to duplicate_filter_limit.
type seenFilter struct {
	limit int
	seen  map[string]bool
}

// first tells whether key is new.
func (f *seenFilter) first(key string) bool {
	if f.seen[key] {
		return false
	}
	if f.limit > 0 && len(f.seen) >= f.limit {
		return true
	}
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	f.seen[key] = true
	return true
}

// lookupFault notes that a table does not answer now: the message comes later.
func (m *Message) lookupFault(param string, err error) {
	m.warnf("%s map lookup problem -- message not accepted, try again later: %v", param, err)
	m.fail(faultWrite, "")
}

// SetSender takes the address of MAIL FROM or of the sendmail command.
func (m *Message) SetSender(addr mail.Address, p SenderParams) {
	m.hasSender = true
	m.env.EnvID, m.env.Ret, m.env.SMTPUTF8, m.env.EightBit = p.EnvID, p.Ret, p.SMTPUTF8, p.Body8Bit
	if addr != "" {
		addr = m.s.deps.Rewrite.Rewrite(rewrite.Local, string(addr))
		addr = m.canonical(addr, envelopeSender)
		addr = m.masquerade(addr, envelopeSender)
	}
	m.env.Sender = addr
	if m.bcc && addr != "" && !m.s.senderBcc.Empty() {
		hit, err := m.s.senderBcc.LookupAddress(m.ctx, addr, m.s.search)
		if err != nil {
			m.lookupFault("sender_bcc_maps", err)
		} else if hit.Found {
			m.copies = append(m.copies, mail.Address(hit.Value))
		}
	}
}

// AddRecipient takes a recipient: it is rewritten and expanded, and what comes
// out of that is what the message goes to.
func (m *Message) AddRecipient(r mail.Recipient) {
	if m.faults&faultWrite != 0 {
		return
	}
	if r.Original == "" {
		r.Original = r.Address
	}
	m.lastRcpt, m.hasRcpt = r.Address, true
	addr := m.canonicalRecipient(r.Address)
	if m.bcc && !m.s.recipientBcc.Empty() {
		hit, err := m.s.recipientBcc.LookupAddress(m.ctx, addr, m.s.search)
		if err != nil {
			m.lookupFault("recipient_bcc_maps", err)
			return
		}
		if hit.Found {
			m.copies = append(m.copies, mail.Address(hit.Value))
		}
	}
	r.Address = addr
	if r.ORCPT == "" {
		// RFC 3461 4.2: the address as we received it, for whoever reports on it.
		r.ORCPT = "rfc822;" + wire.EncodeXtext(addr.External())
	}
	m.expand(r)
}

// canonicalRecipient rewrites an envelope recipient.
func (m *Message) canonicalRecipient(addr mail.Address) mail.Address {
	if addr == "" {
		addr = mail.Address(m.s.set.EmptyRecipient)
	}
	addr = m.s.deps.Rewrite.Rewrite(rewrite.Local, string(addr))
	addr = m.canonical(addr, envelopeRecipient)
	return m.masquerade(addr, envelopeRecipient)
}

// addCopy adds an automatic recipient.
func (m *Message) addCopy(addr mail.Address) {
	rcpt := m.canonicalRecipient(addr)
	m.expand(mail.Recipient{Address: rcpt, Original: addr, Notify: mail.NotifyNever})
}

// headerAddress rewrites an address of the header.
func (m *Message) headerAddress(addr mail.Address, c class) mail.Address {
	addr = m.s.deps.Rewrite.Rewrite(m.context, string(addr))
	return m.masquerade(m.canonical(addr, c), c)
}

// canonical applies the canonical maps: the one for senders or recipients, then
// the common one, each once.
func (m *Message) canonical(addr mail.Address, c class) mail.Address {
	if !m.mapped {
		return addr
	}
	side, param := &m.s.senderCanonical, "sender_canonical_maps"
	if c&(envelopeRecipient|headerRecipient) != 0 {
		side, param = &m.s.recipientCanonical, "recipient_canonical_maps"
	}
	addr = m.mapOne(addr, c, side, param)
	return m.mapOne(addr, c, &m.s.canonical, "canonical_maps")
}

func (m *Message) mapOne(addr mail.Address, c class, mp *mapping, param string) mail.Address {
	if mp.classes&c == 0 || mp.maps.Empty() || addr == "" {
		return addr
	}
	hit, err := mp.maps.LookupAddress(m.ctx, addr, m.s.search)
	if err != nil {
		m.lookupFault(param, err)
		return addr
	}
	if !hit.Found {
		return addr
	}
	for _, to := range m.results(addr, hit, m.s.propagateCanonical) {
		return to
	}
	return addr
}

// results reads the addresses of a table's answer. An answer "@domain" keeps the
// local part; the extension that the key left over is appended when asked for.
func (m *Message) results(addr mail.Address, hit table.Hit, propagate bool) []mail.Address {
	var out []mail.Address
	for spot := range rewrite.HeaderAddresses(hit.Value) {
		to := spot.Addr
		if strings.HasPrefix(string(to), "@") {
			to = mail.Address(addr.Local()) + to
		} else if hit.Extension != "" && propagate {
			local, domain := to.Split()
			to = mail.Address(local + hit.Extension)
			if domain != "" {
				to += "@" + mail.Address(domain)
			}
		}
		out = append(out, m.s.deps.Rewrite.Rewrite(rewrite.Local, string(to)))
	}
	if len(out) == 0 && strings.HasPrefix(strings.TrimSpace(hit.Value), "@") {
		out = append(out, mail.Address(addr.Local()+strings.TrimSpace(hit.Value)))
	}
	return out
}

// masquerade strips the host part below a domain of masquerade_domains.
func (m *Message) masquerade(addr mail.Address, c class) mail.Address {
	q := &m.s.masq
	if len(q.domains) == 0 || q.classes&c == 0 {
		return addr
	}
	local, domain := addr.Split()
	if domain == "" {
		return addr
	}
	if except, err := q.exceptions.Match(m.ctx, local); err != nil || except {
		return addr
	}
	for _, item := range q.domains {
		parent, keep := strings.CutPrefix(strings.ToLower(item), "!")
		low := strings.ToLower(domain)
		if low != parent && !strings.HasSuffix(low, "."+parent) {
			continue
		}
		if keep {
			return addr
		}
		return mail.Address(local + "@" + domain[len(domain)-len(parent):])
	}
	return addr
}

// expand applies virtual_alias_maps to a recipient until nothing changes, and
// adds what comes out to the envelope.
func (m *Message) expand(r mail.Recipient) {
	if !m.mapped || m.s.virtual.Empty() {
		m.add(r)
		return
	}
	x := &expansion{m: m}
	x.walk(r.Address, 0)
	if x.failed {
		return
	}
	for _, addr := range x.out {
		to := r
		to.Address = addr
		m.add(to)
	}
}

// add puts a recipient into the envelope unless it is there already.
func (m *Message) add(r mail.Recipient) {
	key := string(r.Address.Fold())
	if m.s.set.OriginalRcpt {
		key += "\x00" + string(r.Original.Fold()) + "\x00" + strings.ToLower(r.ORCPT)
	} else {
		r.Original = ""
	}
	if m.seen.first(key) {
		m.env.Recipients = append(m.env.Recipients, r)
	}
}

// expansion is the expansion of one recipient.
type expansion struct {
	m      *Message
	out    []mail.Address
	failed bool
}

func (x *expansion) fail(text string) {
	x.failed = true
	x.m.warnf("%s -- message not accepted, try again later", text)
	x.m.fail(faultDefer, "4.6.0 Alias expansion error")
}

// walk follows one address. An address that maps to itself stands for itself; a
// longer circle runs into the recursion limit and is refused, as in Postfix.
func (x *expansion) walk(addr mail.Address, depth int) {
	m, set := x.m, &x.m.s.set
	if x.failed {
		return
	}
	if depth > set.VirtualRecursion {
		x.fail("unreasonable virtual_alias_maps map nesting for " + string(addr))
		return
	}
	if len(addr) > set.VirtualLength && depth > 0 {
		x.fail("unreasonable virtual_alias_maps result " + string(addr[:min(len(addr), 200)]))
		return
	}
	if len(x.out) >= set.VirtualExpansion {
		x.fail("unreasonable virtual_alias_maps map expansion size for " + string(addr))
		return
	}
	hit, err := m.s.virtual.LookupAddress(m.ctx, addr, m.s.search)
	if err != nil {
		x.failed = true
		m.lookupFault("virtual_alias_maps", err)
		return
	}
	if !hit.Found {
		x.out = append(x.out, addr)
		return
	}
	for _, to := range m.results(addr, hit, m.s.propagateVirtual) {
		if to.Fold() == addr.Fold() {
			x.out = append(x.out, to)
			continue
		}
		x.walk(to, depth+1)
	}
}
