package table

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// update makes tests write their golden files.
var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got to a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	testkit.Golden(t, filepath.Join("testdata", name+".golden"), got, *update)
}

// parsed is what ParseSource makes of a text, warnings included.
func parsed(text string, alias bool) string {
	var b strings.Builder
	o := SourceOptions{Name: "src", UTF8: true, Alias: alias, Warn: func(format string, args ...any) {
		fmt.Fprintf(&b, "warning: "+format+"\n", args...)
	}}
	ParseSource(text, o, func(e Entry, line int) { fmt.Fprintf(&b, "%d: %q = %q\n", line, e.Key, e.Value) })
	return b.String()
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"source", "aliases"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, parsed(string(text), name == "aliases"))
	}
}

func FuzzParseSource(f *testing.F) {
	for _, name := range []string{"source", "aliases"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, alias := range []bool{false, true} {
			ParseSource(text, SourceOptions{Alias: alias, UTF8: true}, func(e Entry, line int) {
				if !alias && (e.Key == "" || e.Value == "") || line < 1 || strings.Contains(e.Key+e.Value, "\n") {
					t.Errorf("line %d: %q = %q", line, e.Key, e.Value)
				}
			})
		}
		isAliasText(text)
	})
}

// FuzzNames opens tables whose name is their content.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"{ a=b, {c = d e} }", "{{/x/ y} {if /z/} {/a(b)/i $1} {endif}}", "{{10.0.0.0/8 x}, {if ::1}}", "{a b}", "static:x,static:y}", ",}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if len(name) > 2000 {
			return
		}
		for _, typ := range []string{"inline", "static", "randmap", "pipemap", "unionmap", "cidr", "regexp", "pcre"} {
			tab, err := Open(typ+":{"+name, Options{UTF8: true})
			if err != nil {
				continue
			}
			for _, key := range []string{"", "a", "10.1.1.1", name} {
				if value, ok, err := tab.Lookup(t.Context(), key); (!ok || err != nil) && value != "" {
					t.Errorf("%s: %q gives %q, %v", tab, key, value, err)
				}
			}
		}
	})
}

// TestOpenFile has the files of all types opened by who may read them.
func TestOpenFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := map[string]string{
		"hash:" + dir + "/h": dir + "/h.db", "texthash:" + dir + "/t": dir + "/t", "cidr:" + dir + "/c": dir + "/c",
		"pcre:" + dir + "/p": dir + "/p", "sqlite:" + dir + "/s.cf": dir + "/s.cf", "proxy:mysql:" + dir + "/m.cf": dir + "/m.cf",
	}
	for spec, want := range names {
		asked := ""
		_, err := Open(spec, Options{OpenFile: func(path string) (*os.File, error) {
			asked = path
			return nil, os.ErrPermission
		}})
		if asked != want || err == nil {
			t.Errorf("%s: opened %q (%v), want %q", spec, asked, err, want)
		}
	}
	set := NewSet(Options{OpenFile: func(string) (*os.File, error) { return nil, os.ErrPermission }})
	list, err := set.StringList("x", []string{dir + "/list"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list.Match(context.Background(), "a"); err == nil {
		t.Error("a list that cannot be read has an answer")
	}
}
