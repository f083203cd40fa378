package dns

import (
	"net/netip"
	"testing"
)

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, addr string
		want          bool
	}{
		{"127.0.0.2", "127.0.0.2", true},
		{"127.0.0.2", "127.0.0.3", false},
		{"127.0.0.[2..4]", "127.0.0.4", true},
		{"127.0.0.[2..4]", "127.0.0.5", false},
		{"127.0.0.[1;10..11;255]", "127.0.0.255", true},
		{"127.0.0.[1;10..11;255]", "127.0.0.12", false},
		{"127.[0..255].[0..255].[1;3]", "127.9.8.3", true},
		{"[127].[0].[0].[2]", "127.0.0.2", true},
		{"127.0.0.2", "::1", false},
	} {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		if got := p.Match(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s: %s: %v", tt.pattern, tt.addr, got)
		}
	}
	for _, bad := range []string{
		"", "127", "127.0.0", "127.0.0.", "127.0.0.256", "127.0.0.2.", "127.0.0.2.3", "127.0.0.[2", "127.0.0.2]", "127.0.0.[]",
		"127.0.0.[4..2]", "127.0.0.[1;]", "127.0.0.+1", "127.0.0.x", "127.0.0.[1]x", "127.0.0.[1..]",
	} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("%q is a pattern", bad)
		}
	}
}

// FuzzPattern parses anything; what is a pattern matches some address.
func FuzzPattern(f *testing.F) {
	f.Add("127.0.0.[2;4..6]")
	f.Add("[1].[2].[3].[4]")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePattern(text)
		if err != nil {
			return
		}
		var a [4]byte
		for i, f := range p.fields {
			a[i] = f[0].low
		}
		if !p.Match(netip.AddrFrom4(a)) {
			t.Errorf("%q does not match %v", text, a)
		}
	})
}
