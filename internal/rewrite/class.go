package rewrite

import (
	"context"
	"net/netip"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/table"
)

// IsLocal tells whether a domain is in $mydestination or is the address, in
// brackets, of one of our interfaces.
func (e *Engine) IsLocal(ctx context.Context, domain string) (bool, error) {
	if n := len(domain); n > 0 && domain[n-1] == '.' {
		domain = domain[:n-1]
		if n < 2 || domain[n-2] == '.' {
			return false, nil
		}
	}
	if domain == "" {
		return false, nil
	}
	if hit, err := e.local.Match(ctx, domain); hit || err != nil {
		return hit, err
	}
	if domain[0] != '[' {
		return false, nil
	}
	addr, ok := literalAddr(domain)
	return ok && e.OwnAddress(addr), nil
}

// Class finds the address class of a domain.
func (e *Engine) Class(ctx context.Context, domain string) (mail.Class, error) {
	local, err := e.IsLocal(ctx, domain)
	if err != nil {
		return mail.ClassDefault, err
	}
	if local {
		return mail.ClassLocal, nil
	}
	return e.remoteClass(ctx, domain)
}

// remoteClass is the class of a domain that is not local; the first list that
// has the domain decides.
func (e *Engine) remoteClass(ctx context.Context, domain string) (mail.Class, error) {
	for _, c := range e.classLists() {
		if hit, err := c.list.Match(ctx, domain); hit || err != nil {
			return c.class, err
		}
	}
	return mail.ClassDefault, nil
}

// classList is the list of domains of a class.
type classList struct {
	class mail.Class
	name  string
	list  *table.MatchList
}

// classLists gives the classes that are not local in the order of preference.
func (e *Engine) classLists() [3]classList {
	return [3]classList{
		{mail.ClassVirtualAlias, "virtual_alias_domains", e.alias},
		{mail.ClassVirtualMailbox, "virtual_mailbox_domains", e.mailbox},
		{mail.ClassRelay, "relay_domains", e.relay},
	}
}

// warnBoth warns about a domain that is in two lists, where only the first
// counts. A list that cannot tell decides nothing here, so it is passed over.
func (e *Engine) warnBoth(ctx context.Context, class mail.Class, domain string) {
	if !e.set.HelpfulWarnings {
		return
	}
	lists := e.classLists()
	first, others := "", lists[:0]
	switch class {
	case mail.ClassLocal:
		first, others = "mydestination", lists[:2]
	case mail.ClassVirtualAlias:
		first, others = lists[0].name, lists[1:]
	case mail.ClassVirtualMailbox:
		first, others = lists[1].name, lists[2:]
	}
	for _, c := range others {
		if both, err := c.list.Match(ctx, domain); both && err == nil {
			e.log.Warnf("do not list domain %s in BOTH %s and %s", domain, first, c.name)
		}
	}
}

// literalAddr reads a domain literal of RFC 5321 4.1.3.
func literalAddr(domain string) (netip.Addr, bool) {
	if len(domain) < 2 || domain[0] != '[' || domain[len(domain)-1] != ']' {
		return netip.Addr{}, false
	}
	text := domain[1 : len(domain)-1]
	const tag = "ipv6:"
	if len(text) > len(tag) && strings.EqualFold(text[:len(tag)], tag) {
		addr, err := netip.ParseAddr(text[len(tag):])
		return addr, err == nil && addr.Is6() && addr.Zone() == ""
	}
	addr, err := netip.ParseAddr(text)
	return addr, err == nil && addr.Is4()
}
