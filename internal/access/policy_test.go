package access

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// policyCase is one case of testdata/policy/*.txt: parameters and what a client
// does.
//
//	case NAME
//	set PARAMETER = VALUE
//	client NAME ADDRESS [REVERSENAME]    a new session from there
//	login USER                           a new session of a known user
//	helo NAME, mail ADDR, rcpt ADDR, data, eod, vrfy ADDR, etrn DOMAIN
//	actions                              shows what is to be done to the message
//	theirs REPLY                         what Postfix answers to the last step instead
//	theirs37 REPLY                       what Postfix 3.7 answers, where 3.11 is with us
type policyCase struct {
	name  string
	sets  [][2]string
	steps []string
	// theirs has the reply of Postfix by the index of a step, where it is
	// not ours; theirs37 that of an old one.
	theirs, theirs37 map[int]string
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
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// readCases reads a file of cases.
func readCases(t *testing.T, path string) []*policyCase {
	t.Helper()
	var cases []*policyCase
	for _, line := range readLines(t, path) {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "case":
			cases = append(cases, &policyCase{name: rest, theirs: map[int]string{}, theirs37: map[int]string{}})
		case "theirs":
			c := cases[len(cases)-1]
			c.theirs[len(c.steps)-1] = rest
		case "theirs37":
			c := cases[len(cases)-1]
			c.theirs37[len(c.steps)-1] = rest
		case "set":
			c := cases[len(cases)-1]
			c.sets = append(c.sets, cutSetting(rest))
		default:
			c := cases[len(cases)-1]
			c.steps = append(c.steps, line)
		}
	}
	return cases
}

func cutSetting(line string) [2]string {
	name, value, _ := strings.Cut(line, "=")
	return [2]string{strings.TrimSpace(name), strings.TrimSpace(value)}
}

// baseView is the configuration that all cases have in common.
func baseView(t testing.TB) *postconf.View {
	t.Helper()
	v := postconf.Defaults()
	for _, line := range readLines(t, "testdata/policy/base.cf") {
		s := cutSetting(line)
		v = v.With(s[0], s[1])
	}
	return v
}

// caseContent is what the step "eod" sends.
const caseContent = "Subject: test\r\n\r\n"

// build makes an Engine and its log.
func build(t testing.TB, v *postconf.View, resolver Resolver) (*Engine, []postconf.Problem, *eventtest.Journal) {
	t.Helper()
	rec := &eventtest.Journal{}
	log := event.NewLogger(rec, "postfix/smtpd", 1)
	tables := table.NewSet(table.Options{Warn: log.Warnf})
	t.Cleanup(func() {
		if err := tables.Close(); err != nil {
			t.Error(err)
		}
	})
	rw, problems := rewrite.New(v, tables, log)
	for _, p := range problems {
		t.Errorf("rewrite: %v", p)
	}
	e, problems := New(v, Deps{Tables: tables, Rewrite: rw, DNS: resolver, Log: log})
	return e, problems, rec
}

// player is one client that goes through the steps of a case, with just enough
// of smtpd(8) around the Checker.
type player struct {
	t       *testing.T
	e       *Engine
	rec     *eventtest.Journal
	out     *strings.Builder
	checker *Checker
	session mail.Session
	req     Request
	open    bool // a MAIL was accepted
}

// begin starts a new session of the same peer.
func (p *player) begin() {
	p.checker = p.e.Begin()
	p.session.Helo, p.session.ESMTP = "", false
	p.req = Request{Session: &p.session, Log: event.NewLogger(p.rec, "postfix/smtpd", 1)}
	p.open = false
}

// show writes the answer to a step and what was logged meanwhile.
func (p *player) show(step string, v mail.Verdict) bool {
	fmt.Fprintf(p.out, "%s\n", step)
	reply := "ok"
	good := v.Action == mail.Dunno || v.Action == mail.Permit || v.Action == mail.Discard
	if !good {
		reply = v.Status.String()
	}
	fmt.Fprintf(p.out, "  = %s\n", reply)
	if v.Action != mail.Dunno {
		fmt.Fprintf(p.out, "  by %s, %s %d", v.Rule, v.List, v.Index)
		if v.Key != "" {
			fmt.Fprintf(p.out, ", key %q", v.Key)
		}
		p.out.WriteByte('\n')
		if v.Rule == "" || v.List == "" {
			p.t.Errorf("%s: verdict %+v names no rule", step, v)
		}
	}
	for _, line := range p.rec.Take() {
		fmt.Fprintf(p.out, "  log %s\n", line)
	}
	return good
}

