package postconf

import "testing"

func TestCharset(t *testing.T) {
	t.Parallel()
	c := NewCharset(Unescape(`ab\40é`))
	for s, want := range map[string]string{"": "", "a b": "a b", "a\tc$": "a___", "é": "é", "ü": "\xc3_"} {
		if got := c.Clean(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
