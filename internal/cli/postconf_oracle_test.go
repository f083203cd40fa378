//go:build oracle

package cli

import (
	"bytes"
	"errors"
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
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(*theirPostconf, append([]string{"-c", dir}, c.args...)...)
	cmd.Args[0] = "postconf"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/bin"}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	code := 0
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return c.result(t, dir, code, stdout.String(), stderr.String())
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
	base := t.TempDir()
	numbers := make(chan uint64)
	var wg sync.WaitGroup
	var mu sync.Mutex
	same, shown, skipped := 0, 0, 0
	installed, changed := *theirPostconf == debianPostconf, changedDefaults(t)
	for worker := range 24 { // Postfix waits a second before it ends with an error
		ours, theirs := filepath.Join(base, fmt.Sprintf("a%02d", worker)), filepath.Join(base, fmt.Sprintf("b%02d", worker))
		for _, dir := range []string{ours, theirs} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		// goroutine: ends when numbers is closed.
		wg.Go(func() {
			for n := range numbers {
				c := g.run(n)
				got, want := c.runOurs(t, ours), c.runTheirs(t, theirs)
				mu.Lock()
				if c.apart() || installed && c.changedSince37(changed) {
					skipped++
				} else if installed && like37(got) == like37(want) || got == want || strings.Contains(want, hostNotFound) {
					same++
				} else if shown++; shown <= 40 {
					t.Errorf("run %d (%s): postconf %q\n%s", n, c.config, c.args, firstDifference(got, want))
					if *pcRuns == 1 {
						t.Logf("%s\n=====\n%s\n=====\n%s\n=====\n%s", c.main, c.master, got, want)
					}
				}
				mu.Unlock()
			}
		})
	}
	for n := range *pcRuns {
		numbers <- *pcFirst + n
	}
	close(numbers)
	wg.Wait()
	t.Logf("%d of %d runs agree; %d are not compared", same, *pcRuns-uint64(skipped), skipped)
	if same == 0 {
		t.Error("nothing was compared")
	}
}

// firstDifference shows where two texts part.
func firstDifference(got, want string) string {
	g, w := bytes.Split([]byte(got), []byte("\n")), bytes.Split([]byte(want), []byte("\n"))
	for i := range max(len(g), len(w)) {
		var a, b []byte
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if !bytes.Equal(a, b) || i >= len(g) || i >= len(w) {
			return fmt.Sprintf("got  %q\nwant %q", bytes.Join(g[max(0, i-1):min(len(g), i+2)], []byte("\n")), bytes.Join(w[max(0, i-1):min(len(w), i+2)], []byte("\n")))
		}
	}
	return "the same"
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
	base := t.TempDir()
	lines := make([]string, pcRelease)
	var wg sync.WaitGroup
	for worker := range 24 {
		ours, theirs := filepath.Join(base, fmt.Sprintf("a%02d", worker)), filepath.Join(base, fmt.Sprintf("b%02d", worker))
		for _, dir := range []string{ours, theirs} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		// goroutine: ends when it has done its share of the runs.
		wg.Go(func() {
			for n := uint64(worker); n < pcRelease; n += 24 {
				c := g.run(n)
				lines[n] = "-"
				want := c.runTheirs(t, theirs)
				if !c.ofHost() && !strings.Contains(want, hostNotFound) {
					lines[n] = digest(want)
				}
			}
		})
	}
	wg.Wait()
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
