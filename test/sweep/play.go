package sweep

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postroad/internal/testkit"
	"postroad/internal/testkit/box"
)

// Jobs are the jobs of this package, for box.Main.
func Jobs() map[string]box.Job { return map[string]box.Job{"sweep": job} }

// Answer is what a subject said to one session.
type Answer struct {
	// Steps are commands and the replies to them; Log is what was logged meanwhile.
	Steps, Log []string
}

// Outcome is what became of one plan.
type Outcome struct {
	Answers []Answer
	// Error tells why there are none.
	Error string
	// Seconds is how long it took.
	Seconds float64
}

// Play puts the questions of plans to a subject, one after the other in one box.
func Play(ctx context.Context, subject box.Subject, plans []*Plan) ([]Outcome, error) {
	var out []Outcome
	err := box.Run(ctx, box.Options{Subject: subject}, "sweep", plans, &out)
	return out, err
}

// asker is a plan being played.
type asker struct {
	*box.Box
	plan *Plan
	log  *os.File
	rest string // of a line of the log that is not whole yet
	// dead are services that do not answer, alive those that have.
	dead  map[string]int
	alive map[string]bool
	open  []net.Listener
	// started tells that the subject has been started in this box before.
	started bool
}

// job plays plans in the box.
func job(ctx context.Context, b *box.Box, input json.RawMessage) (any, error) {
	var plans []*Plan
	if err := json.Unmarshal(input, &plans); err != nil {
		return nil, err
	}
	const pristine = "cp -a /etc/postfix work-postfix"
	if _, err := b.Must(ctx, pristine); err != nil {
		return nil, err
	}
	var out []Outcome
	started := false
	for _, p := range plans {
		a := &asker{Box: b, plan: p, dead: map[string]int{}, alive: map[string]bool{}, started: started}
		began := time.Now()
		answers, err := a.run(ctx)
		seconds := time.Since(began).Seconds()
		started = started || err == nil
		if err != nil {
			lines, _ := b.Log() // without a log the error still says something
			err = fmt.Errorf("%w\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
			out = append(out, Outcome{Error: err.Error(), Seconds: seconds})
		} else {
			out = append(out, Outcome{Answers: answers, Seconds: seconds})
		}
		if err := a.clear(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// run plays one plan.
func (a *asker) run(ctx context.Context) ([]Answer, error) {
	if err := a.prepare(ctx); err != nil {
		return nil, err
	}
	var out []Answer
	for i := range a.plan.Sessions {
		s := &a.plan.Sessions[i]
		if a.dead[s.Service] > 0 {
			out = append(out, Answer{Steps: []string{"no service"}})
			continue
		}
		steps := a.ask(ctx, s)
		log, err := a.heard(ctx, steps[0] == "no connection")
		if err != nil {
			return nil, err
		}
		out = append(out, Answer{steps, log})
	}
	return out, nil
}

// clear makes the box as it was, for the next plan.
func (a *asker) clear(ctx context.Context) error {
	if err := a.Kill(ctx); err != nil {
		return err
	}
	for _, l := range a.open {
		_ = l.Close() // nobody is connected any more
	}
	if a.log != nil {
		_ = a.log.Close() // it was only read
	}
	// The first thread of a process may be dead while others still hold its sockets.
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if !testkit.Poll(wait, 10*time.Millisecond, quiet) {
		return errors.New("somebody still listens")
	}
	for _, f := range a.plan.Files {
		for _, path := range []string{f.Path, f.Path + ".db"} {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	_, err := a.Must(ctx, "rm -rf /etc/postfix; cp -a work-postfix /etc/postfix; find /var/spool/postfix /var/lib/postfix /srv -type f -o -type s | xargs -r rm -f; : >/var/log/mail.log")
	return err
}

// quiet tells whether nobody listens in the server's network but the name server.
func quiet() bool {
	for _, table := range []string{"/proc/1/net/tcp", "/proc/1/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 3 && f[3] == "0A" && !strings.HasSuffix(f[1], ":0035") {
				return false
			}
		}
	}
	return true
}

// prepare serves the configuration.
func (a *asker) prepare(ctx context.Context) error {
	files := append([]File{{"/etc/hosts", "127.0.0.1 localhost " + strings.Join(a.plan.Hosts, " ") + "\n::1 localhost\n"}}, a.plan.Files...)
	for _, f := range files {
		if !strings.HasPrefix(f.Path, "/etc/") && !strings.HasPrefix(f.Path, "/srv/") {
			return fmt.Errorf("%s is not of the box alone", f.Path)
		}
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.Path, []byte(f.Text), 0o644); err != nil {
			return err
		}
	}
	if err := testkit.WriteSelfSigned("/etc/postfix/server.pem", box.HostName); err != nil {
		return err
	}
	if err := a.ServeDNS(a.plan.Zone); err != nil {
		return err
	}
	lines := []string{":"}
	for _, m := range a.plan.Aliases {
		lines = append(lines, "postalias "+m)
	}
	for _, m := range a.plan.Maps {
		lines = append(lines, "postmap "+m)
	}
	if _, err := a.Exec(ctx, box.Command{Line: strings.Join(lines, ";")}); err != nil {
		return err
	}
	if err := a.start(ctx); err != nil {
		return err
	}
	if len(a.plan.Sessions) == 0 {
		return errors.New("no SMTP service")
	}
	if err := a.WaitPort(ctx, a.plan.Sessions[0].Addr); err != nil {
		return err
	}
	if err := a.serve(); err != nil {
		return err
	}
	var err error
	a.log, err = os.Open("/var/log/mail.log")
	return err
}

// start starts the subject. Postfix's script checks the installation for seconds;
// once for a box is enough.
func (a *asker) start(ctx context.Context) error {
	if !a.started || !strings.HasPrefix(a.Subject.Name, "postfix") {
		return a.StartServer(ctx, "/etc/postfix", "")
	}
	_, err := a.Must(ctx, "$(postconf -h daemon_directory)/master -w -c /etc/postfix")
	return err
}

// serve opens what the configuration talks to.
func (a *asker) serve() error {
	listen := func(e Endpoint) (l net.Listener, err error) {
		if e.Network == "unix" {
			if err := os.MkdirAll(filepath.Dir(e.Address), 0o755); err != nil {
				return nil, err
			}
			if l, err = net.Listen("unix", e.Address); err != nil {
				return nil, err
			}
			return l, os.Chmod(e.Address, 0o666)
		}
		err = a.InServer(func() (err error) { l, err = net.Listen("tcp", e.Address); return err })
		return l, err
	}
	open := func(e Endpoint) (net.Listener, error) {
		l, err := listen(e)
		if err == nil {
			a.open = append(a.open, l)
		}
		return l, err
	}
	l, err := open(Endpoint{"unix", "/var/spool/postfix/private/auth"})
	if err != nil {
		return err
	}
	// goroutine: the server of logins; ends with the box.
	go testkit.Accept(l, testkit.ServeLogins)
	for _, e := range a.plan.Policies {
		l, err := open(e)
		if err != nil {
			return fmt.Errorf("policy server: %w", err)
		}
		// goroutine: a policy server; ends with the box.
		go testkit.Accept(l, servePolicy)
	}
	filter := &testkit.Milter{Script: testkit.MilterScript{Answers: map[string]string{"rcpt <bad@": "reject", "mail <temp@": "tempfail"}}}
	for _, e := range a.plan.Milters {
		l, err := open(e)
		if err != nil {
			return fmt.Errorf("mail filter: %w", err)
		}
		// goroutine: a mail filter; ends with the box.
		go testkit.Accept(l, filter.Serve)
	}
	return nil
}

// policyActions are what the policy server answers to a quarter of all requests.
var policyActions = []string{"REJECT policy says no", "DEFER_IF_PERMIT try later", "450 4.7.1 greylisted", "OK", "PREPEND X-Policy: seen", "WARN strange"}

// servePolicy is a policy server whose answers depend on what it is asked.
func servePolicy(conn net.Conn) {
	in := bufio.NewScanner(conn)
	h := fnv.New32a()
	for in.Scan() {
		name, value, _ := strings.Cut(in.Text(), "=")
		switch name {
		case "protocol_state", "client_address", "sender", "recipient":
			_, _ = io.WriteString(h, value) // a hash takes everything
		case "":
			n := h.Sum32()
			action := "DUNNO"
			if n%4 == 0 {
				action = policyActions[int(n/4)%len(policyActions)]
			}
			fmt.Fprintf(conn, "action=%s\n\n", action)
			h.Reset()
		}
	}
	_ = conn.Close() // the client is gone
}

// sessionTime bounds one step of a session.
const sessionTime = 20 * time.Second

// ask has one session.
func (a *asker) ask(ctx context.Context, s *Session) []string {
	before := 0
	if fi, err := a.log.Stat(); err == nil {
		before = int(fi.Size())
	}
	conn, err := a.Dial(ctx, s.Client, s.Addr)
	if err != nil {
		a.dead[s.Service]++
		return []string{"no connection"}
	}
	defer func() { _ = conn.Close() }() // the session's end is not the test's matter
	t := &talk{c: testkit.NewPlayer(conn, sessionTime), limit: 8}
	if f := s.Lines[len(s.Lines)-1]; strings.HasPrefix(f, "(errors ") {
		t.limit, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(f, "(errors "), ")")) // it is a number of ours
	}
	if !s.Wrapped && !a.alive[s.Service] && a.fatal(conn, before) {
		a.dead[s.Service]++
		return []string{"connect ->  closed by time"}
	}
	if s.Wrapped && !t.handshake() {
		return t.steps
	}
	if !t.read("connect") {
		a.dead[s.Service]++
		return t.steps
	}
	a.alive[s.Service] = true
	for _, line := range s.Lines {
		if line[0] == '(' || t.errors >= t.limit {
			break
		}
		if !t.step(line) {
			return t.steps
		}
	}
	t.step("QUIT")
	return t.steps
}

// fatal waits until a service that is asked for the first time says something;
// it tells whether it says in the log, from a place on, that it cannot serve.
func (a *asker) fatal(conn net.Conn, before int) bool {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	n, began := 0, time.Now()
	wait, cancel := context.WithTimeout(context.Background(), sessionTime)
	defer cancel()
	dead := false
	testkit.Poll(wait, 10*time.Millisecond, func() bool {
		err := raw.Read(func(fd uintptr) bool {
			n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			return true
		})
		log, _ := os.ReadFile(a.log.Name())    // it is open
		if time.Since(began) < 3*time.Second { // later, what was said at the start counts too
			log = log[min(len(log), before):]
		}
		// What a list without a rule against relaying is answered with; nothing else
		// keeps a service of the sweep from serving.
		dead = strings.Contains(string(log), "specify at least one working instance of: ")
		return err != nil || n > 0 || dead
	})
	return dead && n <= 0
}

// talk is a session under way.
type talk struct {
	c             *testkit.Player
	steps         []string
	last          string
	errors, limit int
}

// handshake runs TLS.
func (t *talk) handshake() bool {
	_, err := t.c.StartTLS(&tls.Config{InsecureSkipVerify: true, ServerName: box.HostName}) //nolint:gosec // a test's certificate
	if err != nil {
		t.steps = append(t.steps, "handshake fails")
	}
	return err == nil
}

// read takes a reply; false is the end.
func (t *talk) read(to string) bool {
	r, err := t.c.Read()
	t.last = r.Code()
	text := strings.Join(r.Lines, "|")
	if err != nil {
		text += " closed"
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			text += " by time"
		}
	}
	t.steps = append(t.steps, to+" -> "+text)
	if t.last >= "4" {
		t.errors++
	}
	return err == nil
}

