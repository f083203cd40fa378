package table

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postroad/internal/mail"
)

// spy is a table that notes the keys it is asked for.
type spy struct {
	name  string
	kind  Kind
	found map[string]string
	fail  map[string]error
	log   *[]string
}

func (s *spy) Lookup(_ context.Context, key string) (string, bool, error) {
	*s.log = append(*s.log, s.name+"("+key+")")
	value, ok := s.found[key]
	return value, ok && s.fail[key] == nil, s.fail[key]
}

func (s *spy) Kind() Kind     { return s.kind }
func (s *spy) String() string { return "spy:" + s.name }
func (s *spy) Close() error   { return nil }

// spies returns Maps of two fixed tables f and g with a pattern table p between.
func spies(found, fail map[string]string) (*Maps, *[]string) {
	log := new([]string)
	m := &Maps{param: "test_maps", warn: func(string, ...any) {}}
	for _, name := range []string{"f", "p", "g"} {
		s := &spy{name: name, found: map[string]string{}, fail: map[string]error{}, log: log}
		if name == "p" {
			s.kind = Pattern
		}
		for key, value := range found {
			if own, ok := strings.CutPrefix(key, name+":"); ok {
				s.found[own] = value
			}
		}
		for key, text := range fail {
			if own, ok := strings.CutPrefix(key, name+":"); ok {
				s.fail[own] = errors.New(text)
			}
		}
		m.tables = append(m.tables, s)
	}
	return m, log
}

func TestLookupAddress(t *testing.T) {
	t.Parallel()
	local := func(_ context.Context, domain string) (bool, error) {
		if domain == "broken" {
			return false, errors.New("no idea")
		}
		return domain == "here", nil
	}
	search := AddressSearch{Delimiters: "+-", LocalDomain: local}
	tests := []struct {
		addr        mail.Address
		found, fail map[string]string
		want        string
		keys        string
	}{
		{addr: "", want: "none"},
		{addr: "joe@there", want: "none", keys: "f(joe@there) p(joe@there) g(joe@there) f(@there) g(@there)"},
		{addr: "joe+x@there", want: "none", keys: "f(joe+x@there) p(joe+x@there) g(joe+x@there) f(joe@there) g(joe@there) f(@there) g(@there)"},
		{addr: "joe+x@here", want: "none", keys: "f(joe+x@here) p(joe+x@here) g(joe+x@here) f(joe@here) g(joe@here) f(joe+x) g(joe+x) f(joe) g(joe) f(@here) g(@here)"},
		{addr: "joe@here", want: "none", keys: "f(joe@here) p(joe@here) g(joe@here) f(joe) g(joe) f(@here) g(@here)"},
		{addr: "joe", want: "none", keys: "f(joe) p(joe) g(joe)"},
		{addr: "joe+x", want: "none", keys: "f(joe+x) p(joe+x) g(joe+x) f(joe) g(joe)"},
		{addr: "a b@there", want: "none", keys: `f("a b"@there) p("a b"@there) g("a b"@there) f(a b@there) p(a b@there) g(a b@there) f(@there) g(@there)`},
		{addr: "joe+x@there", found: map[string]string{"g:joe+x@there": "v", "f:joe@there": "w"}, want: `joe+x@there="v" of spy:g`, keys: "f(joe+x@there) p(joe+x@there) g(joe+x@there)"},
		{addr: "joe+x@there", found: map[string]string{"f:joe@there": "w"}, want: `joe@there="w" of spy:f, extension "+x"`, keys: "f(joe+x@there) p(joe+x@there) g(joe+x@there) f(joe@there)"},
		{addr: "joe-x+y@here", found: map[string]string{"g:joe": "w"}, want: `joe="w" of spy:g, extension "-x+y"`},
		{addr: "joe+x@here", found: map[string]string{"f:@here": "@else"}, want: `@here="@else" of spy:f, domain`},
		{addr: "joe@there", found: map[string]string{"p:@there": "never"}, want: "none"},
		{addr: "joe@there", found: map[string]string{"p:joe@there": "v"}, want: `joe@there="v" of spy:p`},
		{addr: "joe@there", found: map[string]string{"f:joe@there": ""}, want: "error", keys: "f(joe@there)"},
		{addr: "joe@there", fail: map[string]string{"f:joe@there": "down"}, found: map[string]string{"g:joe@there": "v"}, want: "error", keys: "f(joe@there)"},
		{addr: "joe@there", fail: map[string]string{"g:@there": "down"}, want: "error"},
		{addr: "joe@broken", found: map[string]string{"f:@broken": "v"}, want: "error"},
		{addr: "owner-list@there", want: "none", keys: "f(owner-list@there) p(owner-list@there) g(owner-list@there) f(@there) g(@there)"},
		{addr: "+x@there", want: "none", keys: "f(+x@there) p(+x@there) g(+x@there) f(@there) g(@there)"},
		{addr: "joe@", want: "none", keys: "f(joe@) p(joe@) g(joe@) f(@) g(@)"},
	}
	for _, test := range tests {
		m, log := spies(test.found, test.fail)
		hit, err := m.LookupAddress(context.Background(), test.addr, search)
		if got := describe(hit, err); got != test.want {
			t.Errorf("%q: %s, want %s", test.addr, got, test.want)
		}
		if keys := strings.Join(*log, " "); test.keys != "" && keys != test.keys {
			t.Errorf("%q: asked %s\nwant %s", test.addr, keys, test.keys)
		}
	}
}

