package wire

import (
	"errors"
	"strings"
	"testing"
)

// TestParsePath holds forms whose verdict was compared with Postfix.
func TestParsePath(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, want string
		bad      bool
	}{
		{in: "<a@b.test>", want: "a@b.test"}, {in: "a@b.test", want: "a@b.test"}, {in: "<>", want: ""},
		{in: "< >", want: ""}, {in: "<a>", want: "a"}, {in: "a", want: "a"},
		{in: "<@x,@y:u@d.test>", want: "u@d.test"}, {in: "<@x:u@d.test>", want: "u@d.test"},
		{in: "<@foo>", want: "@foo"}, {in: "<@>", bad: true}, {in: "<a@>", bad: true}, {in: "a@", bad: true},
		{in: "<a@b..c>", bad: true}, {in: "<a@b.>", want: "a@b."}, {in: "<.a@b.c>", want: ".a@b.c"},
		{in: "<a..b@b.c>", want: "a..b@b.c"}, {in: "<a@-b.c>", bad: true}, {in: "<a@b_c.d>", want: "a@b_c.d"},
		{in: "<a@[1.2.3.4]>", want: "a@[1.2.3.4]"}, {in: "<a@[IPv6:::1]>", want: "a@[IPv6:::1]"},
		{in: "<a@[x]>", bad: true}, {in: "<a@1.2.3.4>", bad: true}, {in: "<a@123>", bad: true},
		{in: "<a@b.123>", want: "a@b.123"}, {in: "<a@b@c.d>", want: "a@b@c.d"},
		{in: `<"a b"@b.c>`, want: "a b@b.c"}, {in: `<"a\"b"@b.c>`, want: `a"b@b.c`},
		{in: `<"a@b"@c.d>`, want: "a@b@c.d"}, {in: `<a\@b@c.d>`, want: "a@b@c.d"},
		{in: "<a b@c.d>", bad: true}, {in: "<a(c)@b.c>", want: "a@b.c"}, {in: "<a@b.c(c)>", want: "a@b.c"},
		{in: "(c)<a@b.c>", want: "a@b.c"}, {in: "<a@b.c", bad: true}, {in: "a@b.c>", want: "a@b.c"},
		{in: "<a@b.c>x", bad: true}, {in: "x<a@b.c>", want: "a@b.c"}, {in: "<a,b@c.d>", bad: true},
		{in: "<a;b@c.d>", bad: true}, {in: "<a:b@c.d>", want: "a:b@c.d"}, {in: "<<a@b.c>>", want: "a@b.c"},
		{in: `""`, want: ""}, {in: `<"">`, want: ""}, {in: `<""@b.c>`, want: "@b.c"}, {in: `"a"@b.c`, want: "a@b.c"},
		{in: `<"a>b"@b.c>`, want: "a>b@b.c"}, {in: "<a@[1.2.3.4]x>", bad: true}, {in: "<a@b.c.>", want: "a@b.c."},
		{in: "<a@b.c >", want: "a@b.c"}, {in: "< a@b.c>", want: "a@b.c"}, {in: "<a @b.c>", want: "a@b.c"},
		{in: "<a@ b.c>", want: "a@b.c"}, {in: "<a%b@c.d>", want: "a%b@c.d"}, {in: "<a!b@c.d>", want: "a!b@c.d"},
		{in: "<\"a\tb\"@c.d>", want: "a\tb@c.d"}, {in: "<a@" + strings.Repeat("x", 64) + ".c>", bad: true},
		{in: "<" + strings.Repeat("l", 300) + "@b.c>", want: strings.Repeat("l", 300) + "@b.c"},
		{in: "<@a:b>", want: "b"}, {in: `<a."b c".d@e.f>`, want: "a.b c.d@e.f"}, {in: "<a@b.c;d>", bad: true},
		{in: `<a"b"@c.d>`, bad: true}, {in: "<(c)>", want: ""}, {in: "<a@xn--foo.c>", want: "a@xn--foo.c"},
		{in: "<a@b!c>", bad: true}, {in: "<a@b%c>", bad: true}, {in: "<a@b/c>", bad: true}, {in: `<a@b.c\>`, bad: true},
		{in: `<a\ b@b.c>`, want: "a b@b.c"}, {in: "<a'b@c.d>", want: "a'b@c.d"}, {in: "<a@[IPv6:zz]>", bad: true},
		{in: "<a@host#port>", bad: true}, {in: "<|x@b.c>", want: "|x@b.c"}, {in: "<-x@b.c>", bad: true},
		{in: "<a\x00@b.c>", bad: true}, {in: "<é@b.c>", want: "é@b.c"}, {in: "<a@é.c>", bad: true},
	}
	for _, tt := range tests {
		got, err := ParsePath(tt.in, PathRules{})
		if (err != nil) != tt.bad || string(got) != tt.want {
			t.Errorf("ParsePath(%q) = %q, %v; want %q, bad %v", tt.in, got, err, tt.want, tt.bad)
		}
	}
}

