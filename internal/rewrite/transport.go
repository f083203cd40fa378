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
	if hit, err := e.transports.Lookup(ctx, string(addr)); err != nil || hit.Found {
		return hit, err
	}
	at := strings.LastIndexByte(string(addr), '@')
	if base, extension := e.search.Split(string(addr[:at])); extension != "" {
		hit, err := e.transports.LookupFixed(ctx, base+string(addr[at:]))
		if err != nil || hit.Found {
			return hit, err
		}
	}
	if hit, err := e.transports.LookupDomain(ctx, domain, e.dotParents); err != nil || hit.Found {
		return hit, err
	}
	return e.transports.Lookup(ctx, "*")
}
