package table

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postroad/internal/dns"
)

// TestDNSFilter shows records to the tables in the text that they are written for.
func TestDNSFilter(t *testing.T) {
	t.Parallel()
	set := NewSet(Options{})
	maps, err := set.Maps("smtpd_dns_reply_filter", []string{`regexp:{
		{/^x\.test\. 300 IN MX 10 bad\.test\.$/ ignore it} {/^x\.test\. 300 IN MX 0 \.$/ IGNORE} {/^real\.test\. 300 IN A 192\.0\.2\.1$/ IGNORE	it}
		{/^x\.test\. 2 IN AAAA 2001:db8::1$/ IGNORE} {/^x\.test\. 0 IN NS ns\.test\.$/ IGNORE} {/^x\.test\. 0 IN TXT said$/ IGNORE} {/^odd\.test\. 0 IN A/ DROP} }`})
	if err != nil {
		t.Fatal(err)
	}
	f := &DNSFilter{Maps: maps}
	ctx := t.Context()
	addrs := func(list ...string) (out []netip.Addr) {
		for _, a := range list {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	ttl := dns.Info{TTL: 300 * time.Second}
	for _, test := range []struct {
		name string
		ask  func() (any, error)
		want string
	}{
		{"mail exchangers", func() (any, error) {
			return f.MX(ctx, "x.test", ttl, []dns.MXRecord{{Pref: 10, Host: "bad.test"}, {Pref: 10, Host: "good.test"}, {Pref: 0, Host: "."}})
		}, "[{good.test 10}]"},
		{"the name behind an alias", func() (any, error) {
			return f.Addrs(ctx, "alias.test", dns.Info{TTL: 300 * time.Second, Canonical: "real.test"}, addrs("192.0.2.1", "192.0.2.2"))
		}, "[192.0.2.2]"},
		{"time to live in whole seconds", func() (any, error) {
			return f.Addrs(ctx, "x.test", dns.Info{TTL: 1600 * time.Millisecond}, addrs("2001:db8::1", "2001:db8::2", "192.0.2.1"))
		}, "[2001:db8::2 192.0.2.1]"},
		{"name servers", func() (any, error) { return f.Names(ctx, "NS", "x.test", dns.Info{}, []string{"ns.test", "ns2.test"}) }, "[ns2.test]"},
		{"nothing is left", func() (any, error) { return f.Names(ctx, "TXT", "x.test", dns.Info{}, []string{"said"}) }, "drops all results"},
		{"an unknown action", func() (any, error) { return f.Addrs(ctx, "odd.test", dns.Info{}, addrs("192.0.2.9")) }, "Invalid DNS reply filter syntax"},
	} {
		got, err := test.ask()
		text := fmt.Sprint(got)
		if err != nil {
			text = err.Error()
			if !errors.Is(err, ErrDNSFilter) {
				t.Errorf("%s: %v", test.name, err)
			}
		}
		if !strings.Contains(text, test.want) {
			t.Errorf("%s: %s, want %s", test.name, text, test.want)
		}
	}
}

// TestWatch hears of what maps and lists find, and not of what they do not.
func TestWatch(t *testing.T) {
	t.Parallel()
	var heard []string
	ctx := Watch(context.Background(), func(param string, hit Hit) {
		heard = append(heard, fmt.Sprintf("%s: %s in %s", param, hit.Key, hit.Table))
	})
	set := NewSet(Options{})
	maps, err := set.Maps("virtual_alias_maps", []string{"inline:{a@x.test=b}"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := set.DomainList("relay_domains", []string{"!not.test", "x.test"}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a@x.test", "b@x.test"} {
		if _, err := maps.Lookup(ctx, key); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"x.test", "not.test", "y.test"} {
		if _, err := list.Match(ctx, key); err != nil {
			t.Error(err)
		}
	}
	if got, want := strings.Join(heard, "; "), "virtual_alias_maps: a@x.test in inline:{a@x.test=b}; relay_domains: x.test in x.test"; got != want {
		t.Errorf("heard %s, want %s", got, want)
	}
}

// TestPlace: the warning about a table that cannot be opened says who names it.
func TestPlace(t *testing.T) {
	t.Parallel()
	var warned []string
	set := NewSet(Options{
		Warn:  func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) },
		Place: func(spec string) string { return "main.cf, line 3 names " + spec },
	})
	if _, err := set.Open("cidr:/no/such"); err != nil {
		t.Fatal(err)
	}
	if len(warned) != 1 || !strings.HasSuffix(warned[0], " (main.cf, line 3 names cidr:/no/such)") {
		t.Errorf("%q", warned)
	}
}

// TestRetryAfter: the only server of a table is asked again soon, unless the site has
// a wish.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		wish, want time.Duration
		servers    int
	}{{0, retryOnly, 1}, {0, retryOther, 2}, {time.Hour, time.Hour, 1}, {time.Second, time.Second, 2}} {
		s := &sqlSettings{retry: test.wish}
		if got := s.retryAfter(make([]*server, test.servers)); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