func TestParsePathRules(t *testing.T) {
	t.Parallel()
	strict := PathRules{Strict: true}
	for in, ok := range map[string]bool{
		"<a@b.c>": true, "a@b.c": false, "<a(c)@b.c>": false, "x<a@b.c>": false, "<>": true,
		"<@a:b@c.d>": true, "<@foo>": false, "<<a@b.c>>": false, `<"a b"@c.d>`: true,
	} {
		if _, err := ParsePath(in, strict); (err == nil) != ok {
			t.Errorf("strict ParsePath(%q): %v, want ok %v", in, err, ok)
		}
	}
	if a, err := ParsePath("<-x@b.c>", PathRules{MinUser: true}); err != nil || a != "-x@b.c" {
		t.Errorf("MinUser: %q, %v", a, err)
	}
	if a, err := ParsePath("<a@é.c>", PathRules{UTF8: true}); err != nil || a != "a@é.c" {
		t.Errorf("UTF8: %q, %v", a, err)
	}
	if _, err := ParsePath("<a@\xff.c>", PathRules{UTF8: true}); err == nil {
		t.Error("a domain that is not UTF-8 was accepted")
	}
}

func TestSplitPath(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, path, params string
		err              error
	}{
		{in: "FROM:<a@b.c>", path: "<a@b.c>"},
		{in: "from: <a@b.c> SIZE=3  BODY=8BITMIME", path: "<a@b.c>", params: "SIZE=3|BODY=8BITMIME"},
		{in: `FROM:<"a b"@c.d> X`, path: `<"a b"@c.d>`, params: "X"},
		{in: `FROM:"a b"@c.d X=1`, path: `"a b"@c.d`, params: "X=1"},
		{in: `FROM:<"a>b"@c.d>`, path: `<"a>b"@c.d>`},
		{in: "FROM:", err: ErrNoKeyword}, {in: "TO:<a>", err: ErrNoKeyword}, {in: "", err: ErrNoKeyword},
		{in: "FROM:<a@b.c", err: ErrBadPath}, {in: `FROM:"a`, err: ErrBadPath}, {in: `FROM:<"a>`, err: ErrBadPath},
	}
	for _, tt := range tests {
		path, params, err := SplitPath(tt.in, "FROM:")
		if !errors.Is(err, tt.err) || path != tt.path {
			t.Errorf("SplitPath(%q) = %q, %v", tt.in, path, err)
		}
		var all []string
		for {
			param, _, _, _, ok := params.Next()
			if !ok {
				break
			}
			all = append(all, param)
		}
		if got := strings.Join(all, "|"); got != tt.params {
			t.Errorf("SplitPath(%q): params %q, want %q", tt.in, got, tt.params)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<a@b.c>", `<"a b"@c>`, "<@a,@b:c@d>", "x (c) <a@[1.2.3.4]>", `\`, "<((>"} {
		f.Add(s, true, false)
	}
	f.Fuzz(func(t *testing.T, s string, strict, utf8 bool) {
		rules := PathRules{Strict: strict, UTF8: utf8}
		path, _, err := SplitPath("FROM:"+s, "FROM:")
		if err != nil {
			return
		}
		a, err := ParsePath(path, rules)
		if err != nil || a == "" {
			return
		}
		// The external form of an address means the same address.
		if strings.ContainsAny(string(a), "\r\n") {
			return
		}
		b, err := ParsePath("<"+a.External()+">", PathRules{UTF8: utf8, MinUser: true})
		if err != nil || b != a {
			t.Errorf("%q -> %q -> %q -> %q, %v", s, a, a.External(), b, err)
		}
	})
}
