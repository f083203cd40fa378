//go:build oracle

package access

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/postconf"
	"postroad/internal/testkit"
	"postroad/internal/testkit/mailkit"
)

// TestOracle plays the policy cases against the smtpd(8) of an installed
// Postfix and compares every reply and every line about an action. It needs
// root, and fails where there is no Postfix.
func TestOracle(t *testing.T) {
	base, resolver := baseView(t), startDNS(t)
	var cases []*policyCase
	for _, file := range policyFiles(t) {
		cases = append(cases, readCases(t, file)...)
	}
	compare(t, cases, base, resolver)
}

// compare plays cases to Postfix and to us.
func compare(t *testing.T, cases []*policyCase, base *postconf.View, resolver Resolver) {
	t.Helper()
	o := startOracle(t, cases)
	steps, differ := 0, 0
	for i, c := range cases {
		replies := o.play(t, i, c)
		ours := strings.Split(transcript(t, c, base, resolver), "\n")
		steps += len(replies)
		if !sameReplies(t, c, ours, replies) || !sameLog(t, c, ours, o.decisions(t, i)) {
			differ++
		}
	}
	t.Logf("%d cases with %d replies compared, %d cases differ", len(cases), steps, differ)
}

// answer is what Postfix said to one step; nothing when the case says that it
// answers otherwise than we do, and it did.
type answer struct{ step, reply string }

// sameReplies compares the replies to the steps of a case.
func sameReplies(t *testing.T, c *policyCase, ours []string, theirs []answer) bool {
	t.Helper()
	var mine []answer
	for i, line := range ours {
		if reply, found := strings.CutPrefix(line, "  = "); found {
			mine = append(mine, answer{ours[i-1], reply})
		}
	}
	same := len(mine) == len(theirs)
	for i := range min(len(mine), len(theirs)) {
		if theirs[i].reply != "" && mine[i] != theirs[i] {
			t.Errorf("case %s, %s\nours    %s\nPostfix %s", c.name, mine[i].step, mine[i].reply, theirs[i].reply)
			same = false
		}
	}
	return same
}

// decision finds the log lines about actions other than refusals, and the
// warnings about rules.
var decision = regexp.MustCompile(`(?:[0-9A-F]{6,}|NOQUEUE|warning): ((?:access table|unknown smtpd|rbl |rbl_reject_reply|[^ ]+: (?:RBL|TXT) lookup|Unable to look|ignoring DNS|smtpd_dns_reply|problem talking|premature|missing |malformed UTF|timeout on|connect to [^ ]+: |restriction (?:check|[^ ]+ ignored:)|do not specify|define a|specify|this is not|use DUNNO|SMTPD access|(?:reject_warning|permit|permit_warning|hold|filter|redirect|bcc|discard|info|warn): ).*)$`)

// sameLog compares the log lines about actions.
func sameLog(t *testing.T, c *policyCase, ours, theirs []string) bool {
	t.Helper()
	var mine []string
	for _, line := range ours {
		if g := decision.FindStringSubmatch(line); g != nil {
			mine = append(mine, withoutSASL(g[1]))
		}
	}
	if slices.Equal(mine, theirs) {
		return true
	}
	t.Errorf("case %s, log\nours\n  %s\nPostfix\n  %s", c.name, strings.Join(mine, "\n  "), strings.Join(theirs, "\n  "))
	return false
}

// withoutSASL removes the fields that came with Postfix 3.10.
func withoutSASL(line string) string {
	if *sbin != "" {
		return line
	}
	return regexp.MustCompile(` sasl_(method|username|sender)=\S+`).ReplaceAllString(line, "")
}

// oracle is a running Postfix with one smtpd service per case, each with a port of
// its own that no instance had before: one that ends may still hold its sockets.
type oracle struct {
	*mailkit.Server
	nameServer string
	ports      []int
}

// sbin is where the commands of the Postfix to compare with are.
var sbin = flag.String("sbin", "", "the directory of the commands of the Postfix to compare with; Debian's if empty")

