package postconf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// TestCorpus compares what we print for the configurations in the folder that
// POSTROAD_CORPUS names with what is stored beside them in oracle/: the output of
// Postfix. Without the variable it uses our own cases.
func TestCorpus(t *testing.T) {
	root := os.Getenv("POSTROAD_CORPUS")
	if root == "" {
		root = "testdata/configs"
	}
	dirs, err := filepath.Glob(filepath.Join(root, "*", "oracle"))
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) < 12 {
		t.Fatalf("only %d configurations in %s", len(dirs), root)
	}
	for _, oracle := range dirs {
		dir := filepath.Dir(oracle)
		t.Run(filepath.Base(dir), func(t *testing.T) { compareOracle(t, dir, oracle) })
	}
}

// compareOracle compares one configuration.
func compareOracle(t *testing.T, dir, oracle string) {
	opt := testOptions()
	opt.Quiet = true
	c, problems := Load(dir, opt)
	for _, p := range problems {
		if p.Fatal {
			t.Errorf("fatal: %v", p)
		}
	}
	compareLines(t, filepath.Join(oracle, "postconf-n.txt"), printNonDefault(c, false))
	if expanded := filepath.Join(oracle, "postconf-nx.txt"); *update || exists(expanded) {
		compareLines(t, expanded, printNonDefault(c, true))
	}
	var m, p []string
	for _, s := range c.Services {
		line, err := s.Format(false, nil)
		if err != nil {
			t.Error(err)
		}
		m = append(m, line)
		for _, o := range c.Namespace(s) {
			p = append(p, FormatLine(s.ID()+"/"+o.Name+" = "+o.Value, false))
		}
	}
	compareLines(t, filepath.Join(oracle, "postconf-M.txt"), m)
	compareLines(t, filepath.Join(oracle, "postconf-P.txt"), p)
	compareLines(t, filepath.Join(oracle, "warnings.txt"), warningLines(c))
}

// exists reports whether there is a file of that name.
func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// printNonDefault returns the lines of postconf -n, or -nx.
func printNonDefault(c *Config, expand bool) []string {
	var out []string
	for _, name := range c.Usage(nil).Names(Builtin | PerService | User) {
		s, ok := c.Main.Lookup(name)
		if !ok {
			continue
		}
		value := s.Value
		if expand {
			var err error
			if value, err = c.View(nil).Value(name); err != nil {
				value = "error: " + err.Error()
			}
		}
		out = append(out, FormatLine(name+" = "+value, false))
	}
	return out
}

// warningLines returns the warnings as Postfix words them, without our hints and
// line numbers.
func warningLines(c *Config) []string {
	var out []string
	old := false
	for _, p := range c.Usage(nil).Warnings() {
		line := "warning: /etc/postfix/" + filepath.Base(p.File) + ": " + p.Text
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
		old = old || strings.HasPrefix(p.Text, "support for")
	}
	if old {
		out = append(out, "warning: See https://www.postfix.org/DEPRECATION_README.html for details")
	}
	return out
}

// compareLines compares lines with those in a file, in any order for warnings.
func compareLines(t *testing.T, file string, got []string) {
	t.Helper()
	if *update && strings.HasPrefix(file, "testdata") {
		testkit.Golden(t, file, strings.Join(append(got, ""), "\n"), true)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "postconf: "), "/usr/sbin/postconf: ")
		if line != "" && !strings.HasPrefix(line, "config_directory = ") {
			want = append(want, line)
		}
	}
	if filepath.Base(file) == "warnings.txt" {
		slices.Sort(want)
		want = slices.Compact(want)
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %s", file, testkit.Parted(strings.Join(got, "\n"), strings.Join(want, "\n")))
	}
}
