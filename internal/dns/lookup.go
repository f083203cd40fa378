package dns

import (
	"context"
	"net/netip"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// Family chooses address families.
type Family uint8

const (
	// Any is both families; IPv4 and IPv6 are one.
	Any Family = iota
	IPv4
	IPv6
)

func (f Family) has(a netip.Addr) bool {
	return f == Any || (f == IPv4) == a.Is4()
}

// MXRecord is a mail exchanger. Host "." is the null MX of RFC 7505.
type MXRecord struct {
	Host string
	Pref uint16
}

// Info is what is known about an answer beside its records.
type Info struct {
	// Authentic tells that a trusted server validated the answer with DNSSEC.
	Authentic bool
	// TTL is how long the answer stays good from now.
	TTL time.Duration
	// Canonical is the name at the end of the aliases.
	Canonical string
}

// MX returns the mail exchangers of a domain, unsorted. The slice is shared
// and must not be changed. A null MX is an answer: see IsNullMX.
func (r *Resolver) MX(ctx context.Context, domain string) ([]MXRecord, Info, error) {
	ans, err := r.lookup(ctx, domain, wire.TypeMX)
	if err != nil {
		return nil, infoOf(ans), err
	}
	return ans.mx, infoOf(ans), nil
}

// IsNullMX tells whether records say that the domain takes no mail (RFC 7505 3).
func IsNullMX(records []MXRecord) bool {
	return len(records) == 1 && records[0].Host == "."
}

// Addrs returns the addresses of a host, IPv4 before IPv6. A numeric host is
// its own answer. When one family answers and the other does not, the one that
// does is the answer; when none does, "try later" wins over "not there".
func (r *Resolver) Addrs(ctx context.Context, host string, family Family) ([]netip.Addr, Info, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, Info{TTL: maxTTL, Canonical: host}, nil
	}
	switch family {
	case IPv4:
		return r.addrs(ctx, host, wire.TypeA)
	case IPv6:
		return r.addrs(ctx, host, wire.TypeAAAA)
	}
	type half struct {
		addrs []netip.Addr
		info  Info
		err   error
	}
	six := make(chan half, 1)
	// goroutine: ends with its question, which the resolver limits in time.
	go func() {
		a, i, err := r.addrs(ctx, host, wire.TypeAAAA)
		six <- half{a, i, err}
	}()
	v4, info4, err4 := r.addrs(ctx, host, wire.TypeA)
	h := <-six
	switch {
	case err4 == nil && h.err == nil:
		info4.Authentic = info4.Authentic && h.info.Authentic
		info4.TTL = min(info4.TTL, h.info.TTL)
		return append(append(make([]netip.Addr, 0, len(v4)+len(h.addrs)), v4...), h.addrs...), info4, nil
	case err4 == nil:
		return v4, info4, nil
	case h.err == nil:
		return h.addrs, h.info, nil
	case IsTemporary(err4) && !IsTemporary(h.err):
		return nil, info4, err4
	}
	// Both failed; the log names the family asked last, as it always has.
	return nil, h.info, h.err
}

func (r *Resolver) addrs(ctx context.Context, host string, qtype uint16) ([]netip.Addr, Info, error) {
	ans, err := r.lookup(ctx, host, qtype)
	if err != nil {
		return nil, infoOf(ans), err
	}
	return ans.addrs, infoOf(ans), nil
}

// HostsName returns the name that the hosts file gives an address, or nothing.
func (r *Resolver) HostsName(addr netip.Addr) string { return r.hosts.Name(addr) }

// PTR returns the names of an address. The slice is shared.
func (r *Resolver) PTR(ctx context.Context, addr netip.Addr) ([]string, Info, error) {
	return r.strings(ctx, ReverseName(addr), wire.TypePTR)
}

// TXT returns the text records of a name, the strings of each joined. The
// slice is shared.
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, Info, error) {
	return r.strings(ctx, name, wire.TypeTXT)
}

// NS returns the name servers of a domain. The slice is shared.
func (r *Resolver) NS(ctx context.Context, domain string) ([]string, Info, error) {
	return r.strings(ctx, domain, wire.TypeNS)
}

func (r *Resolver) strings(ctx context.Context, name string, qtype uint16) ([]string, Info, error) {
	ans, err := r.lookup(ctx, name, qtype)
	if err != nil {
		return nil, infoOf(ans), err
	}
	return ans.texts, infoOf(ans), nil
}

func infoOf(a *answer) Info {
	if a == nil {
		return Info{}
	}
	return Info{Authentic: a.authentic, TTL: max(0, time.Until(a.expires)), Canonical: a.canonical}
}

// Native returns the addresses of a host as getaddrinfo(3) with "files dns"
// does: the hosts file first, then the DNS with the search list.
func (r *Resolver) Native(ctx context.Context, host string, family Family) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	if out := r.hosts.Addrs(host, family); len(out) > 0 {
		return out, nil
	}
	var first error
	for _, name := range r.candidates(host) {
		out, _, err := r.Addrs(ctx, name, family)
		if err == nil {
			return out, nil
		}
		if IsTemporary(err) {
			return nil, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// candidates lists the names to ask for host, as resolv.conf(5) says.
func (r *Resolver) candidates(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	out := make([]string, 0, 1+len(r.cfg.Search))
	direct := strings.Count(host, ".") >= r.cfg.Ndots
	if direct {
		out = append(out, host)
	}
	for _, d := range r.cfg.Search {
		out = append(out, host+"."+d)
	}
	if !direct {
		out = append(out, host)
	}
	return out
}
