package postconf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seed adds the files that match a pattern to a corpus.
func seed(f *testing.F, pattern string, add func(data []byte)) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatal("no files for ", pattern)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		add(data)
	}
}

// FuzzMain checks that a main.cf with any content can be read and shown, and that
// what is set by an edit is there afterwards.
func FuzzMain(f *testing.F) {
	seed(f, "testdata/configs/*/main.cf", func(data []byte) { f.Add(data) })
	seed(f, "testdata/bad/*.cf", func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _ := Parse("", data, []byte("smtp inet n - n - - smtpd -o smtpd_banner=$x\n"), testOptions())
		c.Check()
		for _, name := range c.Main.Names() {
			s, _ := c.Main.Lookup(name)
			if strings.ContainsAny(s.Name, spaces+"=\x00") || s.Value != strings.Trim(s.Value, spaces) || s.Line < 1 {
				t.Errorf("%q", s)
			}
		}
		var set settings
		c.View(nil).Decode(&set)
		out, _ := EditMain("main.cf", data, EditSet, []MainEdit{{"mail_name", "new"}})
		edited, _ := ParseMain("main.cf", out)
		if s, ok := edited.Lookup("mail_name"); len(c.Main.names) < maxSettings && (!ok || s.Value != "new") {
			t.Errorf("edited to %q", out)
		}
	})
}

// FuzzMaster checks that a master.cf with any content can be read, and that an
// entry which is printed is read again as the same entry.
func FuzzMaster(f *testing.F) {
	seed(f, "testdata/configs/*/master.cf", func(data []byte) { f.Add(data) })
	seed(f, "testdata/bad/*.master.cf", func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _ := Parse("", nil, data, testOptions())
		c.Check()
		for _, s := range c.Services {
			text, err := s.Format(true, nil)
			if err != nil {
				t.Fatal(err)
			}
			again, warnings, err := ParseService(strings.ReplaceAll(text, "\n", " "))
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			// Arguments that are not quite right are printed as they were understood.
			if len(warnings) == 0 && again.ID() != s.ID() {
				t.Errorf("%q became %q", s.ID(), again.ID())
			}
		}
		if out, _, err := EditMaster("m", data, EditDelete, WholeEntry, []MasterEdit{{Name: "*", Type: "*"}}); err == nil {
			if left, _ := ParseMaster("m", out); len(left) > 0 {
				t.Errorf("%d entries are left in %q", len(left), out)
			}
		}
	})
}

// FuzzExpand checks that expansion ends soon whatever the values are. The test
// itself would time out if not.
func FuzzExpand(f *testing.F) {
	f.Add("$a", "${b?{$a}:{$b}}", "${{$a} == {1}}")
	f.Add("$(a)$$", "$b$b$b", "$$a")
	f.Add("${domain_to_ascii{$a}}", "ü", "${b:")
	f.Add("${{1} <level {$b}?x:y}", "3.6", "")
	f.Fuzz(func(t *testing.T, in, a, b string) {
		out, err := Expand(in, lookupIn(map[string]string{"a": a, "b": b}))
		if len(out) > maxResult {
			t.Errorf("%d bytes", len(out))
		}
		scan := References(in, func(string) {})
		if err == nil && strings.IndexByte(in, '$') < 0 && out != in {
			t.Errorf("%q became %q", in, out)
		}
		if scan == nil && strings.IndexByte(a+b, '$') < 0 && err != nil && !strings.Contains(err.Error(), "level") && !strings.Contains(err.Error(), "conversion") && !strings.Contains(err.Error(), "domain_to_ascii") {
			t.Errorf("%q: only the expansion fails: %v", in, err)
		}
	})
}
