//go:build oracle

package filters

import (
	"crypto/tls"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// scripted is one conversation in front of scripted filters.
type scripted struct {
	name string
	// settings are those of the service; %A and %B stand for the two filters.
	settings []string
	a, b     testkit.MilterScript
	// steps are the lines of the client; "DATA" is followed by text.
	steps []string
}

// late tells whether Debian's 3.7 answers a case otherwise than 3.11: it has other
// words for a quarantine, does not ask filters about unknown commands in the same
// way, and knows no shutdown as a default action or at the end of a message.
func (c *scripted) late() bool {
	stage, answer, _ := strings.Cut(c.name, " ")
	content := strings.Contains("header eoh body eom edit,", stage)
	return strings.Contains(c.name, "quarantine") || strings.Contains(c.name, "unknown") ||
		strings.HasSuffix(c.name, ", shutdown") || content && strings.HasSuffix(answer, "shutdown")
}

const text = "Date: Fri, 1 Jan 2021 00:00:00 +0000\r\nSubject: case\r\nFrom: <a@b.test>\r\nX-Two: 1\r\nx-two: 2\r\nX-Fold: one\r\n\ttwo\r\nMessage-ID: <fixed@b.test>\r\n\r\nline one\r\n..dot\r\n\r\nlast\r\n"

// letter are the steps of a whole message.
func letter(more ...string) []string {
	return append([]string{"EHLO c.test", "MAIL FROM:<a@b.test> SIZE=100", "RCPT TO:<joe@d.test>", "DATA"}, more...)
}

// at is a script with one answer.
func at(event, answer string) testkit.MilterScript {
	return testkit.MilterScript{Answers: map[string]string{event: answer}}
}

// outcome is all that is compared.
type outcome struct {
	filterA, filterB, replies, delivered, log string
}

var (
	queueIDs = regexp.MustCompile(`\b[0-9A-F]{9,}\b|\b[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{12,}\b`)
	ports    = regexp.MustCompile(`(127\.0\.0\.1\]?:)\d+`)
	dates    = regexp.MustCompile(`\w{3}, [ \d]\d \w{3} \d{4} [\d:]{8} \+0000 \(UTC\)`)
	connects = regexp.MustCompile(`(?m)(connect \S+ [46] )\d+`)
	received = regexp.MustCompile(`(?ms)^Received: .*?\r\n([^ \t])`)
	// limits are of our own; the second is what Postfix finds when it speaks to a
	// filter again that failed with the message before, which we do not do.
	limits = regexp.MustCompile(`(packet length: )\w+ > \w+`)
	broken = regexp.MustCompile(`(?m)^warning: milter \S+: can't read SMFIC_\w+ reply packet header: Broken pipe\n?`)
	reader = regexp.MustCompile(`milter8_read_data: left-over`)
	dport  = regexp.MustCompile(`(\{daemon_port\}=)\d+`)
	sizes  = regexp.MustCompile(`SIZE=\d+`)
)

// munge replaces what is different in every run.
func munge(s string) string {
	s = queueIDs.ReplaceAllString(s, "ID")
	s = dport.ReplaceAllString(limits.ReplaceAllString(s, "${1}N > N"), "${1}PORT")
	s = reader.ReplaceAllString(broken.ReplaceAllString(s, ""), "milter inet:127.0.0.1:PORT: left-over")
	s = strings.ReplaceAll(s, "250-CHUNKING\n250 REQUIRETLS\n", "250 CHUNKING\n") // 3.7 has none
	s = dates.ReplaceAllString(s, "DATE")
	s = connects.ReplaceAllString(s, "${1}PORT")
	return ports.ReplaceAllString(s, "${1}PORT")
}

// play goes through the steps and collects everything.
func (s *server) play(t *testing.T, c *scripted, port int, a, b *testkit.Milter) outcome {
	t.Helper()
	a.Script, b.Script = c.a, c.b
	a.Forget()
	b.Forget()
	before, logged := len(s.sink.Messages()), len(s.Log(0))
	replies := converse(t, port, c.steps)
	// The log says whether a message is delivered, and this is its last line.
	if !wait(t, 20*time.Second, func() bool { return strings.Contains(s.Log(logged), "disconnect from") }) {
		t.Errorf("%s: %s: the session does not end\n%s", s.Name, c.name, s.Log(logged))
	}
	expect := before
	if !strings.Contains(s.Log(logged), "milter-hold") && !strings.Contains(s.Log(logged), "milter-discard") && !strings.Contains(s.Log(logged), "header-hold") && !strings.Contains(s.Log(logged), "header-discard") {
		expect += strings.Count(replies, "queued as")
	}
	wait(t, 5*time.Second, func() bool { return len(s.sink.Messages()) >= expect })
	wait(t, 100*time.Millisecond, func() bool { return quiet(a) && quiet(b) })
	var mail []string
	for _, m := range s.sink.Messages()[before:] {
		mail = append(mail, fmt.Sprintf("MAIL %s RCPT %s\n%q\n", sizes.ReplaceAllString(m.Mail, "SIZE=N"), strings.Join(slices.Sorted(slices.Values(m.Rcpts)), " "),
			received.ReplaceAllString(m.Data, "Received: RECEIVED\r\n$1")))
	}
	slices.Sort(mail)
	return outcome{
		filterA: munge(saw(a)), filterB: munge(saw(b)), replies: munge(replies),
		delivered: munge(strings.Join(mail, "")), log: strings.TrimSpace(milterLines(s.Log(logged))),
	}
}

// saw is what a filter was told, one session after the other.
func saw(m *testkit.Milter) string {
	log := m.Log()
	slices.SortStableFunc(log, func(x, y string) int { return strings.Compare(strings.Fields(x)[0], strings.Fields(y)[0]) })
	return strings.Join(log, "\n")
}

// quiet tells whether every session of a filter has ended.
func quiet(m *testkit.Milter) bool {
	log := saw(m)
	return log == "" || strings.HasSuffix(log, "quit")
}

// milterLines are the log lines that filters cause.
func milterLines(log string) string {
	var out []string
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "ilter") || strings.Contains(line, "configuration /tmp") {
			continue
		}
		_, line, _ = strings.Cut(strings.TrimSpace(line), "]: ")
		if line = munge(line); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// converse sends the steps one by one and returns the replies.
func converse(t *testing.T, port int, steps []string) string {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	defer func() { _ = conn.Close() }()
	p := testkit.NewPlayer(conn, 20*time.Second)
	var out strings.Builder
	read := func() bool {
		r, err := p.Read()
		if err == nil { // how a connection ends depends on who is faster
			out.WriteString(r.String() + "\n")
		}
		return err == nil
	}
	if !read() {
		return out.String()
	}
	for i := 0; i < len(steps); i++ {
		fmt.Fprintf(&out, "> %.60s\n", steps[i])
		if err := p.Send(steps[i]); err != nil {
			break
		}
		size := out.Len()
		if !read() {
			break
		}
		if steps[i] == "STARTTLS" && strings.HasPrefix(out.String()[size:], "220") {
			p = testkit.NewPlayer(tls.Client(conn, &tls.Config{InsecureSkipVerify: true}), 20*time.Second) // a certificate of this test
		}
		if steps[i] == "DATA" {
			body := text
			if i+1 < len(steps) && strings.Contains(steps[i+1], "\r\n") {
				i++
				body = steps[i]
			}
			if strings.HasPrefix(out.String()[size:], "354") {
				must(t, p.SendData(body))
				if !read() {
					break
				}
			}
		}
	}
	if err := p.Send("QUIT"); err == nil {
		read()
	}
	return out.String()
}

// TestScripted plays every case to both servers.
func TestScripted(t *testing.T) {
	cases := chosen(t, scriptedCases())
	results := map[string]*[]outcome{"postfix": {}, "postroad": {}}
	ports := testkit.FreePorts(t, 2*(len(cases)+2))
	t.Run("play", func(t *testing.T) {
		for name, out := range results {
			own := ports[:len(cases)+2]
			ports = ports[len(own):]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				*out = playAll(t, name, cases, own)
			})
		}
	})
	if t.Failed() {
		return
	}
	same, skipped := 0, 0
	for i, c := range cases {
		if c.late() && *sbin == "" {
			skipped++
			continue
		}
		if compare(t, c.name, (*results["postfix"])[i], (*results["postroad"])[i]) {
			same++
		}
	}
	t.Logf("%d cases agree, %d differ, %d need a Postfix 3.11", same, len(cases)-same-skipped, skipped)
}

