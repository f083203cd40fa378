package smtp

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"

	"postroad/internal/dns"
)

// Resolver is what this room asks of the DNS; *dns.Resolver is one.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]dns.MXRecord, dns.Info, error)
	Addrs(ctx context.Context, host string, family dns.Family) ([]netip.Addr, dns.Info, error)
	Native(ctx context.Context, host string, family dns.Family) ([]netip.Addr, error)
}

// target is one address of one server.
type target struct {
	host string
	addr netip.Addr
	port uint16
	pref uint16
	best bool // of the best preference of the site
	path string
}

// maxTargets bounds the addresses of one site before the limits of main.cf.
const maxTargets = 500

// lookup finds addresses with the mechanisms of one client.
type lookup struct {
	set      *Settings
	common   *Common
	dns      Resolver
	own      func(netip.Addr) bool
	family   dns.Family
	useDNS   bool
	native   bool
	loopTest bool
}

// targets returns the servers of a site in the order in which they are tried.
// final tells that no other site may be tried: the mail would loop, or we are
// a mail exchanger of the domain ourselves.
func (l *lookup) targets(ctx context.Context, s site) (out []target, final bool, fail *failure) {
	host := asciiHost(s.host)
	if s.useMX && l.useDNS {
		out, final, fail = l.domain(ctx, host, s.host)
	} else {
		out, fail = l.host(ctx, host)
		final = fail != nil && fail.loops()
	}
	for i := range out {
		out[i].port = s.port
		out[i].best = out[i].pref == out[0].pref
	}
	return out, final, fail
}

// domain finds the mail exchangers of a domain (RFC 5321 5.1).
func (l *lookup) domain(ctx context.Context, name, shown string) (out []target, final bool, fail *failure) {
	records, _, err := l.dns.MX(ctx, name)
	switch {
	case err != nil && dns.IsNotFound(err):
		// RFC 5321 5.1: without MX records the domain is its own exchanger.
		out, fail = l.host(ctx, name)
		return out, fail != nil && fail.loops(), fail
	case err != nil && l.common.IgnoreMXLookupError:
		out, fail = l.host(ctx, name)
		return out, fail != nil && fail.loops(), fail
	case err != nil:
		return nil, false, lookupFailure(err, "4.4.3")
	case dns.IsNullMX(records):
		return nil, false, newFailure("5.1.0", "Domain "+shown+" does not accept mail (nullMX)")
	}
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b dns.MXRecord) int { return cmp.Compare(a.Pref, b.Pref) })
	best := records[0].Pref
	for _, mx := range records {
		addrs, f := l.addrs(ctx, mx.Host)
		if f != nil {
			fail = f
		}
		for _, a := range addrs {
			if len(out) < maxTargets {
				out = append(out, target{host: mx.Host, addr: a, pref: mx.Pref})
			}
		}
	}
	if len(out) == 0 {
		if fail == nil {
			fail = newFailure("5.4.4", "no MX host for "+shown+" has a valid address record")
		}
		if l.set.DeferIfNoMXAddress {
			fail.soften()
		}
		fail.warning = "no MX host for " + shown + " has a valid address record"
		return nil, false, fail
	}
	out, iAmMX := l.truncateSelf(out)
	if len(out) == 0 {
		if best == iAmMX.pref {
			return nil, true, newFailure("5.4.6", "mail for "+shown+" loops back to myself")
		}
		return nil, true, newFailure("4.4.4", "unable to find primary relay for "+shown)
	}
	return l.order(out), iAmMX != nil, nil
}

// truncateSelf cuts a list sorted by preference at the preference of our own
// address, which is returned: mail must move towards better exchangers only
// (RFC 5321 5.1).
func (l *lookup) truncateSelf(list []target) ([]target, *target) {
	if !l.loopTest {
		return list, nil
	}
	for i := range list {
		if l.own(list[i].addr) {
			self := list[i]
			n := slices.IndexFunc(list, func(t target) bool { return t.pref >= self.pref })
			return list[:n], &self
		}
	}
	return list, nil
}

// host finds the addresses of a host that is named as the server.
func (l *lookup) host(ctx context.Context, name string) ([]target, *failure) {
	addrs, fail := l.addrs(ctx, name)
	if fail != nil {
		return nil, fail
	}
	out := make([]target, 0, len(addrs))
	for _, a := range addrs {
		if l.loopTest && l.own(a) {
			return nil, newFailure("5.4.6", "mail for "+name+" loops back to myself")
		}
		if len(out) < maxTargets {
			out = append(out, target{host: name, addr: a})
		}
	}
	return l.order(out), nil
}

// addrs finds the addresses of one host, in the families in use.
func (l *lookup) addrs(ctx context.Context, host string) ([]netip.Addr, *failure) {
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		if l.family == dns.Any || (l.family == dns.IPv4) == a.Is4() {
			return []netip.Addr{a}, nil
		}
		return nil, newFailure("5.4.4", "unable to look up host "+host+": Address family for hostname not supported")
	}
	var fail *failure
	if l.useDNS {
		addrs, _, err := l.dns.Addrs(ctx, host, l.family)
		if err == nil {
			return addrs, nil
		}
		if !dns.IsNotFound(err) {
			return nil, lookupFailure(err, "4.4.3")
		}
		fail = lookupFailure(err, "5.4.4")
	}
	if !l.native {
		return nil, fail
	}
	addrs, err := l.dns.Native(ctx, host, l.family)
	switch {
	case err == nil && len(addrs) > 0:
		return addrs, nil
	case err != nil && !dns.IsNotFound(err):
		return nil, newFailure("4.4.3", "unable to look up host "+host+": Temporary failure in name resolution")
	}
	var e *dns.Error
	if errors.As(err, &e) && e.Kind == dns.NoData {
		return nil, newFailure("5.4.4", "unable to look up host "+host+": No address associated with hostname")
	}
	return nil, newFailure("5.4.4", "unable to look up host "+host+": Name or service not known")
}

// order puts targets in the order in which they are tried: by preference, at
// random or by family among equals, with no family crowding out the other.
func (l *lookup) order(list []target) []target {
	if len(list) < 2 {
		return list
	}
	if l.set.RandomizeAddresses {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		slices.SortStableFunc(list, func(a, b target) int { return cmp.Compare(a.pref, b.pref) })
	}
	if l.set.BalanceInetProtocols && l.family == dns.Any {
		list = balance(list, l.set.MXAddressLimit)
	}
	slices.SortStableFunc(list, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.pref, b.pref), l.familyRank(a.addr)-l.familyRank(b.addr))
	})
	return list
}

func (l *lookup) familyRank(a netip.Addr) int {
	switch {
	case l.set.AddressPreference == "ipv4" && !a.Is4(), l.set.AddressPreference == "ipv6" && a.Is4():
		return 1
	}
	return 0
}

// balance drops the worst addresses of the more numerous family, so that within
// limit addresses both families get their turn.
func balance(list []target, limit int) []target {
	if limit <= 0 || len(list) <= limit {
		return list
	}
	four := 0
	for _, t := range list {
		if t.addr.Is4() {
			four++
		}
	}
	six := len(list) - four
	if four == 0 || six == 0 {
		return list
	}
	keep4 := min(four, max(limit/2, limit-six))
	keep6 := limit - keep4
	out := make([]target, 0, limit)
	for _, t := range list {
		n := &keep6
		if t.addr.Is4() {
			n = &keep4
		}
		if *n > 0 {
			*n--
			out = append(out, t)
		}
	}
	return out
}
