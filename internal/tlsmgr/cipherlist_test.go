package tlsmgr

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

func TestSuites(t *testing.T) {
	t.Parallel()
	const (
		stock   = "aNULL:-aNULL:HIGH:MEDIUM:!SEED:!IDEA:!3DES:!RC2:!RC4:!RC5:!kDH:!kECDH:!aDSS:!MD5:+RC4:@STRENGTH"
		mozilla = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-CHACHA20-POLY1305"
	)
	tests := []struct {
		list, exclude string
		n             int
		// has and lacks are suites, missing the selectors that choose nothing.
		has, lacks, missing string
	}{
		{"", "", len(suites), "AES128-SHA", "", ""},
		{stock, "", len(suites), "AES128-SHA", "", "aNULL MEDIUM"},
		{stock, "aNULL, MD5, DES, 3DES, RC4", len(suites), "AES128-SHA", "", "aNULL MEDIUM"},
		{stock, "SHA", len(suites) - 6, "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA", "aNULL MEDIUM"},
		{stock, "kRSA", 12, "ECDHE-RSA-AES128-SHA", "AES256-GCM-SHA384", "aNULL MEDIUM"},
		{stock, "aECDSA+AES128", 14, "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA", "aNULL MEDIUM"},
		{stock, "!CHACHA20", 15, "AES128-SHA", "ECDHE-RSA-CHACHA20-POLY1305", "aNULL MEDIUM"},
		{mozilla, "", 2, "ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA", "DHE-RSA-AES128-GCM-SHA256 DHE-RSA-CHACHA20-POLY1305"},
		{"EECDH+AESGCM:-aRSA:kRSA+SHA256", "", 3, "AES128-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", ""},
		{"ALL:!AES256:AES256", "", 11, "AES128-SHA", "AES256-SHA", ""}, // what is removed for good does not come back
		{"HIGH:-HIGH:SSLv3", "", 2, "AES256-SHA", "AES256-GCM-SHA384", ""},
		{"HIGH ; @SECLEVEL=1, +AES", "", len(suites), "AES128-SHA", "", ""},
		{"CHACHA20:+AES", "", 2, "ECDHE-RSA-CHACHA20-POLY1305", "AES128-SHA", ""}, // what is not there is not moved
	}
	for _, tt := range tests {
		g := Grades{High: tt.list, Medium: "none at all"}
		ids, missing, err := g.Suites("p", "high", tt.exclude)
		names := suiteNames(ids)
		if err != nil || len(ids) != tt.n || !slices.Contains(names, tt.has) || slices.Contains(names, tt.lacks) || strings.Join(missing, " ") != tt.missing {
			t.Errorf("%s without %s: %d of %v, missing %v, %v", tt.list, tt.exclude, len(ids), names, missing, err)
		}
	}
	for grade, n := range map[string]int{"high": 2, "medium": 1, "LOW": 1, "export": 1} {
		g := Grades{High: "CHACHA20", Medium: "AES128-SHA"}
		if ids, _, err := g.Suites("p", grade, ""); len(ids) != n {
			t.Errorf("grade %s: %v, %v", grade, suiteNames(ids), err)
		}
	}
	for _, bad := range [][3]string{{"null", "ALL", ""}, {"best", "ALL", ""}, {"", "ALL", ""}, {"high", "ALL", "ALL"}, {"medium", "DHE-RSA-AES128-SHA", ""}} {
		g := Grades{High: bad[1], Medium: bad[1]}
		if ids, _, err := g.Suites("p", bad[0], bad[2]); err == nil {
			t.Errorf("grade %q of %q without %q: %v", bad[0], bad[1], bad[2], suiteNames(ids))
		}
	}
}

func TestMissed(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "aNULL MEDIUM EECDH+aRSA+RC4": "", "EDH+aRSA RC4": "p: the TLS library has no suites for EDH+aRSA",
		"a b c d e f g h i j k": "p: the TLS library has no suites for a, b, c, d, e, f, g, h, i, j, ...",
	} {
		if got := missed("p", strings.Fields(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCurves(t *testing.T) {
	t.Parallel()
	tests := []struct {
		list    string
		want    []tls.CurveID
		missing string
		bad     bool
	}{
		{"", nil, "", false}, {defaultCurves, nil, "", false},
		{"X448 X25519 secp521r1 secp384r1 prime256v1", []tls.CurveID{tls.X25519, tls.CurveP521, tls.CurveP384, tls.CurveP256}, "X448", false},
		{"P-256,x25519mlkem768,prime256v1", []tls.CurveID{tls.CurveP256, tls.X25519MLKEM768}, "", false},
		{"X448", nil, "", true},
	}
	for _, tt := range tests {
		g := Groups{Auto: tt.list}
		got, missing, err := g.curves()
		if !slices.Equal(got, tt.want) || strings.Join(missing, " ") != tt.missing || (err != nil) != tt.bad {
			t.Errorf("%s: %v, missing %v, %v", tt.list, got, missing, err)
		}
	}
}

// FuzzCipherList: whatever a list says, what it gives are suites of ours, and what
// is excluded is not among them.
func FuzzCipherList(f *testing.F) {
	f.Add("HIGH:!aNULL:-kRSA:+AES:@STRENGTH", "3DES, SHA1+AES128")
	f.Fuzz(func(t *testing.T, list, exclude string) {
		g := Grades{High: list, Medium: list}
		ids, _, err := g.Suites("p", "high", exclude)
		if err != nil {
			return
		}
		for _, id := range ids {
			i := slices.IndexFunc(suites[:], func(s suite) bool { return s.id == id })
			if i < 0 {
				t.Fatalf("%q gives %x", list, id)
			}
			for _, word := range splitList(exclude) {
				if suites[i].matches(strings.TrimLeft(word, "!-")) {
					t.Errorf("%s is excluded by %q", suites[i].name, word)
				}
			}
		}
	})
}
