package rewrite

import (
	"errors"
	"strings"
	"testing"

	"postroad/internal/mail"
)

func TestParsePath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Path{
		"<>":                    {Angle: true},
		"":                      {},
		"<joe@a.test>":          {Addr: "joe@a.test", Count: 1, Angle: true},
		"joe@a.test":            {Addr: "joe@a.test", Count: 1},
		"<@x,@y:joe@a.test>":    {Addr: "joe@a.test", Count: 1, Angle: true, Routed: true},
		`<"joe smith"@a.test>`:  {Addr: "joe smith@a.test", Count: 1, Angle: true},
		`<"a@b"@a.test>`:        {Addr: "a@b@a.test", Count: 1, Angle: true},
		"<postmaster>":          {Addr: "postmaster", Count: 1, Angle: true},
		"<joe@a.test> <b>":      {Addr: "joe@a.test", Count: 2, Angle: true},
		"a b":                   {Addr: "a", Count: 2},
		"Joe <joe@a.test>":      {Addr: "joe@a.test", Count: 1},
		"<joe@[IPv6:2001::1]>":  {Addr: "joe@[IPv6:2001::1]", Count: 1, Angle: true},
		"<a@b> (comment)":       {Addr: "a@b", Count: 1},
		"<@only.test>":          {Addr: "@only.test", Count: 1, Angle: true},
		"<j\\ö@a.test>":         {Addr: "jö@a.test", Count: 1, Angle: true},
		`<"\"q\\uoted"@a.test>`: {Addr: `"q\uoted@a.test`, Count: 1, Angle: true},
	} {
		got := ParsePath(text)
		if got.Count == 2 {
			want.Addr = got.Addr // which of several does not matter
		}
		if got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestRewriteHeaderKeepsBytes(t *testing.T) {
	t.Parallel()
	add := func(a mail.Address) (mail.Address, error) {
		if a.HasDomain() {
			return a, nil
		}
		return a + "@x.test", nil
	}
	for in, want := range map[string]string{
		" Joe\r\n\t<joe> ,\r\n\tJane  <jane@y.test>\r\n": " Joe\r\n\t<joe@x.test> ,\r\n\tJane  <jane@y.test>\r\n",
		" a\r\n b":             " a@x.test,\r\n b@x.test",
		" full@y.test other@z": " full@y.test other@z",
		"\tjoe (x)\t":          "\tjoe@x.test (x)\t",
		"<\"joe smith\">":      "<\"joe smith\"@x.test>",
	} {
		got, err := RewriteHeader(in, add)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestRewriteHeaderError(t *testing.T) {
	t.Parallel()
	later := errors.New("later")
	got, err := RewriteHeader("a, b", func(a mail.Address) (mail.Address, error) {
		if a == "b" {
			return "", later
		}
		return "c", nil
	})
	if got != "a, b" || !errors.Is(err, later) {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestHeaderLinear gives the scanner what makes careless ones slow; a quadratic
// one would not end before the test does.
func TestHeaderLinear(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for _, piece := range []string{"<", ">", ",", ":", ";", "(", ")", `"`, "[", `\`, "a ", "a:", "<,", "<a,", "(a", "@", "@a,", "a:b;", "a<b>", `"a" `} {
		for _, end := range []string{"", ">", ";", ")", `"`} {
			value := strings.Repeat(piece, size/len(piece)) + end
			n := 0
			for range HeaderAddresses(value) {
				n++
			}
			if n > maxAddresses {
				t.Errorf("%q: %d addresses", piece, n)
			}
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"a, b <c>", "x: a, b;", `"a\"b"@c (d) <e@f>`, "<@a,@b:c@d>", "a b <c", "[1]@[2]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		end := 0
		for spot := range HeaderAddresses(value) {
			if spot.Start < end || spot.End <= spot.Start || spot.End > len(value) || spot.Addr == "" {
				t.Fatalf("%q: %+v after %d", value, spot, end)
			}
			end = spot.End
		}
		same, err := RewriteHeader(value, func(a mail.Address) (mail.Address, error) { return a, nil })
		if err != nil {
			t.Fatal(err)
		}
		routed := false
		for spot := range HeaderAddresses(value) {
			routed = routed || spot.Routed
		}
		if !routed && same != value {
			t.Fatalf("%q became %q", value, same)
		}
		ParsePath(value)
	})
}