// describe writes a Hit for a comparison.
func describe(hit Hit, err error) string {
	switch {
	case err != nil && hit.Found:
		return "both error and hit"
	case err != nil:
		return "error"
	case !hit.Found:
		if hit != (Hit{}) && hit != (Hit{Extension: hit.Extension}) {
			return fmt.Sprintf("a miss with %+v", hit)
		}
		return "none"
	}
	s := fmt.Sprintf("%s=%q of %s", hit.Key, hit.Value, hit.Table)
	if hit.Extension != "" {
		s += fmt.Sprintf(", extension %q", hit.Extension)
	}
	if hit.DomainKey {
		s += ", domain"
	}
	return s
}

func TestWalks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	addr := netip.MustParseAddr
	tests := []struct {
		name string
		do   func(m *Maps) (Hit, error)
		keys string
	}{
		{"domain", func(m *Maps) (Hit, error) { return m.LookupDomain(ctx, "a.b.c", false) }, "f(a.b.c) g(a.b.c) f(b.c) g(b.c) f(c) g(c)"},
		{"domain, dots", func(m *Maps) (Hit, error) { return m.LookupDomain(ctx, "a.b.c", true) }, "f(a.b.c) g(a.b.c) f(.b.c) g(.b.c) f(.c) g(.c)"},
		{"host", func(m *Maps) (Hit, error) { return m.LookupHost(ctx, "a.b", false) }, "f(a.b) p(a.b) g(a.b) f(b) g(b)"},
		{"host, dots", func(m *Maps) (Hit, error) { return m.LookupHost(ctx, "a.b", true) }, "f(a.b) p(a.b) g(a.b) f(.b) g(.b)"},
		{"no host", func(m *Maps) (Hit, error) { return m.LookupHost(ctx, "", true) }, ""},
		{"IPv4", func(m *Maps) (Hit, error) { return m.LookupNet(ctx, addr("192.0.2.1")) }, "f(192.0.2.1) p(192.0.2.1) g(192.0.2.1) f(192.0.2) g(192.0.2) f(192.0) g(192.0) f(192) g(192)"},
		{"mapped", func(m *Maps) (Hit, error) { return m.LookupNet(ctx, addr("::ffff:10.1.1.1")) }, "f(10.1.1.1) p(10.1.1.1) g(10.1.1.1) f(10.1.1) g(10.1.1) f(10.1) g(10.1) f(10) g(10)"},
		{"IPv6", func(m *Maps) (Hit, error) { return m.LookupNet(ctx, addr("2001:db8:0:1::2")) }, "f(2001:db8:0:1::2) p(2001:db8:0:1::2) g(2001:db8:0:1::2) f(2001:db8:0:1:) g(2001:db8:0:1:) f(2001:db8:0:1) g(2001:db8:0:1) f(2001:db8:0) g(2001:db8:0) f(2001:db8) g(2001:db8) f(2001) g(2001)"},
		{"no address", func(m *Maps) (Hit, error) { return m.LookupNet(ctx, netip.Addr{}) }, ""},
	}
	for _, test := range tests {
		m, log := spies(nil, nil)
		if hit, err := test.do(m); hit.Found || err != nil {
			t.Errorf("%s: %+v, %v", test.name, hit, err)
		}
		if keys := strings.Join(*log, " "); keys != test.keys {
			t.Errorf("%s: asked %s\nwant %s", test.name, keys, test.keys)
		}
		// A failure anywhere ends the walk with an error.
		for _, key := range slices.Clone(*log) {
			name, rest, _ := strings.Cut(key, "(")
			m, log := spies(nil, map[string]string{name + ":" + strings.TrimSuffix(rest, ")"): "down"})
			if _, err := test.do(m); err == nil || (*log)[len(*log)-1] != key {
				t.Errorf("%s: %s fails: %v after %v", test.name, key, err, *log)
			}
		}
	}
}