// say sends a line and takes the reply.
func (t *talk) say(line string) bool {
	if err := t.c.Send(line); err != nil {
		t.steps = append(t.steps, line+" -> closed")
		return false
	}
	return t.read(line)
}

// step does one line of a session.
func (t *talk) step(line string) bool {
	verb, arg, _ := strings.Cut(line, " ")
	switch verb {
	case "AUTH":
		password := "secret"
		if arg == "wrong" {
			password = "guess"
		}
		return t.say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+arg+"\x00"+password)))
	case "STARTTLS":
		return t.say(line) && (t.last != "220" || t.handshake())
	case "DATA":
		if !t.say(line) || t.last != "354" {
			return t.last != "" && !strings.HasSuffix(t.steps[len(t.steps)-1], "closed")
		}
		return t.say("From: a\r\n\r\nx\r\n.")
	}
	return t.say(line)
}

// heard waits until the server has logged the end of the session, and returns
// what its SMTP servers have logged since the last one.
func (a *asker) heard(ctx context.Context, nothing bool) ([]string, error) {
	var out []string
	wait, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if nothing {
		cancel()
	}
	var readErr error
	testkit.Poll(wait, time.Millisecond, func() bool {
		text, err := io.ReadAll(a.log)
		readErr = err
		lines := strings.Split(a.rest+string(text), "\n")
		a.rest = lines[len(lines)-1]
		ended := false
		for _, line := range lines[:len(lines)-1] {
			if strings.Contains(line, "smtpd[") {
				out = append(out, line)
				ended = ended || strings.Contains(line, ": disconnect from ")
			}
		}
		return ended || err != nil
	})
	return out, readErr
}
