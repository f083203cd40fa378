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
	"strings"
	"sync"
	"testing"
)

// The larger form: -args -postconf PATH -runs 20000.
var (
	theirPostconf = flag.String("postconf", "/usr/sbin/postconf", "the postconf to compare with")
	pcRuns        = flag.Uint64("runs", 600, "generated runs of postconf")
	pcFirst       = flag.Uint64("first", 0, "number of the first run")
)

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
	same, shown := 0, 0
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
				if got == want || strings.Contains(want, hostNotFound) {
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
	t.Logf("%d of %d runs agree", same, *pcRuns)
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
