package rewrite

import (
	"context"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/table"
)

// override applies transport_maps: the address, the address without
// extension, the domain, its parents, and "*".
func (e *Engine) override(ctx context.Context, r *Resolution, domain string) error {
	if e.transports.Empty() {
		return nil
	}
	hit, err := e.findTransport(ctx, r.Recipient, domain)
	if err != nil || !hit.Found {
		return err
	}
	t := parseTarget(hit.Value)
	if t.transport != "" {
		r.Transport = t.transport
		r.Nexthop = mail.Nexthop(domain)
	}
	if t.nexthop != "" {
		r.Nexthop = t.nexthop
	}
	return nil
}

// findTransport searches transport_maps.
func (e *Engine) findTransport(ctx context.Context, addr mail.Address, domain string) (table.Hit, error) {
	hit, err := FindAddress(ctx, e.transports, addr, e.search)
	if err != nil || hit.Found {
		return hit, err
	}
	if hit, err = e.transports.LookupDomain(ctx, domain, e.dotParents); err != nil || hit.Found {
		return hit, err
	}
	return e.transports.Lookup(ctx, "*")
}

// FindAddress looks up a complete address, and then the address without its
// extension. Each is looked up in external form first, as tables are meant to
// be written, and then in internal form.
func FindAddress(ctx context.Context, m *table.Maps, addr mail.Address, s table.AddressSearch) (table.Hit, error) {
	hit, err := bothForms(addr, func(key string) (table.Hit, error) { return m.Lookup(ctx, key) })
	if err != nil || hit.Found {
		return hit, err
	}
	local, domain := string(addr), ""
	if at := strings.LastIndexByte(local, '@'); at >= 0 {
		local, domain = local[:at], local[at:]
	}
	base, extension := s.Split(local)
	if extension == "" {
		return hit, nil
	}
	return FindDerived(ctx, m, mail.Address(base+domain))
}

// FindDerived looks up an address that is itself a derived key.
func FindDerived(ctx context.Context, m *table.Maps, addr mail.Address) (table.Hit, error) {
	return bothForms(addr, func(key string) (table.Hit, error) { return m.LookupFixed(ctx, key) })
}

// bothForms looks up an address in external and in internal form.
func bothForms(addr mail.Address, lookup func(key string) (table.Hit, error)) (table.Hit, error) {
	external := addr.External()
	hit, err := lookup(external)
	if err != nil || hit.Found || external == string(addr) {
		return hit, err
	}
	return lookup(string(addr))
}
