package dns

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

func TestMX(t *testing.T) {
	t.Parallel()
	zone := map[string][]string{
		"a.test MX":     {"a.test. 60 IN MX 10 MX1.a.test.", "a.test. 60 IN MX 5 mx0.a.test."},
		"null.test MX":  {"null.test. 60 IN MX 0 ."},
		"alias.test MX": {"alias.test. 60 IN CNAME a.test.", "a.test. 30 IN MX 10 mx1.a.test."},
		"open.test MX":  {"open.test. 60 IN CNAME a.test."},
		"loop.test MX":  {"loop.test. 60 IN CNAME loop2.test."},
		"loop2.test MX": {"loop2.test. 60 IN CNAME loop.test."},
		"bad.test MX":   {`bad.test. 60 IN MX 10 b\032ad.test.`},
		"num.test MX":   {"num.test. 60 IN MX 10 192.0.2.9."},
		"half.test MX":  {`half.test. 60 IN MX 10 -bad.test.`, "half.test. 60 IN MX 20 good.test."},
		"other.test MX": {"stranger.test. 60 IN MX 10 mx.stranger.test."},
		"sf.test MX":    {"SERVFAIL"},
		"ref.test MX":   {"REFUSED"},
		"none.test A":   {"none.test. 60 IN A 192.0.2.1"},
		"xn--bcher-kva.test MX": {
			"xn--bcher-kva.test. 60 IN MX 1 mx.test."},
	}
	tests := []struct {
		domain string
		want   []MXRecord
		kind   string
		text   string
	}{
		{"a.test", []MXRecord{{"mx1.a.test", 10}, {"mx0.a.test", 5}}, "found", ""},
		{"A.Test.", []MXRecord{{"mx1.a.test", 10}, {"mx0.a.test", 5}}, "found", ""},
		{"null.test", []MXRecord{{".", 0}}, "found", ""},
		{"alias.test", []MXRecord{{"mx1.a.test", 10}}, "found", ""},
		{"open.test", []MXRecord{{"mx1.a.test", 10}, {"mx0.a.test", 5}}, "found", ""},
		{"loop.test", nil, "temporary", "Name service error for name=loop.test type=MX: Host not found, try again"},
		{"bad.test", nil, "invalid", "Name service error for name=bad.test type=MX: Malformed or unexpected name server reply"},
		{"num.test", []MXRecord{{"192.0.2.9", 10}}, "found", ""},
		{"half.test", []MXRecord{{"good.test", 20}}, "found", ""},
		{"other.test", nil, "nodata", ""},
		{"sf.test", nil, "temporary", ""},
		{"ref.test", nil, "temporary", ""},
		{"none.test", nil, "nodata", "Name service error for name=none.test type=MX: Host found but no data record of requested type"},
		{"gone.test", nil, "notfound", "Name service error for name=gone.test type=MX: Host not found"},
		{"bücher.test", []MXRecord{{"mx.test", 1}}, "found", ""},
		{"a b.test", nil, "notfound", "Name service error for a b.test: invalid host or domain name"},
		{"", nil, "notfound", ""},
	}
	r := newFake(t, zone).resolver(Config{})
	for _, tt := range tests {
		got, _, err := r.MX(context.Background(), tt.domain)
		if !reflect.DeepEqual(got, tt.want) || kindOf(err) != tt.kind {
			t.Errorf("MX(%q) = %v, %v, want %v, %s", tt.domain, got, err, tt.want, tt.kind)
		}
		if tt.text != "" && (err == nil || err.Error() != tt.text) {
			t.Errorf("MX(%q) says %v, want %q", tt.domain, err, tt.text)
		}
		if IsTemporary(err) != (tt.kind == "temporary" || tt.kind == "invalid") || IsNotFound(err) != (tt.kind == "nodata" || tt.kind == "notfound") {
			t.Errorf("MX(%q): wrong class of %v", tt.domain, err)
		}
	}
}

func TestAddrsFamilies(t *testing.T) {
	t.Parallel()
	zone := map[string][]string{
		"both.test A":    {"both.test. 60 IN A 192.0.2.1"},
		"both.test AAAA": {"both.test. 60 IN AAAA 2001:db8::1"},
		"v4.test A":      {"v4.test. 60 IN A 192.0.2.2"},
		"v4sf.test A":    {"v4sf.test. 60 IN A 192.0.2.3"},
		"v4sf.test AAAA": {"SERVFAIL"},
		"sf.test A":      {"SERVFAIL"},
		"sf2.test AAAA":  {"SERVFAIL"},
		"txt.test TXT":   {`txt.test. 60 IN TXT "x"`},
	}
	tests := []struct {
		host   string
		family Family
		want   string
		kind   string
	}{
		{"both.test", Any, "[192.0.2.1 2001:db8::1]", "found"},
		{"both.test", IPv4, "[192.0.2.1]", "found"},
		{"both.test", IPv6, "[2001:db8::1]", "found"},
		{"v4.test", Any, "[192.0.2.2]", "found"},
		{"v4.test", IPv6, "[]", "nodata"},
		{"v4sf.test", Any, "[192.0.2.3]", "found"},
		{"sf.test", Any, "[]", "temporary"},
		{"sf2.test", Any, "[]", "temporary"},
		{"txt.test", Any, "[]", "nodata"},
		{"gone.test", Any, "[]", "notfound"},
		{"192.0.2.9", Any, "[192.0.2.9]", "found"},
	}
	r := newFake(t, zone).resolver(Config{})
	for _, tt := range tests {
		got, _, err := r.Addrs(context.Background(), tt.host, tt.family)
		if fmt.Sprint(got) != tt.want || kindOf(err) != tt.kind {
			t.Errorf("Addrs(%s, %d) = %v, %v, want %s, %s", tt.host, tt.family, got, err, tt.want, tt.kind)
		}
	}
}

