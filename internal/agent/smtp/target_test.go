package smtp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"postroad/internal/dns"
)

func TestParseSites(t *testing.T) {
	t.Parallel()
	tests := []struct {
		list string
		lmtp bool
		want string
	}{
		{"example.test", false, "example.test:25 mx"},
		{"example.test.", false, "example.test:25 mx"},
		{"example.test:587", false, "example.test:587 mx"},
		{"example.test:submission", false, "example.test:587 mx"},
		{"[host.test]", false, "host.test:25"},
		{"[host.test]:2525", false, "host.test:2525"},
		{"[192.0.2.1]:26", false, "192.0.2.1:26"},
		{"[2001:db8::1]", false, "2001:db8::1:25"},
		{"[IPv6:2001:db8::1]:26", false, "2001:db8::1:26"},
		{"a.test, [b.test]:26\tc.test", false, "a.test:25 mx|b.test:26|c.test:25 mx"},
		{"unix:private/dovecot-lmtp", true, "unix private/dovecot-lmtp"},
		{"inet:host.test:2424", true, "host.test:2424"},
		{"inet:[::1]:24", true, "::1:24"},
		{"host.test", true, "host.test:25"},
		{"unix:x", false, "unknown service: x/tcp"},
		{"[host.test", false, `bad next hop: "[host.test"`},
		{"[host.test]x", false, `bad next hop: "[host.test]x"`},
		{"[]", false, `bad next hop: "[]"`},
		{"host:", false, `bad next hop: "host:"`},
		{"host:99999", false, "unknown service: 99999/tcp"},
		{"host:0", false, "unknown service: 0/tcp"},
		{"", false, `bad next hop: ""`},
		{"unix:", true, `bad next hop: "unix:"`},
	}
	for _, tt := range tests {
		sites, err := parseSites(tt.list, "smtp", tt.lmtp)
		var out []string
		for _, s := range sites {
			text := fmt.Sprintf("%s:%d", s.host, s.port)
			if s.path != "" {
				text = "unix " + s.path
			}
			if s.useMX {
				text += " mx"
			}
			out = append(out, text)
		}
		got := strings.Join(out, "|")
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("parseSites(%q) = %s, want %s", tt.list, got, tt.want)
		}
	}
}

func FuzzParseSites(f *testing.F) {
	f.Add("a.test, [b.test]:26", true)
	f.Fuzz(func(t *testing.T, list string, lmtp bool) {
		sites, err := parseSites(list, "smtp", lmtp)
		if err != nil {
			return
		}
		for _, s := range sites {
			if s.path == "" && (s.host == "" || s.port == 0) || s.useMX && lmtp {
				t.Fatalf("%q: %+v", list, s)
			}
		}
	})
}

