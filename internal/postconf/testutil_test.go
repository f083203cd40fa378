package postconf

import (
	"errors"
	"flag"
	"net/netip"
	"testing"
)

// update makes the tests write the files to which they compare.
var update = flag.Bool("update", false, "write the golden files")

// testOptions are the properties of the host in tests.
func testOptions() LoadOptions {
	return LoadOptions{
		Hostname: "host.example.org",
		Interfaces: func() ([]netip.Prefix, error) {
			var out []netip.Prefix
			for _, s := range []string{"127.0.0.1/8", "::1/128", "192.0.2.17/26", "2001:db8::17/64", "10.1.2.3/24"} {
				out = append(out, netip.MustParsePrefix(s))
			}
			return out, nil
		},
		LookupHost: func(name string) ([]netip.Addr, error) {
			switch name {
			case "localhost":
				return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, nil
			case "host.example.org":
				return []netip.Addr{netip.MustParseAddr("192.0.2.17")}, nil
			case "far.example.org":
				return []netip.Addr{netip.MustParseAddr("198.51.100.1")}, nil
			}
			return nil, errors.New("no such host")
		},
	}
}

// parseMain returns the view of a main.cf.
func parseMain(t testing.TB, text string) *View {
	t.Helper()
	opt := testOptions()
	opt.Quiet = true
	c, problems := Parse("/etc/postfix", []byte(text), nil, opt)
	for _, p := range problems {
		t.Fatal(p)
	}
	return c.View(nil)
}