// playAll plays every case to one server.
func playAll(t *testing.T, name string, cases []scripted, ports []int) []outcome {
	t.Helper()
	var results []outcome
	a, err := testkit.StartMilter("tcp", "127.0.0.1:0", testkit.MilterScript{})
	must(t, err)
	b, err := testkit.StartMilter("tcp", "127.0.0.1:0", testkit.MilterScript{})
	must(t, err)
	expand := strings.NewReplacer("%A", a.Addr(), "%B", b.Addr(), "%N", fmt.Sprintf("inet:127.0.0.1:%d", ports[len(cases)]))
	services := []service{{port: ports[len(cases)+1], settings: []string{"smtpd_milters ="}}}
	for i, c := range cases {
		svc := service{port: ports[i]}
		if !hasMilters(c.settings) {
			svc.settings = append(svc.settings, expand.Replace("smtpd_milters = %A"))
		}
		for _, set := range c.settings {
			svc.settings = append(svc.settings, expand.Replace(set))
		}
		services = append(services, svc)
	}
	s := startServer(t, name, scriptedMain, services)
	for i := range cases {
		results = append(results, s.play(t, &cases[i], ports[i], a, b))
	}
	must(t, a.Close())
	must(t, b.Close())
	return results
}

// chosen are the cases that -case names.
func chosen(t *testing.T, all []scripted) []scripted {
	t.Helper()
	re, err := regexp.Compile(*only)
	must(t, err)
	return slices.DeleteFunc(all, func(c scripted) bool { return !re.MatchString(c.name) })
}

func hasMilters(settings []string) bool {
	for _, s := range settings {
		if strings.HasPrefix(s, "smtpd_milters") {
			return true
		}
	}
	return false
}

// compare shows what differs.
func compare(t *testing.T, name string, theirs, ours outcome) bool {
	t.Helper()
	same := true
	for _, part := range []struct{ what, theirs, ours string }{
		{"the filter sees", theirs.filterA, ours.filterA}, {"the second filter sees", theirs.filterB, ours.filterB},
		{"the client hears", theirs.replies, ours.replies}, {"delivered is", theirs.delivered, ours.delivered}, {"the log says", theirs.log, ours.log},
	} {
		if part.theirs != part.ours {
			same = false
			t.Errorf("case %s: %s\n--- Postfix\n%s\n--- Postroad\n%s", name, part.what, part.theirs, part.ours)
		}
	}
	return same
}
