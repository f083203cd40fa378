//go:build oracle

package rewrite

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit/mailkit"
)

// TestOracle asks the trivial-rewrite(8) of an installed Postfix all questions
// of the cases. It needs root, and fails where there is no Postfix.
func TestOracle(t *testing.T) {
	cases := readCases(t)
	dir := startOracle(t, cases)
	steps := 0
	var warnings []string
	for i, c := range cases {
		e, rec := build(t, c.sets...)
		socket := filepath.Join(dir, "spool/private", fmt.Sprintf("rewrite%d", i))
		for j, step := range c.steps {
			if strings.HasPrefix(step, "header ") {
				continue // cleanup(8) does that
			}
			steps++
			want, ours := askPostfix(t, socket, step), ask(t, e, step)
			if theirs, ok := c.theirs[j]; ok {
				ours = theirs
			}
			if ours != want {
				t.Errorf("case %s, %s\nours    %s\nPostfix %s", c.name, step, ours, want)
			}
		}
		warnings = append(warnings, twice(rec.Take())...)
	}
	time.Sleep(200 * time.Millisecond) // the log daemon may be behind
	text, err := os.ReadFile(filepath.Join(dir, "log"))
	must(t, err)
	theirs := twice(strings.Split(string(text), "\n"))
	if strings.Join(warnings, "\n") != strings.Join(theirs, "\n") {
		t.Errorf("warnings\nours\n%s\nPostfix\n%s", strings.Join(warnings, "\n"), strings.Join(theirs, "\n"))
	}
	t.Logf("%d cases with %d answers compared", len(cases), steps)
}

// twice keeps the warnings about domains that are listed twice.
func twice(lines []string) []string {
	var out []string
	for _, line := range lines {
		if i := strings.Index(line, "warning: do not list"); i >= 0 {
			out = append(out, line[i:])
		}
	}
	return out
}

// startOracle starts a private Postfix with one trivial-rewrite service per
// case.
func startOracle(t *testing.T, cases []*testCase) string {
	t.Helper()
	s := mailkit.New(t, mailkit.Postfix, mailkit.Programs{})
	base, err := os.ReadFile("testdata/cases/base.cf")
	must(t, err)
	var b strings.Builder
	b.WriteString("postlog unix-dgram n - n - 1 postlogd\nproxymap unix - - n - - proxymap\n")
	for i, c := range cases {
		fmt.Fprintf(&b, "rewrite%d unix - - n - 1 trivial-rewrite\n", i)
		for _, s := range c.sets {
			fmt.Fprintf(&b, "  -o { %s = %s }\n", s[0], s[1])
		}
	}
	s.Start(string(base), b.String(), "unix", filepath.Join(s.Dir, "spool/private/rewrite0"))
	return s.Dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// askPostfix answers one step.
func askPostfix(t *testing.T, socket, step string) string {
	t.Helper()
	word, arg, _ := strings.Cut(step, " ")
	if word != "resolve" {
		r := request(t, socket, "request", "rewrite", "rule", word, "address", arg)
		if r["address"] == "" {
			return `""`
		}
		return r["address"]
	}
	sender, rcpt, _ := strings.Cut(arg, " ")
	if sender == "-" {
		sender = ""
	}
	r := request(t, socket, "request", "resolve", "sender", sender, "address", rcpt)
	flags, err := strconv.Atoi(r["flags"])
	must(t, err)
	const routed, invalid, failed = 2, 4, 8
	switch {
	case flags&failed != 0:
		return "try later"
	case flags&invalid != 0:
		return "invalid"
	}
	out := fmt.Sprintf("%s:%s for %s, %s", r["transport"], r["nexthop"], r["recipient"], map[int]string{
		256: "local", 512: "virtual alias", 1024: "virtual mailbox", 2048: "relay", 4096: "default",
	}[flags&^0xff])
	if flags&routed != 0 {
		out += ", routed"
	}
	return out
}

// request speaks Postfix's attribute protocol: names and values that end in a
// NUL, and an empty name at the end.
func request(t *testing.T, socket string, attrs ...string) map[string]string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	r := bufio.NewReader(conn)
	readAttrs(t, r) // the name of the protocol
	_, err = conn.Write([]byte(strings.Join(attrs, "\x00") + "\x00\x00"))
	must(t, err)
	return readAttrs(t, r)
}

func readAttrs(t *testing.T, r *bufio.Reader) map[string]string {
	t.Helper()
	out := map[string]string{}
	for {
		name, err := r.ReadString(0)
		must(t, err)
		if name == "\x00" {
			return out
		}
		value, err := r.ReadString(0)
		must(t, err)
		out[strings.TrimSuffix(name, "\x00")] = strings.TrimSuffix(value, "\x00")
	}
}
