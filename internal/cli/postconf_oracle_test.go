//go:build oracle

package cli

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"postroad/internal/testkit"
)

// The larger form: -args -postconf PATH -runs 20000.
var (
	theirPostconf = flag.String("postconf", debianPostconf, "the postconf to compare with")
	pcRuns        = flag.Uint64("runs", 600, "generated runs of postconf")
	pcFirst       = flag.Uint64("first", 0, "number of the first run")
)

// debianPostconf is the postconf of Debian's Postfix 3.7.
const debianPostconf = "/usr/sbin/postconf"

// changedSince37 tells whether Postfix 3.11 does a run in another way than 3.7: it
// has options that 3.7 has not, gives files an end of line, adds parameters in the
// order of their names, does not crash at a name that is given twice, and shows the
// parameters that are changed.
func (c *pcCase) changedSince37(changed map[string]bool) bool {
	option := c.args[0]
	short := strings.HasPrefix(option, "-")
	switch main := !short || !strings.ContainsAny(option, "MPF"); {
	case short && strings.ContainsAny(option, "jq") || !strings.HasSuffix(c.main, "\n") || !strings.HasSuffix(c.master, "\n"):
		return true
	case main && len(c.args) > 2 && (!short || strings.ContainsAny(option, "eX#")), main && strings.Contains(option, "=") && len(c.args) > 1:
		return true
	}
	return slices.ContainsFunc(c.args, func(arg string) bool { return changed[arg] })
}

// changedDefaults are the parameters that the Postfix to compare with has not, or with
// another default than 3.11.
func changedDefaults(t *testing.T) map[string]bool {
	t.Helper()
	empty, dir := pcCase{}, t.TempDir()
	empty.write(t, dir)
	text, err := exec.Command(*theirPostconf, "-c", dir, "-d").Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := readDefaults(string(text))
	changed := map[string]bool{}
	for name, value := range recordedDefaults(t) {
		if other, known := theirs[name]; (!known || other != value) && !ofHostName(name) {
			changed[name] = true
		}
	}
	return changed
}

// release finds mail_version.
var release = regexp.MustCompile(`\b3\.(?:11|7)\.\d+\b`)

// like37 takes out what 3.11 says and 3.7 does not, and has the value of 3.7 for the
// default of the alias tables.
func like37(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "support for parameter") || strings.Contains(line, "DEPRECATION_README") ||
			strings.Contains(line, "#comment after other text") || strings.Contains(line, "'}'") ||
			strings.HasPrefix(line, "postconf: warning: undefined") || strings.Contains(line, "unused parameter") {
			continue
		}
		line = strings.ReplaceAll(line, "$default_database_type:", "hash:")
		line = release.ReplaceAllString(line, "RELEASE")
		out = append(out, strings.Replace(line, ", -", " -", 1))
	}
	return strings.Join(out, "")
}

// hostNotFound is what Postfix says to an inet_interfaces that it cannot resolve,
// whatever was asked; ours shows the values all the same.
const hostNotFound = "fatal: config variable inet_interfaces: host not found"

// runTheirs runs the postconf of Postfix.
func (c *pcCase) runTheirs(t testing.TB, dir string) string {
	t.Helper()
	c.write(t, dir)
	cmd := exec.Command(*theirPostconf, append([]string{"-c", dir}, c.args...)...)
	cmd.Args[0] = "postconf"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/bin"}
	stdout, stderr, code := runTheir(t, cmd)
	return c.result(t, dir, code, stdout, stderr)
}

// pcDirs are the directories of a worker.
type pcDirs struct{ ours, theirs string }

// newPCDirs makes directories for some workers.
func newPCDirs(t *testing.T) []pcDirs {
	t.Helper()
	base, all := t.TempDir(), make([]pcDirs, 24)
	for i := range all {
		all[i] = pcDirs{filepath.Join(base, fmt.Sprintf("a%02d", i)), filepath.Join(base, fmt.Sprintf("b%02d", i))}
		for _, dir := range []string{all[i].ours, all[i].theirs} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// TestPostconfSweep runs generated command lines with both and compares all that
// they write.
func TestPostconfSweep(t *testing.T) {
	t.Parallel()
	root := os.Getenv("POSTROAD_CORPUS")
	if root == "" {
		root = postconfCases
	}
	g := newPCGenerator(t, root)
	dirs := newPCDirs(t)
	var mu sync.Mutex
	same, shown, skipped := 0, 0, 0
	installed, changed := *theirPostconf == debianPostconf, changedDefaults(t)
	spread(len(dirs), *pcFirst, *pcRuns, func(worker int, n uint64) {
		c := g.run(n)
		got, want := c.runOurs(t, dirs[worker].ours), c.runTheirs(t, dirs[worker].theirs)
		mu.Lock()
		defer mu.Unlock()
		if c.apart() || installed && c.changedSince37(changed) || strings.Contains(want, hostNotFound) {
			skipped++
		} else if installed && like37(got) == like37(want) || got == want {
			same++
		} else if shown++; shown <= 40 {
			t.Errorf("run %d (%s): postconf %q\n%s", n, c.config, c.args, testkit.Parted(got, want))
			if *pcRuns == 1 {
				t.Logf("%s\n=====\n%s\n=====\n%s\n=====\n%s", c.main, c.master, got, want)
			}
		}
	})
	t.Logf("%d of %d runs agree; %d are not compared", same, *pcRuns-uint64(skipped), skipped)
	if same == 0 {
		t.Error("nothing was compared")
	}
}

// pcRecord makes TestPostconfRecord write what Postfix 3.11 does.
var pcRecord = flag.Bool("record", false, "record what the postconf given with -postconf does")

// TestPostconfRecord writes the files of TestPostconfRelease and
// TestPostconfDefaults when it is told to. A run that we do in another way on
// purpose is recorded as "-".
func TestPostconfRecord(t *testing.T) {
	if !*pcRecord {
		return
	}
	g := newPCGenerator(t, postconfCases)
	dirs, base := newPCDirs(t), t.TempDir()
	lines := make([]string, pcRelease)
	spread(len(dirs), 0, pcRelease, func(worker int, n uint64) {
		c := g.run(n)
		lines[n] = "-"
		want := c.runTheirs(t, dirs[worker].theirs)
		if !c.ofHost() && !strings.Contains(want, hostNotFound) {
			lines[n] = digest(want)
		}
	})
	if err := os.WriteFile("testdata/postconf/release.txt", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := pcCase{}
	empty.write(t, base)
	out, err := exec.Command(*theirPostconf, "-c", base, "-d").Output()
	if err == nil {
		err = os.WriteFile("testdata/postconf/defaults.txt", out, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