func TestStrings(t *testing.T) {
	t.Parallel()
	zone := map[string][]string{
		"1.2.0.192.in-addr.arpa PTR": {"1.2.0.192.in-addr.arpa. 9 IN PTR Host.Test.", `1.2.0.192.in-addr.arpa. 9 IN PTR a\@b.test.`},
		"t.test TXT":                 {`t.test. 9 IN TXT "v=spf1 " "-all \"q\" \\ \200"`},
		"t.test NS":                  {"t.test. 9 IN NS ns1.t.test."},
	}
	r := newFake(t, zone).resolver(Config{})
	ctx := context.Background()
	ptr, _, err := r.PTR(ctx, netip.MustParseAddr("192.0.2.1"))
	if err != nil || !slices.Equal(ptr, []string{"host.test"}) {
		t.Errorf("PTR = %v, %v", ptr, err)
	}
	txt, _, err := r.TXT(ctx, "t.test")
	if err != nil || !slices.Equal(txt, []string{"v=spf1 -all \"q\" \\ \xc8"}) {
		t.Errorf("TXT = %q, %v", txt, err)
	}
	ns, _, err := r.NS(ctx, "t.test")
	if err != nil || !slices.Equal(ns, []string{"ns1.t.test"}) {
		t.Errorf("NS = %v, %v", ns, err)
	}
	if got := ReverseName(netip.MustParseAddr("2001:db8::1")); got != "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa" {
		t.Errorf("ReverseName = %s", got)
	}
}

func TestCacheLifetimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, map[string][]string{
			"a.test A":  {"a.test. 60 IN A 192.0.2.1"},
			"z.test A":  {"z.test. 0 IN A 192.0.2.1"},
			"sf.test A": {"SERVFAIL"},
		})
		r := f.resolver(Config{Attempts: 1})
		ask := func(name string) { r.Addrs(t.Context(), name, IPv4) }
		steps := []struct {
			name  string
			after time.Duration
			fresh bool
		}{
			{"a.test", 0, true}, {"a.test", 59 * time.Second, false}, {"a.test", 2 * time.Second, true},
			{"z.test", 0, true}, {"z.test", 0, true},
			{"gone.test", 0, true}, {"gone.test", 29 * time.Second, false}, {"gone.test", 2 * time.Second, true},
			{"sf.test", 0, true}, {"sf.test", time.Second, false}, {"sf.test", 2 * time.Second, true},
		}
		for i, s := range steps {
			time.Sleep(s.after)
			before := f.count()
			ask(s.name)
			if fresh := f.count() != before; fresh != s.fresh {
				t.Errorf("step %d: %s asked anew: %v, want %v", i, s.name, fresh, s.fresh)
			}
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	r := newFake(t, map[string][]string{}).resolver(Config{CacheSize: 10})
	for i := range 50 {
		r.Addrs(context.Background(), fmt.Sprintf("h%d.test", i), IPv4)
	}
	if len(r.cache.entries) != 10 || r.cache.order.Len() != 10 {
		t.Errorf("%d entries, %d in order, want 10", len(r.cache.entries), r.cache.order.Len())
	}
}

func TestSharedFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, map[string][]string{"slow.test A": {"drop"}})
		r := f.resolver(Config{Attempts: 1})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
				defer cancel()
				start := time.Now()
				_, _, err := r.Addrs(ctx, "slow.test", IPv4)
				if !IsTemporary(err) {
					t.Errorf("caller %d: %v", i, err)
				}
				if want := min(time.Duration(i+1)*time.Second, 5*time.Second); time.Since(start) != want {
					t.Errorf("caller %d waited %v, want %v", i, time.Since(start), want)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if f.count() != 1 {
			t.Errorf("%d questions, want 1: %v", f.count(), f.asked)
		}
	})
}

func TestFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, nil)
		f.zones = map[string]map[string][]string{
			"192.0.2.1": {"a.test A": {"drop"}, "b.test A": {"drop"}, "c.test A": {"SERVFAIL"}, "d.test A": {"d.test. 9 IN A 192.0.2.88"}},
			"192.0.2.2": {"a.test A": {"a.test. 9 IN A 192.0.2.99"}, "b.test A": {"b.test. 9 IN A 192.0.2.99"}, "c.test A": {"c.test. 9 IN A 192.0.2.99"}},
		}
		r := f.resolver(Config{Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53")}})
		check := func(name string, wait time.Duration, asked int) {
			t.Helper()
			start, before := time.Now(), f.count()
			_, _, err := r.Addrs(t.Context(), name, IPv4)
			if err != nil || time.Since(start) != wait || f.count()-before != asked {
				t.Errorf("%s: %v after %v and %d questions, want %v and %d", name, err, time.Since(start), f.count()-before, wait, asked)
			}
		}
		check("a.test", 5*time.Second, 2)
		check("b.test", 0, 1) // the silent server is asked last now
		time.Sleep(time.Minute)
		check("c.test", 0, 2) // SERVFAIL is no reason to wait
		check("d.test", 0, 1) // nor to avoid the server
	})
}

func TestForgedAndTruncated(t *testing.T) {
	t.Parallel()
	zone := map[string][]string{"a.test A": {"a.test. 9 IN A 192.0.2.1"}}
	tests := []struct {
		name   string
		mangle func(m *wire.Msg, network string)
		raw    func(p []byte) [][]byte
		want   string
		asked  int
	}{
		{"truncated goes to TCP", func(m *wire.Msg, n string) { m.Truncated = n == "udp" }, nil, "found", 2},
		{"wrong id first", nil, func(p []byte) [][]byte { return [][]byte{flip(p, 1), p} }, "found", 1},
		{"wrong question first", nil, func(p []byte) [][]byte { return [][]byte{flip(p, 13), p} }, "found", 1},
		{"a query is no reply", nil, func(p []byte) [][]byte { return [][]byte{clearQR(p), p} }, "found", 1},
		{"short packets first", nil, func(p []byte) [][]byte { return [][]byte{{}, p[:5], p} }, "found", 1},
		{"flood goes to TCP and fails there", nil, func(p []byte) [][]byte { return slices.Repeat([][]byte{flip(p, 1)}, maxStrays) }, "temporary", 4},
		{"cut reply", nil, func(p []byte) [][]byte { return [][]byte{p[:len(p)-3]} }, "temporary", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, zone)
			f.mangle, f.raw = tt.mangle, tt.raw
			r := f.resolver(Config{})
			_, _, err := r.Addrs(context.Background(), "a.test", IPv4)
			if kindOf(err) != tt.want || f.count() != tt.asked {
				t.Errorf("%v after %v, want %s after %d", err, f.asked, tt.want, tt.asked)
			}
		})
	}
}

func flip(p []byte, i int) []byte {
	p = slices.Clone(p)
	p[i] ^= 0x15
	return p
}

func clearQR(p []byte) []byte {
	p = slices.Clone(p)
	p[2] &= 0x7f
	return p
}

func TestServerWithoutEDNS(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string][]string{"a.test A": {"a.test. 9 IN A 192.0.2.1"}, "b.test A": {"b.test. 9 IN A 192.0.2.1"}})
	var seen []bool
	r := New(Config{Transport: func(ctx context.Context, s netip.AddrPort, n string, query []byte, match func([]byte) bool) error {
		q := &wire.Msg{}
		q.Unpack(query)
		edns := q.IsEdns0() != nil
		seen = append(seen, edns)
		if edns {
			m := &wire.Msg{}
			m.SetRcode(q, wire.RcodeFormatError)
			p, _ := m.Pack()
			match(p)
			return nil
		}
		return f.exchange(ctx, s, n, query, match)
	}})
	for _, name := range []string{"a.test", "b.test"} {
		if _, _, err := r.Addrs(context.Background(), name, IPv4); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !slices.Equal(seen, []bool{true, false, false}) {
		t.Errorf("EDNS in queries: %v", seen)
	}
}

func TestAuthenticData(t *testing.T) {
	t.Parallel()
	tests := []struct {
		server  string
		trustAD bool
		want    bool
	}{
		{"127.0.0.1:53", false, true}, {"[::1]:53", false, true},
		{"192.0.2.1:53", false, false}, {"192.0.2.1:53", true, true},
	}
	for _, tt := range tests {
		f := newFake(t, map[string][]string{"a.test A": {"a.test. 9 IN A 192.0.2.1"}})
		f.mangle = func(m *wire.Msg, _ string) { m.AuthenticatedData = true }
		r := f.resolver(Config{Servers: []netip.AddrPort{netip.MustParseAddrPort(tt.server)}, TrustAD: tt.trustAD})
		_, info, err := r.Addrs(context.Background(), "a.test", IPv4)
		if err != nil || info.Authentic != tt.want {
			t.Errorf("%s trust-ad=%v: authentic %v, %v", tt.server, tt.trustAD, info.Authentic, err)
		}
	}
}

func TestRecordCap(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("a.test. 9 IN A 10.0.%d.%d", i/256, i%256))
	}
	r := newFake(t, map[string][]string{"a.test A": many}).resolver(Config{})
	got, _, err := r.Addrs(context.Background(), "a.test", IPv4)
	if err != nil || len(got) != maxRecords {
		t.Errorf("%d records, %v; want %d", len(got), err, maxRecords)
	}
}
