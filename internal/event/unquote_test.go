package event

import (
	"strings"
	"testing"
)

func TestUnquote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`Q: from=<a@b.test>, size=1`:                               `Q: from=<a@b.test>, size=1`,
		`Q: from=<"a b"@c.test>, size=1`:                           `Q: from=<a b@c.test>, size=1`,
		`Q: to=<"a\"b\\"@c.test>, orig_to=<"x y"@d.test>, relay=x`: `Q: to=<a"b\@c.test>, orig_to=<x y@d.test>, relay=x`,
		`from=<"a b"@c.test>`:                                      `from=<a b@c.test>`,
		`Q: to=<"">`:                                               `Q: to=<>`,
		`Q: reject: <"a b"@c>: no; from=<"a b"@c> to=<"d e"@f>`:    `Q: reject: <"a b"@c>: no; from=<a b@c> to=<d e@f>`,
		`Q: to=<"a b, relay=x`:                                     `Q: to=<"a b, relay=x`,
		`Q: to=<"a b\"@c.test>\`:                                   `Q: to=<"a b\"@c.test>\`,
		`Q: to=<"a b\`:                                             `Q: to=<"a b\`,
		`Q: helo=<"x">`:                                            `Q: helo=<"x">`,
	} {
		if got := string(unquote([]byte("head "+in), 5)); got != "head "+want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func FuzzUnquote(f *testing.F) {
	f.Add(`Q: from=<"a b"@c.test>, to=<"`)
	f.Fuzz(func(t *testing.T, line string) {
		if got := unquote([]byte(line), 0); len(got) > len(line) {
			t.Errorf("%q became longer: %q", line, got)
		}
		if !strings.Contains(line, "<\"") && string(unquote([]byte(line), 0)) != line {
			t.Errorf("%q is changed, and has no quoted address", line)
		}
	})
}