// TestDestinations goes through what the DNS can say about a next hop. The
// texts are those of Postfix 3.7 for the same zone, except where the comment says.
func TestDestinations(t *testing.T) {
	t.Parallel()
	temp := func(name, typ string) error {
		return &dns.Error{Name: name, Type: typ, Text: "Host not found, try again"}
	}
	tests := []struct {
		name, nexthop string
		edit          func(*Config)
		want          string
		dialled       string
		log           string
	}{
		{"no such domain", "nx.test", nil, "0 bounced 5.4.4 none tls= (Host or domain name not found. Name service error for name=nx.test type=A: Host not found)", "", ""},
		{"no address", "noaddr.test", nil, "0 bounced 5.4.4 none tls= (Host or domain name not found. Name service error for name=gone.test type=A: Host not found)", "",
			"warning: no MX host for noaddr.test has a valid address record"},
		{"no address, deferred", "noaddr.test", func(c *Config) { c.Settings.DeferIfNoMXAddress = true },
			"0 deferred 4.4.4 none tls= SITE (Host or domain name not found. Name service error for name=gone.test type=A: Host not found)", "",
			"warning: no MX host for noaddr.test has a valid address record"},
		{"null MX", "null.test", nil, "0 bounced 5.1.0 none tls= (Domain null.test does not accept mail (nullMX))", "", ""},
		{"malformed", "bad.test", nil, "0 bounced 5.4.4 none tls= (Name service error for name=bad.test type=MX: Malformed or unexpected name server reply)", "", ""},
		{"servfail", "sf.test", nil, "0 deferred 4.4.3 none tls= SITE (Host or domain name not found. Name service error for name=sf.test type=MX: Host not found, try again)", "", ""},
		{"servfail ignored", "sf.test", func(c *Config) { c.Common.IgnoreMXLookupError = true }, "0 deferred 4.4.1 none tls=none? SITE (connect to sf.test[192.0.2.7]:25: Connection refused)",
			"192.0.2.7:25", "connect to sf.test[192.0.2.7]:25: Connection refused"},
		{"servfail at address", "sfaddr.test", nil, "0 deferred 4.4.3 none tls= SITE (Host or domain name not found. Name service error for name=sfhost.test type=A: Host not found, try again)", "",
			"warning: no MX host for sfaddr.test has a valid address record"},
		{"address only", "aonly.test", nil, "0 deferred 4.4.1 none tls=none? SITE (connect to aonly.test[192.0.2.2]:25: Connection refused)", "192.0.2.2:25", "connect to aonly.test[192.0.2.2]:25: Connection refused"},
		{"I am the best MX", "loop.test", nil, "0 bounced 5.4.6 none tls= (mail for loop.test loops back to myself)", "", ""},
		{"I am the address", "self.test", nil, "0 bounced 5.4.6 none tls= (mail for self.test loops back to myself)", "", ""},
		{"I am the host", "[self.test]", nil, "0 bounced 5.4.6 none tls= (mail for self.test loops back to myself)", "", ""},
		{"I am the host on another port", "[self.test]:26", nil, "0 deferred 4.4.1 none tls=none? SITE (connect to self.test[192.0.2.99]:26: Connection refused)", "192.0.2.99:26", "connect to self.test[192.0.2.99]:26: Connection refused"},
		{"better MX unknown", "loop2.test", nil, "0 deferred 4.4.4 none tls= SITE (unable to find primary relay for loop2.test)", "", ""},
		{"I am a backup", "backup.test", nil, "0 deferred 4.4.1 none tls=none? SITE (connect to one.test[192.0.2.1]:25: Connection refused)", "192.0.2.1:25", "connect to one.test[192.0.2.1]:25: Connection refused"},
		{"no fallback for a backup", "backup.test", func(c *Config) { c.Settings.FallbackRelay = []string{"[two.test]"} },
			"0 deferred 4.4.1 none tls=none? SITE (connect to one.test[192.0.2.1]:25: Connection refused)", "192.0.2.1:25", "connect to one.test[192.0.2.1]:25: Connection refused"},
		{"fallback relay", "nx.test", func(c *Config) { c.Settings.FallbackRelay = []string{"[two.test]"} },
			"0 deferred 4.4.1 none tls=none? SITE (connect to two.test[192.0.2.2]:25: Connection refused)", "192.0.2.2:25", "connect to two.test[192.0.2.2]:25: Connection refused"},
		{"fallback relay unknown", "aonly.test", func(c *Config) { c.Settings.FallbackRelay = []string{"[nx.test]"} },
			"0 deferred 4.3.5 none tls=none? SITE (Host or domain name not found. Name service error for name=nx.test type=A: Host not found)", "192.0.2.2:25",
			"connect to aonly.test[192.0.2.2]:25: Connection refused\nwarning: smtp_fallback_relay configuration problem"},
		{"relayhost unknown", "[nx.test]", func(c *Config) { c.Common.RelayHost = "[nx.test]" },
			"0 deferred 4.3.5 none tls= SITE (Host or domain name not found. Name service error for name=nx.test type=A: Host not found)", "", "warning: relayhost configuration problem"},
		{"list", "[nx.test] [one.test], [two.test]", nil, "0 deferred 4.4.1 none tls=none? SITE (connect to two.test[192.0.2.2]:25: Connection refused)", "192.0.2.1:25 192.0.2.2:25",
			"connect to one.test[192.0.2.1]:25: Connection refused\nconnect to two.test[192.0.2.2]:25: Connection refused"},
		{"address limit", "many.test", func(c *Config) { c.Settings.MXAddressLimit, c.Settings.RandomizeAddresses = 2, false },
			"0 deferred 4.4.1 none tls=none? SITE (connect to many.test[192.0.2.12]:25: Connection refused)", "192.0.2.11:25 192.0.2.12:25",
			"connect to many.test[192.0.2.11]:25: Connection refused\nconnect to many.test[192.0.2.12]:25: Connection refused"},
		{"both families", "six.test", func(c *Config) { c.Common.InetProtocols, c.Settings.AddressPreference = []string{"all"}, "ipv6" },
			"0 deferred 4.4.1 none tls=none? SITE (connect to six.test[192.0.2.6]:25: Connection refused)", "[2001:db8::6]:25 192.0.2.6:25",
			"connect to six.test[2001:db8::6]:25: Connection refused\nconnect to six.test[192.0.2.6]:25: Connection refused"},
		{"native", "[nx.test]", func(c *Config) { c.Settings.HostLookup = []string{"native"} }, "0 bounced 5.4.4 none tls= (unable to look up host nx.test: Name or service not known)", "", ""},
		{"no DNS", "aonly.test", func(c *Config) { c.Settings.DNSSupportLevel = "disabled" },
			"0 deferred 4.4.1 none tls=none? SITE (connect to aonly.test[192.0.2.2]:25: Connection refused)", "192.0.2.2:25", "connect to aonly.test[192.0.2.2]:25: Connection refused"},
		{"nonsense", "[nx.test", nil, "0 deferred 4.3.5 none tls= (mail system configuration error)", "", `warning: QID: bad next hop: "[nx.test"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, mx: map[string][]dns.MXRecord{
					"noaddr.test": {{Host: "gone.test", Pref: 10}}, "null.test": {{Host: ".", Pref: 0}}, "loop.test": {{Host: "self.test", Pref: 10}, {Host: "two.test", Pref: 20}},
					"loop2.test": {{Host: "gone.test", Pref: 5}, {Host: "self.test", Pref: 10}}, "sfaddr.test": {{Host: "sfhost.test", Pref: 1}},
					"backup.test": {{Host: "two.test", Pref: 30}, {Host: "self.test", Pref: 20}, {Host: "one.test", Pref: 10}},
				}, hosts: map[string][]string{
					"self.test": {"192.0.2.99"}, "one.test": {"192.0.2.1"}, "two.test": {"192.0.2.2"}, "aonly.test": {"192.0.2.2"}, "sf.test": {"192.0.2.7"},
					"many.test": {"192.0.2.11", "192.0.2.12", "192.0.2.13"}, "six.test": {"192.0.2.6", "2001:db8::6"},
				}, errs: map[string]error{"MX sf.test": temp("sf.test", "MX"), "A sfhost.test": temp("sfhost.test", "A"),
					"MX bad.test": &dns.Error{Kind: dns.Invalid, Name: "bad.test", Type: "MX", Text: "Malformed or unexpected name server reply"}}}
				cfg := w.config()
				cfg.Own = func(a netip.Addr) bool { return a.String() == "192.0.2.99" }
				if tt.edit != nil {
					tt.edit(&cfg)
				}
				if got := w.run(t.Context(), cfg, w.delivery(tt.nexthop, "b@example.test")); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if got := strings.Join(w.dialled, " "); got != tt.dialled {
					t.Errorf("dialled %s, want %s", got, tt.dialled)
				}
				if got := strings.Join(w.log.Lines(), "\n"); got != tt.log {
					t.Errorf("log %s\nwant %s", got, tt.log)
				}
			})
		})
	}
}

func TestBalance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"444444", "444444"}, {"44444466", "44466"}, {"44444466666", "44666"}, {"46666666", "46666"}, {"44466", "44466"},
	} {
		var list []target
		for i, c := range tt.in {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			if c == '6' {
				a = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)})
			}
			list = append(list, target{addr: a})
		}
		got := ""
		for _, x := range balance(list, 5) {
			if x.addr.Is4() {
				got += "4"
			} else {
				got += "6"
			}
		}
		if got != tt.want {
			t.Errorf("balance(%s) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestOrderIsFair(t *testing.T) {
	t.Parallel()
	set := testSettings()
	set.RandomizeAddresses = true
	l := &lookup{set: &set, family: dns.IPv4}
	first := map[string]int{}
	for range 600 {
		list := []target{{host: "a", pref: 1}, {host: "b", pref: 1}, {host: "c", pref: 1}, {host: "z", pref: 2}}
		list = l.order(list)
		first[list[0].host]++
		if list[3].host != "z" {
			t.Fatal("preference is not respected")
		}
	}
	for _, h := range []string{"a", "b", "c"} {
		if first[h] < 100 {
			t.Errorf("%s was first %d times of 600", h, first[h])
		}
	}
}
