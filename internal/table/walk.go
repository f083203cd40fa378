package table

import (
	"context"
	"net/netip"
	"strings"
)

// parent returns the next key of a search for parent domains: the parent when
// dots is false, the parent with a dot before it when dots is true; empty at
// the end. The leading dot of such a key does not count as part of the name.
func parent(name string, dots bool) string {
	if name == "" {
		return ""
	}
	i := strings.IndexByte(name[1:], '.')
	if i < 0 {
		return ""
	}
	i++
	if !dots {
		i++
	}
	return name[i:]
}

// LookupDomain looks up a domain that is itself a derived key (of an address)
// and then its parents: "example.com", "com", or ".example.com", ".com" with
// dotParents, which is what parameters that are not named in
// parent_domain_matches_subdomains use.
func (m *Maps) LookupDomain(ctx context.Context, domain string, dotParents bool) (Hit, error) {
	for name := domain; name != ""; name = parent(name, dotParents) {
		if hit, err := m.LookupFixed(ctx, name); err != nil || hit.Found {
			return hit, err
		}
	}
	return Hit{}, nil
}

// LookupHost looks up a host name as a complete key and then its parent
// domains as LookupDomain does.
func (m *Maps) LookupHost(ctx context.Context, name string, dotParents bool) (Hit, error) {
	hit, err := m.Lookup(ctx, name)
	if err != nil || hit.Found {
		return hit, err
	}
	return m.LookupDomain(ctx, parent(name, dotParents), dotParents)
}

// LookupNet looks up an address as a complete key and then the networks that
// contain it, cut at the last "." or ":": 192.0.2.1, 192.0.2, 192.0, 192.
func (m *Maps) LookupNet(ctx context.Context, addr netip.Addr) (Hit, error) {
	if !addr.IsValid() {
		return Hit{}, nil
	}
	text := addr.Unmap().WithZone("").String()
	hit, err := m.Lookup(ctx, text)
	separator := byte('.')
	if strings.IndexByte(text, ':') >= 0 {
		separator = ':'
	}
	for err == nil && !hit.Found {
		i := strings.LastIndexByte(text, separator)
		if i < 0 {
			break
		}
		text = text[:i]
		hit, err = m.LookupFixed(ctx, text)
	}
	return hit, err
}
