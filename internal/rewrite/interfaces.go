package rewrite

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// lookupTimeout bounds the look-up of one host name in inet_interfaces.
const lookupTimeout = 10 * time.Second

// interfaces returns the addresses of inet_interfaces and proxy_interfaces.
func (b *builder) interfaces() map[netip.Addr]struct{} {
	own := map[netip.Addr]struct{}{}
	add := func(addr netip.Addr) {
		if b.protocol(addr.Unmap()) {
			own[addr.Unmap().WithZone("")] = struct{}{}
		}
	}
	for _, item := range b.e.set.Interfaces {
		switch strings.ToLower(item) {
		case "all":
			for _, addr := range hostAddresses() {
				add(addr)
			}
		case "loopback-only":
			for _, addr := range hostAddresses() {
				if addr.IsLoopback() {
					add(addr)
				}
			}
		default:
			b.named("inet_interfaces", item, add)
		}
	}
	for _, item := range b.e.set.ProxyInterfaces {
		b.named("proxy_interfaces", item, add)
	}
	return own
}

// named adds an address or the addresses of a host name.
func (b *builder) named(param, item string, add func(netip.Addr)) {
	text := strings.TrimSuffix(strings.TrimPrefix(item, "["), "]")
	if addr, err := netip.ParseAddr(text); err == nil {
		add(addr)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", text)
	b.check(param, err)
	for _, addr := range addrs {
		add(addr)
	}
}

// protocol tells whether inet_protocols has the family of addr.
func (b *builder) protocol(addr netip.Addr) bool {
	list := b.e.set.Protocols
	if len(list) == 0 || slices.Contains(list, "all") {
		return true
	}
	if addr.Is4() {
		return slices.Contains(list, "ipv4")
	}
	return slices.Contains(list, "ipv6")
}

// hostAddresses lists the addresses of this host.
func hostAddresses() []netip.Addr {
	var out []netip.Addr
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out
}