func (p *player) play(step string) {
	ctx := p.t.Context()
	word, arg, _ := strings.Cut(step, " ")
	p.req.Stage, p.req.ETRNDomain = "", ""
	switch word {
	case "client":
		p.client(strings.Fields(arg))
		p.begin()
		p.show(step, p.checker.Client(ctx, &p.req))
	case "login":
		p.session.SASL = &mail.SASL{Method: "XCLIENT", Username: arg}
		p.begin()
		p.show(step, p.checker.Client(ctx, &p.req))
	case "helo":
		p.reset()
		p.req.Helo, p.req.Stage = arg, "HELO"
		if !p.show(step, p.checker.Helo(ctx, &p.req)) {
			arg = ""
		}
		p.req.Helo, p.session.Helo = arg, arg
	case "mail":
		p.reset()
		p.req.Sender, p.req.HasSender = rewrite.ParsePath(arg).Addr, true
		p.open = p.show(step, p.checker.Sender(ctx, &p.req))
	case "rcpt", "vrfy":
		p.recipient(ctx, step, word, rewrite.ParsePath(arg).Addr)
	case "data":
		p.onlyRecipient()
		p.show(step, p.checker.Data(ctx, &p.req))
	case "eod":
		p.onlyRecipient()
		p.req.Size = int64(len(caseContent))
		p.show(step, p.checker.EndOfData(ctx, &p.req))
		p.req.HasSender, p.open = false, false
	case "etrn":
		p.reset()
		p.req.ETRNDomain = arg
		p.show(step, p.checker.Etrn(ctx, &p.req))
	case "actions":
		a := p.checker.Actions()
		fmt.Fprintf(p.out, "actions\n  hold=%t discard=%t filter=%q redirect=%q bcc=%q prepend=%q\n",
			a.Hold, a.Discard, a.Filter, a.Redirect, a.BCC, a.Prepend)
	default:
		p.t.Fatalf("no such step: %s", step)
	}
}

// reset is RSET.
func (p *player) reset() {
	p.checker.ResetTransaction()
	p.req.Sender, p.req.HasSender, p.req.Recipient, p.req.RcptCount, p.open = "", false, "", 0, false
	p.req.Size = 0
}

// onlyRecipient keeps the recipient when there is just one.
func (p *player) onlyRecipient() {
	if p.req.RcptCount != 1 {
		p.req.Recipient = ""
	}
}

func (p *player) recipient(ctx context.Context, step, word string, addr mail.Address) {
	kept := p.req.Recipient
	p.req.Recipient = addr
	if word == "vrfy" {
		p.show(step, p.checker.Vrfy(ctx, &p.req))
		p.req.Recipient = ""
		return
	}
	if !p.open {
		p.t.Errorf("%s without mail", step)
	}
	if p.show(step, p.checker.Recipient(ctx, &p.req)) {
		p.req.RcptCount++
		return
	}
	p.req.Recipient = kept
}

// client sets the peer as XCLIENT does.
func (p *player) client(words []string) {
	peer := mail.Peer{Name: words[0], Addr: netip.MustParseAddr(words[1])}
	peer.ReverseName = peer.Name
	if len(words) > 2 {
		peer.ReverseName = words[2]
	}
	peer.NameStatus = xclientStatus(&peer.Name)
	peer.ReverseStatus = xclientStatus(&peer.ReverseName)
	p.session = mail.Session{Client: peer}
}

func xclientStatus(name *string) mail.NameStatus {
	switch *name {
	case "[UNAVAILABLE]":
		*name = "unknown"
		return mail.NameUnknown
	case "[TEMPUNAVAIL]":
		*name = "unknown"
		return mail.NameTempFail
	}
	return mail.NameOK
}

// startDNS serves the zone of the cases.
func startDNS(t *testing.T) *dns.Resolver {
	t.Helper()
	zone, err := os.ReadFile("testdata/policy/zone.txt")
	if err != nil {
		t.Fatal(err)
	}
	server, err := testkit.StartDNS("", string(zone))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return dns.New(dns.Config{Servers: []netip.AddrPort{netip.MustParseAddrPort(server.Addr)}, Attempts: 1})
}

// transcript plays one case.
func transcript(t *testing.T, c *policyCase, base *postconf.View, resolver Resolver) string {
	t.Helper()
	v := base
	for _, s := range c.sets {
		v = v.With(s[0], s[1])
	}
	e, problems, rec := build(t, v, resolver)
	var out strings.Builder
	fmt.Fprintf(&out, "case %s\n", c.name)
	for _, p := range problems {
		fmt.Fprintf(&out, "problem fatal=%t %s\n", p.Fatal, strings.TrimPrefix(p.Error(), "command line: "))
	}
	for _, line := range rec.Take() {
		fmt.Fprintf(&out, "log %s\n", line)
	}
	p := &player{t: t, e: e, rec: rec, out: &out}
	for _, step := range c.steps {
		p.play(step)
	}
	out.WriteByte('\n')
	return out.String()
}

// policyFiles lists the files of cases.
func policyFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/policy/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		if name := filepath.Base(f); name != "zone.txt" && name != "answers.txt" {
			out = append(out, f)
		}
	}
	return out
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	base, resolver := baseView(t), startDNS(t)
	for _, file := range policyFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var out strings.Builder
			for _, c := range readCases(t, file) {
				out.WriteString(transcript(t, c, base, resolver))
			}
			testkit.Golden(t, strings.TrimSuffix(file, ".txt")+".golden", out.String(), *update)
		})
	}
}
