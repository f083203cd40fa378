//go:build oracle

package filters

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// local is one letter of a local user in front of a scripted filter.
type local struct {
	name   string
	script testkit.MilterScript
	args   []string
	text   string
	// waits tells that the letter stays where it is.
	waits bool
}

func localCases() []local {
	to, in := []string{"-f", "a@b.test", "joe@d.test"}, "Date: Fri, 1 Jan 2021 00:00:00 +0000\nMessage-ID: <fixed@b.test>\nSubject: local\nFrom: a@b.test\nTo: joe@d.test\n\nhello\n"
	cases := []local{
		{name: "plain", args: to, text: in},
		{name: "null sender", args: []string{"-f", "", "joe@d.test"}, text: in},
		{name: "recipients of the header", args: []string{"-t", "-f", "a@b.test"}, text: "Bcc: hidden@d.test\n" + in},
		{name: "several, and an alias", args: []string{"-f", "a b@b.test", "list@v.test", "x@d.test"}, text: in},
		{name: "without rcpt and connect", script: script{Events: 1<<0 | 1<<3}, args: to, text: in},
		{name: "edits", script: at("eom", "insertheader 1 A: b\naddrcpt <new@d.test>\nchangefrom <z@b.test>\nreplacebody new\\n\ncontinue"), args: to, text: in},
		{name: "discard", script: at("eom", "discard"), args: to, text: in},
		{name: "accept at connect", script: at("connect", "accept"), args: to, text: in},
	}
	for _, event := range []string{"connect", "helo", "mail", "data", "header", "eom"} {
		cases = append(cases, local{name: event + " reject", script: at(event, "reject"), args: to, text: in},
			local{name: event + " own words", script: at(event, "reply 554 5.7.6 no such luck"), args: to, text: in})
	}
	cases = append(cases, local{name: "eom tempfail", script: at("eom", "tempfail"), args: to, text: in, waits: true},
		local{name: "rcpt reject", script: at("rcpt", "reject"), args: to, text: in, waits: true},
		local{name: "connect close", script: at("connect", "close"), args: to, text: in, waits: true})
	// A cleanup(8) of Postfix remembers these lists beyond the message: it comes last.
	return append(cases,
		local{name: "macros", script: script{Macros: []testkit.MilterMacros{{Stage: 0, Names: "j _ {client_addr} {client_name} {client_ptr} {client_port} {daemon_addr} {daemon_port} v {daemon_name} {client_resolve}"},
			{Stage: 2, Names: "i {mail_addr} {mail_host} {auth_type}"}, {Stage: 3, Names: "i {rcpt_addr} {mail_addr} {rcpt_host}"}, {Stage: 5, Names: "i {mail_addr} {rcpt_addr}"}}}, args: to, text: in},
	)
}

// TestLocal compares what becomes of local mail.
func TestLocal(t *testing.T) {
	cases := localCases()
	results := map[string]*[]outcome{"postfix": {}, "postroad": {}}
	ports := testkit.FreePorts(t, 2)
	t.Run("send", func(t *testing.T) {
		for i, name := range []string{"postfix", "postroad"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				*results[name] = sendAll(t, name, cases, ports[i])
			})
		}
	})
	if t.Failed() {
		return
	}
	same := 0
	for i, c := range cases {
		if compare(t, c.name, (*results["postfix"])[i], (*results["postroad"])[i]) {
			same++
		}
	}
	t.Logf("%d of %d cases agree", same, len(cases))
}

func sendAll(t *testing.T, name string, cases []local, port int) []outcome {
	t.Helper()
	m, err := testkit.StartMilter("tcp", "127.0.0.1:0", testkit.MilterScript{})
	must(t, err)
	s := startServer(t, name, "milter_default_action = tempfail\nnon_smtpd_milters = "+m.Addr()+"\n", []service{{port: port, settings: []string{"smtpd_milters ="}}})
	var out []outcome
	for i := range cases {
		out = append(out, s.send(t, &cases[i], m))
	}
	must(t, m.Close())
	return out
}

// send hands a letter to sendmail and collects what becomes of it.
func (s *server) send(t *testing.T, c *local, m *testkit.Milter) outcome {
	t.Helper()
	m.Script = c.script
	m.Forget()
	before, logged := len(s.sink.Messages()), len(s.Log(0))
	cmd := exec.Command(s.Command("sendmail"), append([]string{"-C", filepath.Join(s.Dir, "etc"), "-i"}, c.args...)...)
	cmd.Stdin = strings.NewReader(c.text)
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+filepath.Join(s.Dir, "etc"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", c.name, err, out)
	}
	done := func() bool {
		return strings.Contains(s.Log(logged), "removed") || strings.Contains(s.Log(logged), "milter-discard")
	}
	if c.waits {
		done = func() bool { return strings.Contains(s.Log(logged), "milter-reject") }
	}
	if !wait(t, 5*time.Second, done) {
		t.Errorf("%s: %s: nothing happens\n%s", s.Name, c.name, s.Log(logged))
	}
	if c.waits {
		s.empty(t)
	}
	wait(t, time.Second, func() bool { return len(s.sink.Messages()) > before && quiet(m) })
	// Lines about a report of this message would count as the next one's.
	if !wait(t, 5*time.Second, func() bool {
		return strings.Count(s.Log(0), "(queue active)") == strings.Count(s.Log(0), ": removed\n")
	}) {
		t.Errorf("%s: %s: it stays in the queue\n%s", s.Name, c.name, s.Log(logged))
	}
	var mail []string
	for _, got := range s.sink.Messages()[before:] {
		text := received.ReplaceAllString(got.Data, "Received: RECEIVED\r\n$1")
		if strings.HasPrefix(got.Mail, "FROM:<>") && strings.Contains(text, "Undelivered") {
			text = "a report" // its words are our own
		}
		mail = append(mail, sizes.ReplaceAllString(got.Mail, "")+" "+strings.Join(slices.Sorted(slices.Values(got.Rcpts)), " ")+"\n"+text)
	}
	saw, log := m.Log(), milterLines(s.Log(logged))
	if c.waits { // it may be tried again before it is removed
		saw = slices.DeleteFunc(saw, func(line string) bool { return !strings.HasPrefix(line, "1 ") })
		log, _, _ = strings.Cut(log, "\n")
	}
	return outcome{
		filterA: munge(strings.Join(saw, "\n")), delivered: munge(strings.Join(mail, "\n")), log: strings.TrimSpace(log),
	}
}

// empty removes what waits in the maildrop.
func (s *server) empty(t *testing.T) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Dir, "spool/maildrop/*"))
	must(t, err)
	if len(names) == 0 {
		t.Errorf("%s: nothing waits", s.Name)
	}
	for _, name := range names {
		must(t, os.Remove(name))
	}
}
