package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
	"postroad/internal/postconf"
	"postroad/internal/testkit"
)

// update makes tests write their golden files.
var update = flag.Bool("update", false, "write the golden files anew")

// text is the content of a message.
type text string

func (c text) Size() int64                  { return int64(len(c)) }
func (c text) Bytes() []byte                { return []byte(c) }
func (c text) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(c))), nil }

// TestScripts runs the command scripts in testdata/scripts. A line that begins
// with "$ " is a command; "<" ends it with a text for its standard input, in
// which \n is a line end. What follows is what the command must print, standard
// error with "! " in front, and its exit code. Lines of the form "# key value"
// set the stage:
//
//	# server up|down|none  a running server, a queue that can be opened, or neither
//	# uid N                who calls
//	# main.cf name = value a further line of main.cf
//	# drops                shows and removes what is in the maildrop
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Golden(t, file, newStage(t).script(string(want)), *update)
		})
	}
}

// stage is the world of one script.
type stage struct {
	t    *testing.T
	dir  string
	uid  int
	mode string
	q    *fakeQueue
	stop func()
}

func newStage(t *testing.T) *stage {
	t.Helper()
	// A short path: the name of a socket is limited.
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, dir: dir, mode: "none", q: sampleQueue(), stop: func() {}}
	t.Cleanup(func() { s.stop(); os.RemoveAll(dir) })
	s.write("main.cf", `compatibility_level = 3.11
myhostname = mx.example.test
queue_directory = $config_directory/q
data_directory = $config_directory/d
maillog_file = $config_directory/maillog
maillog_file_prefixes = $config_directory
alias_database =
`)
	s.write("master.cf", "")
	for _, sub := range []string{"q/maildrop", "q/public", "q/pid"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *stage) write(name, more string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(more)
		f.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// script runs a script and returns it with the output as it is.
func (s *stage) script(lines string) string {
	var out strings.Builder
	for _, line := range strings.Split(lines, "\n") {
		switch {
		case strings.HasPrefix(line, "# "):
			out.WriteString(line + "\n")
			s.set(&out, strings.Fields(line[2:]), line)
		case strings.HasPrefix(line, "$ "):
			out.WriteString(line + "\n")
			s.command(&out, line[2:])
			out.WriteString("\n")
		}
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// set handles a line that sets the stage.
func (s *stage) set(out *strings.Builder, words []string, line string) {
	switch words[0] {
	case "server":
		s.stop()
		s.stop = func() {}
		s.mode = words[1]
		if s.mode == "up" {
			s.serve()
		}
	case "uid":
		s.uid, _ = strconv.Atoi(words[1])
	case "main.cf":
		s.write("main.cf", strings.TrimPrefix(line, "# main.cf ")+"\n")
	case "drops":
		s.drops(out)
	}
}

// serve runs a server that answers for the fake queue.
func (s *stage) serve() {
	ln, err := control.Listen(filepath.Join(s.dir, "q"), 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	server := &control.Server{Handler: s.q, Policy: control.Policy{Owner: os.Getuid()}}
	go func() {
		defer close(ended)
		_ = server.Serve(ctx, ln)
	}()
	s.stop = func() { cancel(); <-ended }
}

// env returns the Env for a command line.
func (s *stage) env(line, stdin string, stdout, stderr *bytes.Buffer) *Env {
	var words []string
	for _, w := range strings.Split(strings.ReplaceAll(line, "DIR", s.dir), " ") {
		// "_" stands for a space, "''" for an empty word.
		w = strings.ReplaceAll(w, "_", " ")
		if w == "''" {
			w = ""
		}
		words = append(words, w)
	}
	e := &Env{
		Prog: words[0], Args: words[1:], Stdin: strings.NewReader(stdin), Stdout: stdout, Stderr: stderr,
		Environ: []string{"MAIL_CONFIG=" + s.dir, "NAME=Some Body"}, UID: s.uid, EUID: s.uid,
		Now: func() time.Time { return time.Date(2026, 11, 22, 13, 45, 56, 0, time.UTC) },
	}
	if s.mode == "down" {
		e.Host.OpenQueue = func(context.Context, *postconf.Config) (Queue, error) { return nopCloser{s.q}, nil }
	}
	return e
}

// dropID is the name of a file in the maildrop, which is always another one.
var dropID = regexp.MustCompile(`(queue_id\x00|queued as | id )[0-9A-F]{10,}`)

// command runs one command and prints what it said.
func (s *stage) command(out *strings.Builder, line string) {
	line, stdin, _ := strings.Cut(line, " < ")
	var stdout, stderr bytes.Buffer
	code := Run(s.env(line, strings.NewReplacer(`\n`, "\n", `\r`, "\r").Replace(stdin), &stdout, &stderr))
	said := stdout.String()
	if stderr.Len() > 0 {
		said += "! " + strings.ReplaceAll(strings.TrimSuffix(stderr.String(), "\n"), "\n", "\n! ") + "\n"
	}
	said = dropID.ReplaceAllString(strings.ReplaceAll(said, s.dir, "DIR"), "${1}ID")
	fmt.Fprintf(out, "%s[%d]\n", strings.ReplaceAll(said, "\x00", "·"), code)
}

// drops prints the messages in the maildrop and removes them.
func (s *stage) drops(out *strings.Builder) {
	queue := filepath.Join(s.dir, "q")
	names, err := maildrop.List(queue, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range names {
		d, err := maildrop.Open(queue, name)
		if err != nil {
			s.t.Fatal(err)
		}
		env, err := d.Envelope()
		var content bytes.Buffer
		if err == nil {
			err = d.Content(&content)
		}
		var more []maildrop.Recipient
		if err == nil {
			more, err = d.Extracted(env)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(out, "from <%s> (%s)", env.Sender, env.FullName)
		for _, r := range slices.Concat(env.Recipients, more) {
			fmt.Fprintf(out, " to <%s>", r.Address)
			if r.Notify != 0 {
				fmt.Fprintf(out, " notify %d", r.Notify)
			}
		}
		fmt.Fprintf(out, " envid=%q ret=%d verp=%q encoding=%q trace=%t probe=%t\n", env.EnvID, env.Ret, env.VERP, env.Encoding, env.Trace, env.Probe)
		if env.SMTPUTF8 || env.RequireTLS {
			fmt.Fprintf(out, "  smtputf8=%t requiretls=%t\n", env.SMTPUTF8, env.RequireTLS)
		}
		fmt.Fprintf(out, "  %q\n", content.String())
		if err := d.Remove(); err != nil {
			s.t.Fatal(err)
		}
		d.Close()
	}
	out.WriteString("\n")
}

// fakeQueue is a server's queue.
type fakeQueue struct {
	mu      sync.Mutex
	entries []*control.Entry
}

func sampleQueue() *fakeQueue {
	at := time.Date(2026, 11, 2, 3, 45, 56, 0, time.Local)
	refused := "connect to 127.0.0.1[127.0.0.1]:1: Connection refused"
	return &fakeQueue{entries: []*control.Entry{
		{Queue: "active", ID: "E6BA653A086A", Arrived: at, Size: 268, Sender: "games@example.test", Recipients: []control.Recipient{
			{Address: "al3@example.test", Original: "al3", Reason: "temporary failure"},
		}},
		{Queue: "deferred", ID: "4457F984F7DB", Arrived: at, Size: 1 << 20, Recipients: []control.Recipient{
			{Address: "r1@x.test", Original: "r1@x.test", Reason: refused}, {Address: "quoted user@x.test", Reason: refused},
			{Address: "new@x.test"}, {Address: "other@x.test", Reason: "delivery temporarily suspended: " + refused},
			{Address: "gone@x.test", Reason: "said: \"550\"\n\x1b[31m", Bounced: true},
		}},
		{Queue: "hold", ID: "5464F53A07FC", Arrived: at, Size: 193, Expired: true, Sender: "a@b.test", Recipients: []control.Recipient{
			{Address: "games@example.test"},
		}},
	}}
}

func (q *fakeQueue) List(_ context.Context, yield func(*control.Entry) error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.entries {
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

func (q *fakeQueue) Change(_ context.Context, op control.Op, s control.Selection, report func(mail.QueueID)) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	var left []*control.Entry
	for _, e := range q.entries {
		keep := true
		if s.All || slices.Contains(s.IDs, e.ID) {
			switch {
			case op == control.OpDelete:
				keep = false
			case op == control.OpHold && e.Queue != "hold":
				e.Queue = "hold"
			case op == control.OpRelease && e.Queue == "hold":
				e.Queue = "deferred"
			case op == control.OpExpire && !e.Expired:
				e.Expired = true
			case op == control.OpRequeue:
			default:
				left = append(left, e)
				continue
			}
			n++
			report(e.ID)
		}
		if keep {
			left = append(left, e)
		}
	}
	q.entries = left
	return n, nil
}

func (q *fakeQueue) Cat(_ context.Context, id mail.QueueID) (*control.Message, error) {
	if id != "E6BA653A086A" {
		return nil, control.ErrNotFound
	}
	at := time.Date(2026, 11, 2, 3, 45, 56, 0, time.Local)
	return &control.Message{
		Queue: "deferred", Done: []bool{true, false}, Content: text("Subject: cat\r\nX-Long: a\r\n b\r\n\r\nbody 1\r\n\r\nbody 2\r\n"),
		Envelope: &mail.Envelope{ID: id, RequireTLS: true, Sender: "dead@b.test", Arrived: at, Origin: mail.OriginSMTP,
			Client: mail.ClientFacts{Name: "unknown", Addr: "192.0.2.1", Port: "1234", Helo: "h", Proto: "ESMTP", RewriteContext: "remote"},
			Recipients: []mail.Recipient{
				{Address: "a@x.test", Original: "a@x.test", ORCPT: "rfc822;a@x.test", Notify: mail.NotifyNever},
				{Address: "games@example.test", Original: "games"},
			}},
	}, nil
}

func (q *fakeQueue) Status(context.Context) (control.Status, error) {
	return control.Status{PID: 1}, nil
}
func (q *fakeQueue) Flush(_ context.Context, f control.Flush) error {
	if f.Site == "foo.test" {
		return control.ErrNotEligible
	}
	return nil
}
func (q *fakeQueue) Pickup(context.Context) error { return nil }
func (q *fakeQueue) Reload(context.Context) error { return nil }
func (q *fakeQueue) Stop(context.Context) error   { return nil }

func (*fakeQueue) Limits(_ context.Context, sel control.LimitSelection, yield func(*control.Limit) error) error {
	if sel.Key != "" && sel.Key != "alice" || sel.Rule != "" && sel.Rule != "out" {
		return nil
	}
	return yield(&control.Limit{Rule: "out", Key: "alice", Used: []control.LimitUse{{Per: time.Hour, Used: 3}, {Per: 24 * time.Hour, Used: 40}}})
}

func (*fakeQueue) ResetLimits(_ context.Context, sel control.LimitSelection) (int, error) {
	if sel.Key == "nobody" {
		return 0, nil
	}
	return 1, nil
}
