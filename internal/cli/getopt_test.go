package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postroad/internal/mail"
)

func TestGetopt(t *testing.T) {
	t.Parallel()
	tests := []struct{ spec, args, want string }{
		{"ti", "-ti rest", "t i | rest"},
		{"f:t", "-fa@b -t", "f=a@b t |"},
		{"f:t", "-f a@b -t", "f=a@b t |"},
		{"f:ti", "-tifx y", "t i f=x | y"},
		{"f:t", "-tf", "t option requires an argument -- 'f' |"},
		{"t", "-x -t", "invalid option -- 'x' t |"},
		{"t", "-xt", "invalid option -- 'x' t |"},
		{"t", "a -t", "| a -t"},
		{"t", "-t -- -t", "t | -t"},
		{"t", "- -t", "| - -t"},
		{"f:", "-f -- x", "f=-- | x"},
		{"f:", "-:", "invalid option -- ':' |"},
		{"", "", "|"},
	}
	for _, tt := range tests {
		g := NewGetopt(strings.Fields(tt.args), tt.spec)
		var got []string
		for {
			opt, err := g.Next()
			if err != nil {
				got = append(got, err.Error())
				continue
			}
			if opt == 0 {
				break
			}
			word := string(opt)
			if g.Arg != "" {
				word += "=" + g.Arg
			}
			got = append(got, word)
		}
		got = append(got, "|")
		got = append(got, g.Args()...)
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%q over %q: %s, want %s", tt.spec, tt.args, text, tt.want)
		}
	}
}

func FuzzGetopt(f *testing.F) {
	f.Add(sendmailSpec, "-t\x00-i\x00-fa@b\x00--\x00x")
	f.Add("a:", "-a")
	f.Fuzz(func(t *testing.T, spec, joined string) {
		args := strings.Split(joined, "\x00")
		g := NewGetopt(args, spec)
		for range len(joined) + len(args) + 2 {
			opt, err := g.Next()
			if opt == 0 && err == nil {
				if rest := g.Args(); len(rest) > 0 && !slices.Equal(rest, args[len(args)-len(rest):]) {
					t.Fatalf("rest %q is not the end of %q", rest, args)
				}
				return
			}
		}
		t.Fatalf("%q over %q does not end", spec, args)
	})
}

func TestParseAddresses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                         "",
		" , ;":                     "",
		"a@b":                      "<a@b>",
		"a@b, c@d":                 "<a@b> <c@d>",
		"r 1@x":                    "<r> <1@x>",
		"Some Body <a@b>":          "<a@b>",
		"\"A, B\" <a@b>, c":        "<a@b> <c>",
		"g: a@b, c@d;, e":          "<a@b> <c@d> <e>",
		"a (c) @ b":                "<a@b>",
		"<>":                       "<>",
		"<a@b":                     "<a@b>",
		"\"q \\\" u\"@x":           "<q \" u@x>",
		"a@[192.0.2.1]":            "<a@[192.0.2.1]>",
		"(never closed a@b":        "",
		"\"never closed":           "<never closed>",
		"a@[192.0.2.1":             "<a@[192.0.2.1>",
		"undisclosed-recipients:;": "",
	}
	for in, want := range tests {
		var got []string
		for _, a := range parseAddresses(in) {
			got = append(got, fmt.Sprintf("<%s>", string(a)))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q: %s, want %s", in, text, want)
		}
	}
}

func FuzzParseAddresses(f *testing.F) {
	f.Add("Some Body <a@b>, \"q\" (c) g: x;")
	f.Add("<<>>[[(\\")
	f.Fuzz(func(t *testing.T, s string) {
		total := 0
		for _, a := range parseAddresses(s) {
			total += len(a)
			_ = mail.Address(a).External()
		}
		if total > len(s) {
			t.Fatalf("%d bytes of addresses in %d", total, len(s))
		}
	})
}

func FuzzExtract(f *testing.F) {
	f.Add("To: a@x\nCc: b@x\n\nbody\n", true)
	f.Add("Resent-To: a\nX: y\n z\r\n\r\n.\n", false)
	f.Fuzz(func(t *testing.T, message string, dot bool) {
		var out strings.Builder
		o := &sendmailOptions{extract: true, dotIsEnd: dot}
		if _, err := copyMessage(&out, strings.NewReader(message), o, "always"); err != nil {
			return
		}
		if out.Len() > len(message) {
			t.Fatalf("%d bytes became %d", len(message), out.Len())
		}
	})
}

func TestStrftime(t *testing.T) {
	t.Parallel()
	e := newStage(t).env("x", "", nil, nil)
	if got := strftime("%Y%m%d-%H%M%S %% %q %j %s%", e.Now()); got != "20261122-134556 % %q 326 1795355156%" {
		t.Errorf("got %q", got)
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range Commands() {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			if seen[name] {
				t.Errorf("%s stands twice in the table", name)
			}
			seen[name] = true
			if found, ok := Find(name); !ok || found.Name != c.Name {
				t.Errorf("Find(%s) = %s", name, found.Name)
			}
		}
	}
}
