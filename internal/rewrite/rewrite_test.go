package rewrite

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
	"postroad/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testCase is one case of testdata/cases/cases.txt: parameters and questions.
//
//	case NAME
//	set PARAMETER = VALUE
//	local ADDR, remote ADDR    rewrites an address in external form
//	header VALUE               rewrites the addresses of a header
//	resolve SENDER RCPT        resolves; "-" is the null sender
//	theirs ANSWER              what Postfix 3.7 says to the last step instead
type testCase struct {
	name   string
	sets   [][2]string
	steps  []string
	theirs map[int]string
}

// readLines returns the lines of a file that are not empty and no comment.
func readLines(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

func cutSetting(line string) [2]string {
	name, value, _ := strings.Cut(line, "=")
	return [2]string{strings.TrimSpace(name), strings.TrimSpace(value)}
}

func readCases(t testing.TB) []*testCase {
	t.Helper()
	var cases []*testCase
	for _, line := range readLines(t, "testdata/cases/cases.txt") {
		word, rest, _ := strings.Cut(line, " ")
		if word == "case" {
			cases = append(cases, &testCase{name: rest, theirs: map[int]string{}})
			continue
		}
		c := cases[len(cases)-1]
		switch word {
		case "set":
			c.sets = append(c.sets, cutSetting(rest))
		case "theirs":
			c.theirs[len(c.steps)-1] = rest
		default:
			c.steps = append(c.steps, line)
		}
	}
	return cases
}

// view is the common configuration with the settings of a case.
func view(t testing.TB, sets [][2]string) *postconf.View {
	t.Helper()
	v := postconf.Defaults()
	for _, line := range readLines(t, "testdata/cases/base.cf") {
		s := cutSetting(line)
		v = v.With(s[0], s[1])
	}
	for _, s := range sets {
		v = v.With(s[0], s[1])
	}
	return v
}

// build makes an Engine of the common configuration with settings.
func build(t testing.TB, sets ...[2]string) (*Engine, *eventtest.Journal) {
	t.Helper()
	rec := &eventtest.Journal{}
	log := event.NewLogger(rec, "postfix/trivial-rewrite", 1)
	tables := table.NewSet(table.Options{UTF8: true, Warn: log.Warnf})
	t.Cleanup(func() {
		if err := tables.Close(); err != nil {
			t.Error(err)
		}
	})
	e, problems := New(view(t, sets), tables, log)
	for _, p := range problems {
		t.Errorf("problem: %v", p)
	}
	return e, rec
}

// ask answers one step.
func ask(t testing.TB, e *Engine, step string) string {
	t.Helper()
	word, arg, _ := strings.Cut(step, " ")
	switch word {
	case "local", "remote":
		context := Local
		if word == "remote" {
			context = Remote
		}
		addr, _ := parseSpec(arg)
		out := e.Rewrite(context, string(addr)).External()
		if out == "" {
			return `""`
		}
		return out
	case "header":
		out, err := RewriteHeader(arg, func(a mail.Address) (mail.Address, error) { return e.Rewrite(Local, string(a)), nil })
		if err != nil {
			t.Fatal(err)
		}
		return out
	case "resolve":
		sender, rcpt, _ := strings.Cut(arg, " ")
		if sender == "-" {
			sender = ""
		}
		r, err := e.Lookup(t.Context(), mail.Address(sender), mail.Address(rcpt))
		if err != nil {
			return "try later"
		}
		return describe(r)
	}
	t.Fatalf("no such step: %s", step)
	return ""
}

func describe(r Resolution) string {
	if r.Invalid {
		return "invalid"
	}
	out := fmt.Sprintf("%s:%s for %s, %s", r.Transport, r.Nexthop, r.Recipient, r.Class)
	if r.Routed {
		out += ", routed"
	}
	return out
}

func TestCases(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range readCases(t) {
		e, rec := build(t, c.sets...)
		fmt.Fprintf(&out, "case %s\n", c.name)
		for _, step := range c.steps {
			fmt.Fprintf(&out, "%s\n  = %s\n", step, ask(t, e, step))
			for _, line := range rec.Take() {
				fmt.Fprintf(&out, "  log %s\n", line)
			}
		}
		out.WriteByte('\n')
	}
	testkit.Golden(t, "testdata/cases/cases.golden", out.String(), *update)
}
