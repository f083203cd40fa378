package wire

import (
	"errors"
	"strings"
	"testing"
)

func TestAddFooter(t *testing.T) {
	t.Parallel()
	expand := func(line string) (string, error) {
		if strings.Contains(line, "${") {
			return "", errors.New("truncated")
		}
		return strings.ReplaceAll(line, "$x", "<x>"), nil
	}
	for _, tt := range []struct{ reply, template, want string }{
		{"550 5.7.1 No", "Sorry", "550-5.7.1 No\r\n550 5.7.1 Sorry"},
		{"550 5.7.1 No", `\c, sorry`, "550 5.7.1 No, sorry"},
		{"550 5.7.1 No", `\c.\nSee $x\nand y`, "550-5.7.1 No.\r\n550-5.7.1 See <x>\r\n550 5.7.1 and y"},
		{"550 5.7.1 No", `a\n\cb`, "550-5.7.1 No\r\n550-5.7.1 a\r\n550 5.7.1 \\cb"},
		{"550 5.7.1 No", `a\n`, "550-5.7.1 No\r\n550-5.7.1 a\r\n550 5.7.1 "},
		{"421 mx.test Busy", "Later", "421-mx.test Busy\r\n421 Later"},
		{"550-5.7.1 a\r\n450 4.7.2 b", "c", "550-5.7.1 a\r\n450-4.7.2 b\r\n450 4.7.2 c"},
		{"550 5.7.1 No", `a\n${x`, "550 5.7.1 No"},
		{"550 5.7.1 No", "", "550 5.7.1 No"},
		{"550", "x", "550"},
	} {
		if got, _ := AddFooter(tt.reply, tt.template, expand); got != tt.want {
			t.Errorf("%q with %q: %q, want %q", tt.reply, tt.template, got, tt.want)
		}
	}
}

func FuzzAddFooter(f *testing.F) {
	f.Add("550 5.7.1 No", `\c.\nSee`)
	f.Add("550-a\r\n550 b", `x\n\n`)
	f.Fuzz(func(t *testing.T, reply, template string) {
		same := func(line string) (string, error) { return line, nil }
		got, err := AddFooter(reply, template, same)
		if err != nil || len(got) < len(reply) {
			t.Errorf("%q with %q: %q, %v", reply, template, got, err)
		}
	})
}