func TestSplitExtension(t *testing.T) {
	t.Parallel()
	tests := []struct{ local, delims, base, extension string }{
		{"joe+x", "+", "joe", "+x"},
		{"joe+x+y", "+", "joe", "+x+y"},
		{"joe-x+y", "+-", "joe", "-x+y"},
		{"joe+", "+", "joe", "+"},
		{"+x", "+", "+x", ""},
		{"joe", "+", "joe", ""},
		{"joe+x", "", "joe+x", ""},
		{"", "+", "", ""},
		{"MAILER-DAEMON", "-", "MAILER-DAEMON", ""},
		{"double-bounce", "-", "double-bounce", ""},
		{"Owner-list", "-", "Owner-list", ""},
		{"list-Request", "-", "list-Request", ""},
		{"-request", "-", "-request", ""},
		{"owner-list", "+", "owner-list", ""},
		{"owner-list+x", "+", "owner-list", "+x"},
	}
	for _, test := range tests {
		base, extension := SplitExtension(test.local, test.delims)
		if base != test.base || extension != test.extension {
			t.Errorf("%q at %q: %q and %q", test.local, test.delims, base, extension)
		}
	}
	s := AddressSearch{Delimiters: "-", DoubleBounce: "db-x", SplitOwner: true}
	for local, want := range map[string]string{"db-x": "db-x", "double-bounce": "double", "owner-list": "owner", "l-request": "l"} {
		if base, _ := s.Split(local); base != want {
			t.Errorf("%q: %q, want %q", local, base, want)
		}
	}
}

// newTestSet returns a Set and what it warned of.
func newTestSet(t *testing.T) (*Set, *[]string) {
	t.Helper()
	warnings := new([]string)
	s := NewSet(Options{UTF8: true, Warn: func(format string, args ...any) {
		*warnings = append(*warnings, fmt.Sprintf(format, args...))
	}})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, warnings
}

func TestMatchLists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("# comment\nin.file, !not.file\n  also.file\n192.0.2.0/24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		style   string
		items   string
		yes, no string
		fails   string
	}{
		{style: "string", items: "joe Ann", yes: "joe ANN ann", no: "jo joe.x x.joe"},
		{style: "string", items: "!joe static:x", yes: "ann", no: "joe"},
		{style: "string", items: "inline:{joe=1} !inline:{ann=1} static:x", yes: "joe JOE x", no: "ann"},
		{style: "domain", items: "a.b .c.d", yes: "a.b A.B x.c.d y.x.c.d", no: "x.a.b c.d b"},
		{style: "domain", items: "inline:{a.b=1,.c.d=1}", yes: "a.b x.c.d", no: "x.a.b c.d"},
		{style: "parents", items: "a.b .c.d", yes: "a.b x.a.b X.Y.A.B", no: "xa.b c.d x.c.d"},
		{style: "parents", items: "inline:{a.b=1}", yes: "a.b x.a.b", no: "b"},
		{style: "parents", items: "!x.a.b a.b", yes: "a.b y.a.b", no: "x.a.b z.x.a.b"},
		{style: "parents", items: "pcre:{{/^a\\.b$/x}}", no: "x.a.b"},
		{style: "domain", items: file, yes: "in.file also.file", no: "not.file"},
		{style: "domain", items: "!" + file + " static:x", yes: "other not.file", no: "in.file"},
		{style: "addr", items: "10.0.0.0/8 192.0.2.1 [::1] [2001:db8::]/32 [fe80::/10]", yes: "10.1.2.3 192.0.2.1 ::1 2001:db8:1::1 fe80::1 ::ffff:10.0.0.1", no: "11.1.1.1 192.0.2.2 ::2 2001:db9::"},
		{style: "addr", items: "!10.0.0.1 10.0.0.0/8", yes: "10.0.0.2", no: "10.0.0.1"},
		{style: "addr", items: "example.com cidr:{{192.0.2.0/24 x}} inline:{10.1.1.1=x}", yes: "192.0.2.3 10.1.1.1 a.example.com example.com", no: "192.0.3.1 10.1.1.2"},
		{style: "addr", items: file, yes: "192.0.2.3 x.in.file", no: "192.0.3.1 not.file"},
		{style: "addr", items: "10.0.0.1/8 192.0.2.1", fails: "192.0.2.1 10.0.0.1", no: "::1"},
		{style: "addr", items: "[::1/8 192.0.2.1", fails: "::1", yes: "192.0.2.1"},
		{style: "addr", items: "192.0.2.1 fail:x 192.0.2.2", yes: "192.0.2.1", fails: "192.0.2.2"},
		{style: "domain", items: "a.b hash:/no/such/file", yes: "a.b", fails: "b.c"},
		{style: "domain", items: "a.b /no/such/file", yes: "a.b", fails: "b.c"},
		{style: "string", items: "2001:db8::1", fails: "x"},
		{style: "domain", items: "", no: "a a.b"},
	}
	for _, test := range tests {
		s, _ := newTestSet(t)
		items := splitBraced(test.items)
		var l *MatchList
		var err error
		switch test.style {
		case "string":
			l, err = s.StringList("test", items)
		case "domain":
			l, err = s.DomainList("test", items, false)
		case "parents":
			l, err = s.DomainList("test", items, true)
		case "addr":
			l, err = s.AddrList("test", items)
		}
		if err != nil {
			t.Errorf("%s: %v", test.items, err)
			continue
		}
		for want, keys := range map[string]string{"yes": test.yes, "no": test.no, "fails": test.fails} {
			for _, key := range strings.Fields(keys) {
				ok, err := l.Match(context.Background(), key)
				got := map[bool]string{true: "yes", false: "no"}[ok]
				if err != nil {
					got = "fails"
				}
				if got != want {
					t.Errorf("%s %q: %q: %s (%v), want %s", test.style, test.items, key, got, err, want)
				}
			}
		}
	}
	s, _ := newTestSet(t)
	if _, err := s.StringList("test", []string{"!"}); err == nil {
		t.Error("a lone ! is accepted")
	}
	l, err := s.AddrList("test", []string{"example.com", "10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, addr string
		want       bool
	}{{"x.example.com", "192.0.2.1", true}, {"unknown", "10.0.0.1", true}, {"unknown", "192.0.2.1", false}, {"", "10.0.0.1", true}} {
		if ok, err := l.MatchHost(context.Background(), test.name, netip.MustParseAddr(test.addr)); ok != test.want || err != nil {
			t.Errorf("%s[%s]: %v, %v", test.name, test.addr, ok, err)
		}
	}
}

func TestIncludeLoop(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "loop")
	if err := os.WriteFile(file, []byte(file+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := newTestSet(t)
	l, err := s.StringList("test", []string{file})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := l.Match(context.Background(), "x"); ok || err == nil {
		t.Errorf("a file that includes itself: %v, %v", ok, err)
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	s, warnings := newTestSet(t)
	open := func(spec string) Table {
		tab, err := s.Open(spec)
		if err != nil {
			t.Fatal(err)
		}
		return tab
	}
	if open("inline:{a=b}") != open("inline:{a=b}") {
		t.Error("a table is opened twice")
	}
	for _, spec := range []string{"hash:/no/such", "nosuch:x", "ldap:/x", "inline:x", "unix:x"} {
		for range 2 {
			_, ok, err := open(spec).Lookup(context.Background(), "key")
			if ok || err == nil || !errors.Is(err, errUnavailable) {
				t.Errorf("%s: %v, %v", spec, ok, err)
			}
		}
		if open(spec).Kind() != Fixed || open(spec).String() != spec {
			t.Errorf("%s: the stand-in is a %d called %s", spec, open(spec).Kind(), open(spec))
		}
	}
	if len(*warnings) != 5 || !strings.HasPrefix((*warnings)[0], "hash:/no/such is unavailable. open database /no/such.db: No such file") {
		t.Errorf("warnings: %q", *warnings)
	}
	for _, spec := range []string{"x", "", ":x", "hash:"} {
		if _, err := s.Open(spec); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", spec, err)
		}
		if _, err := s.Maps("test", []string{spec}); !errors.Is(err, ErrSyntax) {
			t.Errorf("maps %q: %v", spec, err)
		}
	}
}

func TestSubstitutionUses(t *testing.T) {
	t.Parallel()
	const spec = "pcre:{{/^(.)x/ y$1} {/^ax/ plain}}"
	s, _ := newTestSet(t)
	for param, want := range map[string]string{"virtual_alias_maps": "ya", "transport_maps": "plain"} {
		m, err := s.Maps(param, []string{spec})
		if err != nil {
			t.Fatal(err)
		}
		if hit, err := m.Lookup(context.Background(), "ax"); hit.Value != want || err != nil {
			t.Errorf("%s: %q, %v", param, hit.Value, err)
		}
	}
	m, err := s.TrustedMaps("alias_maps", []string{spec, "proxy:inline:{b=c}", "tcp:x:1"})
	if err != nil {
		t.Fatal(err)
	}
	if hit, err := m.Lookup(context.Background(), "ax"); hit.Value != "plain" || err != nil {
		t.Errorf("alias_maps: %q, %v", hit.Value, err)
	}
	if hit, err := m.Lookup(context.Background(), "b"); hit.Value != "c" || err != nil {
		t.Errorf("alias_maps: %q, %v", hit.Value, err)
	}
	if _, err := m.Lookup(context.Background(), "other"); err == nil {
		t.Error("tcp: is accepted for alias_maps")
	}
}

func FuzzLookupAddress(f *testing.F) {
	f.Add("joe+x@here", "+-")
	f.Add("\"a b\"@[1.2.3.4]", "+")
	f.Add("@", "@")
	f.Fuzz(func(t *testing.T, addr, delims string) {
		m, log := spies(nil, nil)
		always := func(context.Context, string) (bool, error) { return true, nil }
		hit, err := m.LookupAddress(context.Background(), mail.Address(addr), AddressSearch{Delimiters: delims, LocalDomain: always})
		if hit.Found || err != nil {
			t.Errorf("%+v, %v", hit, err)
		}
		if slices.Contains(*log, "f()") || len(*log) > 24 {
			t.Errorf("asked %q", *log)
		}
	})
}
