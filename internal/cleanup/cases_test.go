package cleanup

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/testkit"
	"postroad/internal/wire"
)

// testCase is one file of testdata/cases: settings, an envelope, a text, and what
// cleanup(8) of Postfix made of them.
type testCase struct {
	name, path string
	archive    *testkit.Archive
	sets       [][2]string
	origin     mail.Origin
	local      bool
	noMap      bool
	noChecks   bool
	fullName   string
	sender     mail.Address
	rcpts      []mail.Recipient
	// lines are the content without line ends.
	lines []string
	// want is what Postfix does; ours is the same unless the file has a reason,
	// in its comment, and a section "ours".
	want, ours string
}

// readCases reads all cases.
func readCases(t testing.TB) []*testCase {
	t.Helper()
	paths, err := filepath.Glob("testdata/cases/*.case")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var out []*testCase
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		a, err := testkit.ParseArchive(string(raw))
		if err != nil {
			t.Fatal(err)
		}
		c := &testCase{name: strings.TrimSuffix(filepath.Base(path), ".case"), path: path, archive: a, local: true}
		c.parse(t)
		out = append(out, c)
	}
	return out
}

func (c *testCase) parse(t testing.TB) {
	t.Helper()
	set, _ := c.archive.Find("set")
	for line := range strings.SplitSeq(strings.TrimSpace(set.Text), "\n") {
		if name, value, ok := strings.Cut(line, " = "); ok {
			c.sets = append(c.sets, [2]string{name, value})
		}
	}
	env, _ := c.archive.Find("mail")
	for line := range strings.SplitSeq(strings.TrimSpace(env.Text), "\n") {
		word, arg, _ := strings.Cut(line, " ")
		switch word {
		case "origin":
			c.origin = map[string]mail.Origin{"smtp": mail.OriginSMTP, "local": mail.OriginLocal, "internal": mail.OriginInternal}[arg]
		case "remote":
			c.local = false
		case "nomap":
			c.noMap = true
		case "nochecks":
			c.noChecks = true
		case "name":
			c.fullName = arg
		case "from":
			c.sender = mail.Address(strings.Trim(arg, "<>"))
		case "to":
			addr, notify, _ := strings.Cut(arg, " notify=")
			n, _ := strconv.Atoi(notify)
			c.rcpts = append(c.rcpts, mail.Recipient{Address: mail.Address(addr), Notify: mail.Notify(n)})
		default:
			t.Fatalf("%s: unknown word %q", c.path, word)
		}
	}
	text, _ := c.archive.Find("text")
	for line := range strings.Lines(text.Text) {
		c.lines = append(c.lines, unescapeLine(t, strings.TrimSuffix(line, "\n")))
	}
	want, _ := c.archive.Find("postfix")
	c.want, c.ours = want.Text, want.Text
	if ours, differs := c.archive.Find("ours"); differs {
		c.ours = ours.Text
	}
}

// repeated is {text*count} in a case.
var repeated = regexp.MustCompile(`\{([^{}*]+)\*([0-9]+)\}`)