// startOracle starts a private Postfix that asks our name server.
func startOracle(t *testing.T, cases []*policyCase) *oracle {
	t.Helper()
	o := &oracle{mailkit.New(t, mailkit.Postfix, mailkit.Programs{Sbin: *sbin}), fmt.Sprintf("127.77.%d.53", 1+rand.IntN(250)), testkit.FreePorts(t, len(cases))}
	o.Resolver = o.nameServer
	zone, err := os.ReadFile("testdata/policy/zone.txt")
	must(t, err)
	server, err := testkit.StartDNS(o.nameServer+":53", string(zone))
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	authServer(t, filepath.Join(o.Dir, "spool/private/auth"))
	main, err := os.ReadFile("testdata/policy/base.cf")
	must(t, err)
	o.Start(string(main), o.services(cases), "tcp", fmt.Sprintf("127.0.0.1:%d", o.ports[len(o.ports)-1]))
	return o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// services is the master.cf.
func (o *oracle) services(cases []*policyCase) string {
	var b strings.Builder
	b.WriteString(`rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`)
	for i, c := range cases {
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - 1 smtpd\n  -o { syslog_name = case%d }\n", o.ports[i], i)
		for _, s := range c.sets {
			fmt.Fprintf(&b, "  -o { %s = %s }\n", s[0], s[1])
		}
	}
	return b.String()
}

// authServer is as much of Dovecot's auth service as smtpd(8) asks for when it
// starts.
func authServer(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	must(t, err)
	must(t, os.Chmod(path, 0o666))
	var done sync.WaitGroup
	t.Cleanup(func() { must(t, l.Close()); done.Wait() })
	done.Add(1)
	// goroutine: ends when the listener is closed.
	go func() {
		defer done.Done()
		testkit.Accept(l, testkit.ServeLogins)
	}()
}

// play goes through the steps of a case.
func (o *oracle) play(t *testing.T, n int, c *policyCase) []answer {
	t.Helper()
	p := &peer{t: t, addr: fmt.Sprintf("127.0.0.1:%d", o.ports[n])}
	defer p.close()
	var out []answer
	for i, step := range c.steps {
		word, arg, _ := strings.Cut(step, " ")
		if word == "actions" {
			continue
		}
		reply := p.step(word, arg)
		want, other := c.theirs[i]
		if old, ok := c.theirs37[i]; ok && *sbin == "" {
			want, other = old, true
		}
		if other {
			if strings.TrimSpace(reply) != want { // 3.7 ends some lines with spaces
				t.Errorf("case %s, %s\nexpected of Postfix %s\ngot %s", c.name, step, want, reply)
			}
			reply = ""
		}
		out = append(out, answer{step, reply})
	}
	return out
}

// peer is an SMTP client. smtpd(8) believes one XCLIENT only, because the next
// comes from somebody else, so each session is a connection.
type peer struct {
	t       *testing.T
	addr    string
	conn    net.Conn
	r       *bufio.Reader
	xclient string
}

func (p *peer) close() {
	if p.conn == nil {
		return
	}
	p.command("QUIT")
	must(p.t, p.conn.Close())
}

// session connects and sends XCLIENT.
func (p *peer) session(login string) string {
	p.close()
	conn, err := net.Dial("tcp", p.addr)
	must(p.t, err)
	must(p.t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	p.conn, p.r = conn, bufio.NewReader(conn)
	p.read()
	return p.command("XCLIENT %s%s", p.xclient, login)
}

// read returns the last line of a reply.
func (p *peer) read() string {
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return "no reply: " + err.Error()
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 4 || line[3] != '-' {
			if line[0] == '2' || line[0] == '3' {
				return "ok"
			}
			return line
		}
	}
}

func (p *peer) command(format string, args ...any) string {
	if _, err := fmt.Fprintf(p.conn, format+"\r\n", args...); err != nil {
		return err.Error()
	}
	return p.read()
}

func (p *peer) step(word, arg string) string {
	path := arg
	if !strings.HasPrefix(path, "<") {
		path = "<" + path + ">"
	}
	switch word {
	case "client":
		w := strings.Fields(arg)
		if len(w) < 3 {
			w = append(w, w[0])
		}
		p.xclient = fmt.Sprintf("NAME=%s ADDR=%s REVERSE_NAME=%s", w[0], w[1], w[2])
		return p.session("")
	case "login":
		return p.session(" LOGIN=" + arg)
	case "helo":
		return p.command("HELO %s", arg)
	case "mail":
		p.command("RSET")
		return p.command("MAIL FROM:%s", path)
	case "rcpt":
		return p.command("RCPT TO:%s", path)
	case "vrfy":
		return p.command("VRFY %s", arg)
	case "etrn":
		p.command("RSET")
		reply := p.command("ETRN %s", arg)
		if strings.HasPrefix(reply, "459 ") || strings.HasPrefix(reply, "458 ") {
			reply = "ok" // past access control
		}
		return reply
	case "data":
		return p.command("DATA")
	case "eod":
		return p.command("%s.", caseContent)
	}
	p.t.Fatalf("no such step: %s", word)
	return ""
}

// decisions returns the log lines about actions of a case.
func (o *oracle) decisions(t *testing.T, n int) []string {
	t.Helper()
	var text []byte
	mark := fmt.Sprintf(" case%d/smtpd[", n)
	// The log daemon may be a moment behind.
	for range 500 {
		var err error
		text, err = os.ReadFile(filepath.Join(o.Dir, "log"))
		must(t, err)
		i := strings.LastIndex(string(text), mark)
		if i >= 0 && strings.Contains(string(text[i:]), "disconnect from") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		if g := decision.FindStringSubmatch(strings.TrimSpace(line)); g != nil && strings.Contains(line, mark) {
			out = append(out, g[1])
		}
	}
	return out
}
