package postconf

import "testing"

func TestUnescape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		``: ``, `abc`: `abc`, `\t\40\\a\101\x`: "\t \\aAx", `\`: `\`, `\1234`: "S4", `\n\`: "\n\\", `\777`: "\xff",
	} {
		if got := string(Unescape(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
