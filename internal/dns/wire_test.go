package dns

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"postroad/internal/testkit"
)

// TestOverSockets asks a real server on loopback over UDP and, for a long
// answer, TCP.
func TestOverSockets(t *testing.T) {
	t.Parallel()
	pc, l, err := testkit.ListenBoth("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 200)
	handler := wire.HandlerFunc(func(w wire.ResponseWriter, q *wire.Msg) {
		m := &wire.Msg{}
		m.SetReply(q)
		n := 1
		if strings.HasPrefix(q.Question[0].Name, "long") {
			n = 20
		}
		for range n {
			m.Answer = append(m.Answer, &wire.TXT{Hdr: wire.RR_Header{Name: q.Question[0].Name, Rrtype: wire.TypeTXT, Class: wire.ClassINET, Ttl: 9}, Txt: []string{long}})
		}
		if w.LocalAddr().Network() == "udp" {
			m.Truncate(udpSize)
		}
		w.WriteMsg(m)
	})
	for _, s := range []*wire.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
		// goroutine: ends with the Shutdown of the cleanup.
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	r := New(Config{Servers: []netip.AddrPort{netip.MustParseAddrPort(pc.LocalAddr().String())}})
	for name, want := range map[string]int{"short.test": 1, "long.test": 20} {
		got, _, err := r.TXT(context.Background(), name)
		if err != nil || len(got) != want || got[0] != long {
			t.Errorf("%s: %d texts, %v; want %d", name, len(got), err, want)
		}
	}
}

func TestResolvConf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := `# comment
; another
domain first.test
search a.test B.test
nameserver 192.0.2.1
nameserver 2001:db8::1
nameserver nonsense
nameserver 192.0.2.3
nameserver 192.0.2.4
options rotate timeout:3 attempts:99 ndots:2 trust-ad use-vc unknown timeout:x
lonely
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadResolvConf(path)
	want := Config{
		Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::1]:53"), netip.MustParseAddrPort("192.0.2.3:53")},
		Search:  []string{"a.test", "b.test"}, Ndots: 2, Timeout: 3 * time.Second, Attempts: 5, Rotate: true, TrustAD: true, TCPOnly: true,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if _, err := FromResolvConf(path + ".missing"); err == nil {
		t.Error("a missing file gave no error")
	}
}

func TestNative(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("192.0.2.1 Fixed.test fixed # c\n2001:db8::1 fixed\nbad x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake(t, map[string][]string{
		"short.search.test A": {"short.search.test. 9 IN A 192.0.2.5"},
		"full.test A":         {"full.test. 9 IN A 192.0.2.6"},
		"sf.search.test A":    {"SERVFAIL"},
	})
	r := f.resolver(Config{HostsPath: path, Search: []string{"search.test"}})
	tests := []struct{ host, want, kind string }{
		{"fixed.test", "192.0.2.1", "found"}, {"FIXED.", "192.0.2.1 2001:db8::1", "found"},
		{"short", "192.0.2.5", "found"}, {"full.test", "192.0.2.6", "found"},
		{"none", "", "notfound"}, {"sf", "", "temporary"}, {"192.0.2.7", "192.0.2.7", "found"},
	}
	for _, tt := range tests {
		got, err := r.Native(context.Background(), tt.host, Any)
		var text []string
		for _, a := range got {
			text = append(text, a.String())
		}
		if strings.Join(text, " ") != tt.want || kindOf(err) != tt.kind {
			t.Errorf("Native(%s) = %v, %v; want %q, %s", tt.host, got, err, tt.want, tt.kind)
		}
	}
}

func TestValidHostname(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a": true, "a.b": true, "a_b.c": true, "1a.2": true, "a-b": true,
		"": false, ".": false, "a..b": false, ".a": false, "a.": false, "-a": false, "a-": false, "a.-b": false, "a-.b": false,
		"1.2.3.4": false, "12": false, "a b": false, "a\x00": false, "[1.2.3.4]": false,
		strings.Repeat("a", 63): true, strings.Repeat("a", 64): false, strings.Repeat("a.", 127) + "a": false,
	} {
		if ValidHostname(name) != want {
			t.Errorf("ValidHostname(%q) = %v", name, !want)
		}
	}
}

// FuzzReply feeds any bytes as the reply to a question; a lookup must end, and
// what comes out must be clean.
func FuzzReply(f *testing.F) {
	m := &wire.Msg{}
	m.SetQuestion("a.test.", wire.TypeMX)
	m.Response = true
	for _, rr := range []string{"a.test. 9 IN CNAME b.test.", "b.test. 9 IN MX 1 c.test.", "a.test. 9 IN MX 0 ."} {
		r, _ := wire.NewRR(rr)
		m.Answer = append(m.Answer, r)
	}
	p, _ := m.Pack()
	f.Add(p[2:], uint16(wire.TypeMX))
	f.Add(p[2:20], uint16(wire.TypeA))
	f.Fuzz(func(t *testing.T, tail []byte, qtype uint16) {
		r := New(Config{Attempts: 1, Transport: func(_ context.Context, _ netip.AddrPort, _ string, q []byte, match func([]byte) bool) error {
			match(append(append([]byte{}, q[:2]...), tail...))
			match(append(append([]byte{}, q...), tail...))
			return context.DeadlineExceeded
		}})
		ans, err := r.lookup(context.Background(), "a.test", qtype)
		if (err == nil) == (ans == nil || ans.count() == 0) {
			t.Fatalf("answer %v with error %v", ans, err)
		}
		for _, mx := range ans.mx {
			if mx.Host != "." && !ValidHostname(mx.Host) && addressOf(mx.Host) == "" {
				t.Fatalf("host %q", mx.Host)
			}
		}
		if ans.count() > maxRecords {
			t.Fatalf("%d records", ans.count())
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 1.2.3.4\noptions timeout:3\nsearch a b c d e f g h")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseResolvConf(strings.NewReader(text))
		if err == nil && (len(c.Servers) == 0 || len(c.Servers) > maxServers || len(c.Search) > maxSearch) {
			t.Fatalf("%+v", c)
		}
		parseHosts(strings.NewReader(text))
	})
}

func TestHostsName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosts")
	text := "192.0.2.1 One.test one # first\n192.0.2.1 other\n::ffff:192.0.2.2 two.test\nbad line\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := New(Config{HostsPath: path})
	for addr, want := range map[string]string{"192.0.2.1": "One.test", "::ffff:192.0.2.1": "One.test", "192.0.2.2": "two.test", "192.0.2.3": ""} {
		if got := r.HostsName(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}
