package access

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"postroad/internal/dns"
)

// crowd is a DNS in which every name has a thousand addresses.
type crowd struct{ noResolver }

// Addrs implements Resolver.
func (crowd) Addrs(context.Context, string, dns.Family) ([]netip.Addr, dns.Info, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, dns.Info{}, nil
}

// Native implements Resolver.
func (crowd) Native(context.Context, string, dns.Family) ([]netip.Addr, error) {
	addrs := make([]netip.Addr, 1000)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
	}
	return addrs, nil
}

// TestBounds: what strangers put into the DNS costs no more than it may.
func TestBounds(t *testing.T) {
	t.Parallel()
	v := baseView(t).With("smtpd_recipient_restrictions", "check_sender_a_access inline:{192.0.3.231=REJECT}, check_client_a_access inline:{192.0.0.99=REJECT}, permit")
	e, _, rec := build(t, v, crowd{})
	c := e.Begin()
	if got := c.Recipient(t.Context(), stranger()); got.Key != "192.0.0.99" {
		t.Errorf("the 100th address counts and the 1000th does not: %+v", got)
	}
	const want = "warning: check_server_access: A server address count limit (100) exceeded for Sender address a@good.test -- ignoring the remainder"
	if log := rec.Take(); len(log) == 0 || log[0] != want {
		t.Errorf("log %q", log)
	}
	for i := range 2 * maxListings {
		c.ask(&dnsList{domain: fmt.Sprintf("bl%d.test", i)}, "2.0.0.127")
	}
	if len(c.listings) != maxListings {
		t.Errorf("%d lists are remembered", len(c.listings))
	}
	if n := len(joinTexts([]string{strings.Repeat("x", 300), strings.Repeat("y", 300), "z"})); n != maxListText {
		t.Errorf("a text of %d bytes", n)
	}
}