// unescapeLine reads backslash escapes and repetitions of a line.
func unescapeLine(t testing.TB, line string) string {
	t.Helper()
	line = repeated.ReplaceAllStringFunc(line, func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		return strings.Repeat(m[1], n)
	})
	return escape.ReplaceAllStringFunc(line, func(s string) string {
		switch s[1] {
		case 'r':
			return "\r"
		case 't':
			return "\t"
		case '\\':
			return `\`
		}
		n, err := strconv.ParseUint(s[2:], 16, 8)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return string([]byte{byte(n)})
	})
}

// escape is a backslash escape of a case; any other backslash is itself.
var escape = regexp.MustCompile(`\\(x[0-9a-f]{2}|r|t|\\)`)

// baseConfig is what all cases have in common.
const baseConfig = `compatibility_level = 3.6
myhostname = mx.example.com
mydomain = example.com
myorigin = example.com
mydestination = example.com
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
recipient_delimiter = +
append_dot_mydomain = yes
`

// serviceFor builds a cleanup from settings.
func serviceFor(t testing.TB, config string, spool Spool, sink event.Sink) *Service {
	t.Helper()
	cfg, problems := postconf.Parse("/etc/postfix", []byte(config), nil, postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	view := cfg.View(nil)
	log := event.NewLogger(sink, "postfix/cleanup", 1)
	tables := table.NewSet(table.Options{Warn: log.Warnf})
	t.Cleanup(func() { _ = tables.Close() })
	router, problems := rewrite.New(view, tables, log)
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	s, problems := New(view, Deps{Tables: tables, Rewrite: router, Spool: spool, Log: log})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	return s
}

// arrived is the time of all cases.
var arrived = time.Unix(1_700_000_000, 0).UTC()

// ask sends the case through our cleanup and says what became of it.
func (c *testCase) ask(t testing.TB) string {
	t.Helper()
	var config strings.Builder
	config.WriteString(baseConfig)
	for _, s := range c.sets {
		fmt.Fprintf(&config, "%s = %s\n", s[0], s[1])
	}
	p, log := &paper{}, &eventtest.Journal{}
	s := serviceFor(t, config.String(), p, log)
	opt := Options{Origin: c.origin, FullName: c.fullName, Arrived: arrived, NoAddressMappings: c.noMap, NoHeaderBodyChecks: c.noChecks}
	if !c.local {
		opt.Context = rewrite.Remote
	}
	if c.origin == mail.OriginSMTP {
		opt.Session = &mail.Session{Client: mail.Peer{Name: "client.test", Addr: netip.MustParseAddr("192.0.2.9")}, Helo: "helo.test", ESMTP: true}
	}
	m, err := s.Begin(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	m.SetSender(c.sender, SenderParams{})
	for _, r := range c.rcpts {
		m.AddRecipient(r)
	}
	if _, err := m.Write([]byte(strings.Join(c.lines, "\r\n") + "\r\n")); err != nil {
		t.Fatal(err)
	}
	m.Finish(context.Background())
	return c.describe(m, p, log)
}

// describe writes down the outcome in the form that TestOracle gives Postfix's.
func (c *testCase) describe(m *Message, p *paper, log *eventtest.Journal) string {
	var b strings.Builder
	b.WriteString("status" + faultNames(m.faults))
	if m.faults&(faultDefer|faultContent) != 0 {
		b.WriteString(": " + m.reason)
	}
	b.WriteString("\n")
	for _, line := range log.Lines() {
		line = strings.TrimSuffix(line, ": Application error")          // Postfix of later years says it
		if line = munge(line); !strings.Contains(line, ": removed (") { // Postfix 3.10 is the first to say so
			b.WriteString("log " + line + "\n")
		}
	}
	if p.env == nil {
		return b.String()
	}
	e := p.env
	fmt.Fprintf(&b, "from %s\n", e.Sender)
	for _, r := range e.Recipients {
		kind, text, _ := strings.Cut(r.ORCPT, ";")
		plain, _ := wire.DecodeXtext(text)
		orcpt := kind
		if r.ORCPT != "" {
			orcpt += ";" + plain
		}
		fmt.Fprintf(&b, "to %s, original %s, orcpt %s, notify %d\n", r.Address, r.Original, orcpt, r.Notify)
	}
	if e.FilterTransport != "" {
		fmt.Fprintf(&b, "filter %s:%s\n", e.FilterTransport, e.FilterNexthop)
	}
	if e.Redirect != "" {
		fmt.Fprintf(&b, "redirect %s\n", e.Redirect)
	}
	if e.Hold {
		b.WriteString("hold\n")
	}
	b.WriteString("\n")
	b.WriteString(printable(munge(strings.ReplaceAll(p.String(), "\r\n", "\n"))))
	return b.String()
}

// faultRows name the faults as the cases do.
var faultRows = []struct {
	fault fault
	name  string
}{
	{faultBad, "bad"}, {faultWrite, "write"}, {faultSize, "size"}, {faultContent, "content"}, {faultHops, "hops"},
	{faultRecipients, "recipients"}, {faultDefer, "defer"},
}

func faultNames(f fault) string {
	out := ""
	for _, row := range faultRows {
		if f&row.fault != 0 {
			out += " " + row.name
		}
	}
	if out == "" {
		return " ok"
	}
	return out
}

var (
	madeID   = regexp.MustCompile(`[0-9]{14}\.(QID|[0-9A-F]{9,})@`)
	queueIDs = regexp.MustCompile(`^(warning: )?(QID|[0-9A-F]{9,}): `)
	longRun  = regexp.MustCompile(`xxxxxxxxxx(x*)|yyyyyyyyyy(y*)|aaaaaaaaaa(a*)`)
)

// munge hides what differs from run to run.
func munge(s string) string {
	s = madeID.ReplaceAllString(s, "TIME.QID@")
	return queueIDs.ReplaceAllString(s, "${1}QID: ")
}

// printable keeps a case readable.
func printable(s string) string {
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '\n' || c == '\t' || c >= ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return longRun.ReplaceAllStringFunc(b.String(), func(run string) string {
		return fmt.Sprintf("{%c*%d}", run[0], len(run))
	})
}

// TestCases compares our answers with those of Postfix in the files.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, c := range readCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.ask(t); got != c.ours {
				t.Errorf("ours\n%s\nPostfix\n%s", got, c.ours)
			}
		})
	}
}
