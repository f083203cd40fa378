package cleanup

import (
	"bytes"
	"io"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// expand applies virtual_alias_maps to a recipient until nothing changes, and
// adds what comes out to the envelope.
func (m *Message) expand(r mail.Recipient) {
	if !m.mapped || m.s.virtual.Empty() {
		m.add(r)
		return
	}
	list := m.expansion(r.Address)
	if m.opt.Verify && len(list) > 1 && m.faults == 0 {
		// Probes to each member would overwrite one another's answers.
		m.verified(r)
		return
	}
	if m.s.deps.Expanded != nil && r.Notify&mail.NotifySuccess != 0 && (len(list) > 1 || list[0] != r.Address) {
		// RFC 3461 5.2.7: the expansion is the success that is reported; what
		// becomes of the members is not.
		m.expanded = append(m.expanded, r)
		if r.Notify &^= mail.NotifySuccess; r.Notify == 0 {
			r.Notify = mail.NotifyNever
		}
	}
	for _, addr := range list {
		to := r
		to.Address = addr
		m.add(to)
	}
}

// verified answers a probe for an alias of several recipients.
func (m *Message) verified(r mail.Recipient) {
	const text = "aliased to multiple recipients"
	if m.s.deps.Verified != nil {
		m.s.deps.Verified(r, text)
	}
	now := m.s.deps.Now()
	m.emit(&event.Delivery{
		ID: m.ID(), To: r.Address, OrigTo: r.Original, DSN: "2.0.0", Outcome: mail.Deliverable, Reason: text,
		Times: event.Times{Arrived: m.env.Arrived, Done: now},
	})
	m.answered = true
}

// add puts a recipient into the envelope unless it is there already. Recipients
// that differ only in what the sender asked for are different, since their
// deliveries carry that in a header.
func (m *Message) add(r mail.Recipient) {
	if m.seen.first(m.seenKey(&r)) {
		m.env.Recipients = append(m.env.Recipients, r)
	}
}

// seenKey is equal for recipients that are one.
func (m *Message) seenKey(r *mail.Recipient) string {
	key := string(r.Address)
	if m.s.set.OriginalRcpt {
		key = r.ORCPT + "\n" + string(rune('0'+r.Notify)) + "\n" + string(r.Original) + "\n" + key
	}
	return strings.ToLower(key)
}

// expansion returns what virtual_alias_maps make of an address, or the address
// itself. The list is worked through from its front: the first result of a
// lookup takes the place of the address and is looked up again, the others go to
// the end. An address that has been expanded into itself is final.
func (m *Message) expansion(addr mail.Address) []mail.Address {
	set := &m.s.set
	list := []mail.Address{addr}
	final := map[mail.Address]bool{}
	for i := 0; i < len(list); i++ {
		if len(list) > set.VirtualExpansion {
			return m.unreasonable("map expansion size for", addr, addr)
		}
		for depth := 0; !final[list[i].Fold()]; depth++ {
			if depth >= set.VirtualRecursion {
				return m.unreasonable("map nesting for", addr, addr)
			}
			hit, err := m.s.virtual.LookupAddress(m.ctx, list[i], m.s.search)
			if err != nil {
				m.lookupFault("virtual_alias_maps", addr)
				return []mail.Address{addr}
			}
			if !hit.Found {
				break
			}
			from := list[i]
			results := m.results(from, hit, m.s.propagateVirtual, set.VirtualExpansion+1)
			if len(results) == 0 {
				break
			}
			for n, to := range results {
				if len(to) > set.VirtualLength {
					return m.unreasonable("result", to[:min(len(to), 300)]+"...", addr)
				}
				if n == 0 {
					list[i] = to
				} else {
					list = append(list, to)
				}
				if to.Fold() == from.Fold() {
					final[from.Fold()] = true
				}
			}
		}
	}
	return list
}

// unreasonable refuses an expansion that goes too far.
func (m *Message) unreasonable(what string, culprit, addr mail.Address) []mail.Address {
	m.warnf("unreasonable virtual_alias_maps %s %s -- message not accepted, try again later", what, culprit)
	m.fail(faultDefer, "4.6.0 Alias expansion error")
	return []mail.Address{addr}
}

// memory is a content in memory.
type memory []byte

// Size implements mail.Content.
func (m memory) Size() int64 { return int64(len(m)) }

// Bytes implements mail.Content.
func (m memory) Bytes() []byte { return m }

// Open implements mail.Content.
func (m memory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }
