package table

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// openWith opens a table and returns its warnings.
func openWith(t *testing.T, spec string, o Options) (Table, *[]string) {
	t.Helper()
	warnings := new([]string)
	var mu sync.Mutex
	o.UTF8 = true
	o.Warn = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		*warnings = append(*warnings, fmt.Sprintf(format, args...))
	}
	tab, err := Open(spec, o)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return tab, warnings
}

// answer looks up a key: its value, "-" for none, or the error.
func answer(tab Table, key string) string {
	value, ok, err := tab.Lookup(context.Background(), key)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case !ok:
		return "-"
	}
	return value
}

// TestRules runs the files in testdata/rules: rules up to a line "--", then
// keys. The golden file has what the keys give and what was warned of.
func TestRules(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/rules/*.txt")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rules, keys, _ := strings.Cut(string(text), "--\n")
		typ := strings.TrimSuffix(filepath.Base(file), ".txt")
		path := filepath.Join(t.TempDir(), "map")
		if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		tab, warnings := openWith(t, typ+":"+path, Options{})
		var got strings.Builder
		for line := range strings.Lines(keys) {
			key := strings.NewReplacer(`\n`, "\n", `\xe9`, "\xe9").Replace(strings.TrimSuffix(line, "\n"))
			fmt.Fprintf(&got, "%q gives %s\n", key, answer(tab, key))
		}
		for _, w := range *warnings {
			fmt.Fprintln(&got, "warning:", strings.ReplaceAll(w, path, "map"))
		}
		golden(t, "rules/"+typ, got.String())
	}
}

// TestMatchLimit checks that nobody can make us spend seconds, or fail, with
// a hard key.
func TestMatchLimit(t *testing.T) {
	t.Parallel()
	tab, warnings := openWith(t, "pcre:{{/^(a+)+$/ hard} {!/^(b+)+$/ not} {/./ easy}}", Options{})
	if got := answer(tab, strings.Repeat("a", 40)+"!"); got != "not" {
		t.Errorf("hard key for the first rule gives %q", got)
	}
	if got := answer(tab, strings.Repeat("b", 40)+"!"); got != "easy" {
		t.Errorf("hard key for the second rule gives %q: a rule that gave up must not apply, negated or not", got)
	}
	if len(*warnings) != 2 || !strings.Contains((*warnings)[0], "line 1: ") {
		t.Errorf("warnings: %q", *warnings)
	}
	if got := answer(tab, "aaa"); got != "hard" {
		t.Errorf("after the limit: %q", got)
	}
	deep, _ := openWith(t, "pcre:{{/^(\\((?1)*\\))*$/ balanced}}", Options{})
	if got := answer(deep, strings.Repeat("(", 50000)); got != "-" {
		t.Errorf("deep key gives %q", got)
	}
}

// TestConcurrentPatterns has many readers of one table while others come and go.
func TestConcurrentPatterns(t *testing.T) {
	t.Parallel()
	tab, _ := openWith(t, "pcre:{{/^(.*)@(.*)$/ $2/$1} {/^x{3,}y/ xs}}", Options{})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			own, err := Open("pcre:{{/^(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)$/ $10$1}}", Options{})
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 200 {
				key := fmt.Sprintf("user%d.%d@host%d", worker, i, i)
				local, host, _ := strings.Cut(key, "@")
				if got := answer(tab, key); got != host+"/"+local {
					t.Errorf("%q gives %q", key, got)
				}
				if got := answer(own, "abcdefghij"); got != "ja" {
					t.Errorf("own table gives %q", got)
				}
				if got := answer(tab, strings.Repeat("x", 3+i*10)+"y"); got != "xs" {
					t.Errorf("long key gives %q", got)
				}
			}
		})
	}
	wg.Wait()
}

// TestLargeCIDR compares the index with a walk over the rules.
func TestLargeCIDR(t *testing.T) {
	t.Parallel()
	var rules strings.Builder
	for i := range 400 {
		fmt.Fprintf(&rules, "{10.%d.%d.0/24 r%d} {10.%d.0.0/%d s%d} {2001:db8:%x::/%d t%d} ", i%7, i%50, i, i%9, 16+i%2*8, i, i%5, 48+i%3*8, i)
	}
	fast, _ := openWith(t, "cidr:{ "+rules.String()+"}", Options{})
	slow, _ := openWith(t, "cidr:{ "+rules.String()+"{if 0.0.0.0/0} {endif} }", Options{})
	if fast.(*cidrTable).index == nil || slow.(*cidrTable).index != nil {
		t.Fatal("the index is not where it should be")
	}
	hits := 0
	for i := range 3000 {
		key := fmt.Sprintf("10.%d.%d.%d", i%11, i%61, i%3)
		if i%3 == 0 {
			key = fmt.Sprintf("2001:db8:%x:%x::1", i%7, i%4*256)
		}
		if answer(fast, key) != "-" {
			hits++
		}
		if answer(fast, key) != answer(slow, key) {
			t.Errorf("%s: %s by index, %s by walk", key, answer(fast, key), answer(slow, key))
		}
	}
	if hits == 0 || hits == 3000 {
		t.Errorf("%d hits", hits)
	}
}

func FuzzPOSIX(f *testing.F) {
	for _, seed := range []string{"^a*(b|c){1,3}$", "[[:alpha:]_-]+", "\\(a\\)\\1*", "a\\{2\\}", "[]a-f[.x.]]", "\\<w\\>", "a{,3}", "((((a))))"} {
		f.Add(seed, "aab", uint8(7))
	}
	f.Fuzz(func(t *testing.T, pattern, key string, bits uint8) {
		if len(pattern) > 200 || len(key) > 200 {
			return
		}
		syntax := posixSyntax{fold: bits&1 != 0, lines: bits&2 != 0, extended: bits&4 != 0}
		m, err := compilePOSIX(&pcreEngine{}, pattern, syntax)
		if err != nil {
			return
		}
		ok, spans, err := m.match(key, true)
		if err != nil {
			return
		}
		if plain, _, err := m.match(key, false); err == nil && plain != ok {
			t.Errorf("%q: %v with groups, %v without", key, ok, plain)
		}
		for i := 0; ok && i+1 < len(spans); i += 2 {
			if spans[i] >= 0 && (spans[i] > spans[i+1] || spans[i+1] > len(key)) {
				t.Errorf("%q on %q: spans %v", pattern, key, spans)
			}
		}
	})
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"a$1b", "${2}$$$(1)", "$", "${", "$x", "$99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tmpl, errs := parseTemplate(s, "out of range")
		if len(errs) == 0 {
			tmpl.expand("abc", []int{0, 3, 1, 2, -1, -1})
		}
	})
}

func FuzzNet(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "[::1]/128", "[fe80::/10]", "::1%lo", "[", "1.2.3.4/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if net, err := parseNet(s); err == nil && net.Masked() != net {
			t.Errorf("%q gives %v", s, net)
		}
	})
}
