package rewrite

import (
	"net/netip"
	"strings"
	"testing"

	"postroad/internal/mail"
)

func FuzzResolve(f *testing.F) {
	for _, seed := range []string{"joe@example.com", "a%b@example.com", "a!b%c@localhost.", "@", "x@[1.2.3.4]", "a@b@example.com", "@example.com"} {
		f.Add(seed)
	}
	e, _ := build(f)
	f.Fuzz(func(t *testing.T, addr string) {
		once := e.Rewrite(Local, addr)
		if addr == "" && once != "" {
			t.Fatalf("the null address became %q", once)
		}
		r, err := e.Lookup(t.Context(), "", once)
		if err != nil {
			t.Fatalf("%q: %v", addr, err)
		}
		if r.Transport == "" || r.Nexthop == "" {
			t.Fatalf("%q: no route: %+v", addr, r)
		}
		if !r.Invalid && !strings.Contains(string(r.Recipient), "@") {
			t.Fatalf("%q: no domain: %+v", addr, r)
		}
		if r.Routed && e.Permits(r) {
			t.Fatalf("%q: would be relayed: %+v", addr, r)
		}
	})
}

// TestEmptyReceiverLoop makes the replacement for an empty address an empty
// address again.
func TestEmptyReceiverLoop(t *testing.T) {
	t.Parallel()
	e, _ := build(t, [2]string{"empty_address_recipient", "@localhost"})
	r, err := e.Lookup(t.Context(), "", "")
	if err != nil || !r.Invalid {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestClass(t *testing.T) {
	t.Parallel()
	e, _ := build(t)
	for domain, want := range map[string]mail.Class{
		"example.com": mail.ClassLocal, "EXAMPLE.com": mail.ClassLocal, "localhost.": mail.ClassLocal,
		"[127.0.0.1]": mail.ClassLocal, "[127.0.0.2]": mail.ClassDefault, "valias.test": mail.ClassVirtualAlias,
		"vmbox.test": mail.ClassVirtualMailbox, "a.relay.test": mail.ClassRelay, "other.test": mail.ClassDefault, "": mail.ClassDefault,
	} {
		got, err := e.Class(t.Context(), domain)
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", domain, got, err, want)
		}
	}
}

func TestAuthorized(t *testing.T) {
	t.Parallel()
	e, _ := build(t)
	for addr, want := range map[mail.Address]bool{
		"joe": false, "joe@example.com": true, "x@valias.test": true, "x@vmbox.test": true, "x@relay.test": true,
		"x@other.test": false, "x%other.test@example.com": false, "x%other.test@relay.test": false, "x@[bogus]": false,
	} {
		got, err := e.Authorized(t.Context(), "", addr)
		if err != nil || got != want {
			t.Errorf("%s: got %t, %v, want %t", addr, got, err, want)
		}
	}
	e, _ = build(t, [2]string{"mydestination", "fail:x"})
	if ok, err := e.Authorized(t.Context(), "", "x@other.test"); ok || err == nil {
		t.Errorf("a list that fails: %t, %v", ok, err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	e, _ := build(t,
		[2]string{"local_recipient_maps", "inline:{joe=x}"},
		[2]string{"virtual_mailbox_maps", "fail:x"},
		[2]string{"relocated_maps", "inline:{{moved@example.com=new@other.test}}"},
		[2]string{"transport_maps", "inline:{{later.test=retry:come again}}"},
		[2]string{"sender_canonical_maps", "inline:{only=sender@other.test}"},
	)
	for addr, want := range map[mail.Address]string{
		"joe@example.com": "", "joe+x@example.com": "", "postmaster@example.com": "", "double-bounce@localhost": "",
		"nobody@example.com": "550 5.1.1 User unknown in local recipient table",
		"only@example.com":   "550 5.1.1 User unknown in local recipient table",
		"moved@example.com":  "550 5.1.6 User has moved to new@other.test",
		"x@valias.test":      "550 5.1.1 User unknown in virtual alias table",
		"x@relay.test":       "", "x@other.test": "", "x@later.test": "450 4.1.1 come again",
	} {
		st, err := e.CheckRecipient(t.Context(), "", addr)
		if got := statusText(st); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", addr, got, err, want)
		}
	}
	for addr, want := range map[mail.Address]string{
		"": "", "joe@example.com": "", "only@localhost": "",
		"nobody@example.com": "550 5.1.0 User unknown in local recipient table",
	} {
		st, err := e.CheckSender(t.Context(), addr)
		if got := statusText(st); err != nil || got != want {
			t.Errorf("sender %s: got %q, %v, want %q", addr, got, err, want)
		}
	}
	if st, err := e.CheckRecipient(t.Context(), "", "x@vmbox.test"); st != nil || err == nil {
		t.Errorf("a table that fails: %v, %v", st, err)
	}
}

func statusText(st *mail.Status) string {
	if st == nil {
		return ""
	}
	return st.String()
}

// TestRelocatedText is about a parameter that came with Postfix 3.11.
func TestRelocatedText(t *testing.T) {
	t.Parallel()
	e, _ := build(t, [2]string{"relocated_prefix_enable", "no"}, [2]string{"relocated_maps", "inline:{{moved@example.com=5.2.1 gone for good}}"})
	st, err := e.CheckRecipient(t.Context(), "", "moved@example.com")
	if got := statusText(st); err != nil || got != "550 5.2.1 gone for good" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestUsable(t *testing.T) {
	t.Parallel()
	e, _ := build(t)
	for addr, want := range map[mail.Address]bool{"": true, "joe": true, "joe@a..b": false, "joe@": false, "-joe@x.test": false} {
		if got, err := e.Usable(t.Context(), addr); err != nil || got != want {
			t.Errorf("%s: got %t, %v", addr, got, err)
		}
	}
}

func TestOwnAddress(t *testing.T) {
	t.Parallel()
	e, _ := build(t, [2]string{"inet_interfaces", "127.0.0.1, [::1]"}, [2]string{"inet_protocols", "all"},
		[2]string{"proxy_interfaces", "192.0.2.1"})
	for text, want := range map[string]bool{"127.0.0.1": true, "::ffff:127.0.0.1": true, "::1": true, "192.0.2.1": true, "192.0.2.2": false} {
		if got := e.OwnAddress(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	e, _ = build(t, [2]string{"inet_interfaces", "loopback-only"}, [2]string{"inet_protocols", "ipv4"})
	if !e.OwnAddress(netip.MustParseAddr("127.0.0.1")) || e.OwnAddress(netip.MustParseAddr("::1")) {
		t.Error("loopback-only with ipv4")
	}
}

func TestEnhancedLen(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{
		"5.1.1": 5, "5.1.1 x": 5, "4.12.123\tx": 8, "5.1": 0, "5.1.": 0, "3.1.1": 0, "5.1.1x": 0, "5.1.1234": 0, "": 0, "5..1 x": 0,
	} {
		if got := EnhancedLen(s); got != want {
			t.Errorf("%q: got %d, want %d", s, got, want)
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	e, _ := build(b)
	b.ReportAllocs()
	for b.Loop() {
		e.Rewrite(Local, "someone@example.com")
	}
}

func BenchmarkResolve(b *testing.B) {
	e, _ := build(b, [2]string{"relayhost", "[gateway.test]:25"},
		[2]string{"transport_maps", "inline:{{slow.test=slow:}}"})
	for _, addr := range []mail.Address{"someone@example.com", "someone@other.test"} {
		b.Run(addr.Domain(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Resolve(b.Context(), "me@example.com", addr); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHeader(b *testing.B) {
	b.ReportAllocs()
	value := ` "Smith, Joe" <joe@example.com>, Jane <jane@other.test>`
	same := func(a mail.Address) (mail.Address, error) { return a, nil }
	for b.Loop() {
		if _, err := RewriteHeader(value, same); err != nil {
			b.Fatal(err)
		}
	}
}
