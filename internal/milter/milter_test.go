package milter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/testkit"
)

// config is a Config with these settings.
func config(t testing.TB, settings string) *Config {
	t.Helper()
	cfg, problems := postconf.Parse("/etc/postfix", []byte("myhostname = mx.test\ncompatibility_level = 3.11\nmilter_default_action = tempfail\n"+settings), nil, postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	c, problems := FromView(cfg.View(nil))
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	return c
}

// stage of a test: filters behind pipes.
type set struct {
	filters map[string]*testkit.Milter
	log     eventtest.Journal
	wg      sync.WaitGroup
}

// chain connects a list of filters with these scripts: inet:0, inet:1 ...
func (s *set) chain(t testing.TB, settings, list string, scripts ...testkit.MilterScript) *Chain {
	t.Helper()
	c := config(t, settings)
	s.filters = map[string]*testkit.Milter{}
	for i, script := range scripts {
		s.filters[fmt.Sprint(i)] = &testkit.Milter{Script: script}
	}
	c.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		m := s.filters[address]
		if m == nil {
			return nil, errors.New("nobody there")
		}
		ours, theirs := net.Pipe()
		// goroutine: the filter; ends with the connection.
		s.wg.Go(func() { m.Serve(theirs) })
		return ours, nil
	}
	l, err := c.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	values := Macros(func(name string) (string, bool) { return strings.Trim(name, "{}"), name != "{none}" })
	return l.Begin(t.Context(), event.NewLogger(&s.log, "postfix/smtpd", 1), values)
}

// paper is a message in the hands of filters.
type paper struct {
	text, hidden string
	edits        []string
	bodies       int
	refuse       *Reply
}

func (p *paper) Content() (mail.Content, error) { return content(p.text), nil }
func (p *paper) Hidden() string                 { return p.hidden }

func (p *paper) NewBody() (Body, error) {
	p.bodies++
	return &newBody{p: p}, nil
}

func (p *paper) Apply(e *Edits) *Reply {
	for _, x := range e.List {
		p.edits = append(p.edits, fmt.Sprintf("%d %d %s:%s%s", x.Op, x.Index, x.Name, x.Value, x.Args))
	}
	if e.Body != nil {
		p.edits = append(p.edits, "body "+e.Body.(*newBody).String())
		e.Body.Discard()
	}
	return p.refuse
}

type newBody struct {
	bytes.Buffer
	p    *paper
	done bool
}

func (b *newBody) Discard() {
	if !b.done {
		b.p.bodies--
	}
	b.done = true
}

type content string

func (c content) Size() int64   { return int64(len(c)) }
func (c content) Bytes() []byte { return []byte(c) }
func (c content) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(c))), nil
}

const letter = "Received: from us\r\n\tby us\r\nSubject: x\r\nReceived: from us\r\n\tby us\r\nX-Fold:one\r\n two\r\n\r\nbody\r\n"

// talk is a whole session; it returns the first objection and where it came.
func talk(c *Chain, p *paper) string {
	defer c.Close()
	steps := []struct {
		name string
		do   func() *Reply
	}{
		{"connect", func() *Reply {
			return c.Connect(Client{Name: "c.test", Addr: netip.MustParseAddr("192.0.2.1"), Port: 99})
		}},
		{"helo", func() *Reply { return c.Helo("h.test") }},
		{"mail", func() *Reply { return c.Mail("<a@b.test>", "SIZE=1") }},
		{"rcpt", func() *Reply { return c.Rcpt(false, "<c@d.test>") }},
		{"data", c.Data},
		{"message", func() *Reply { return c.Message(p, c.macros) }},
	}
	for _, step := range steps {
		if r := step.do(); r != nil {
			return fmt.Sprintf("%s %d %s", step.name, r.Verdict, r.Text)
		}
	}
	return "accepted"
}

func TestSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s set
		c := s.chain(t, "milter_connect_macros = j {none} v\nmilter_macro_defaults = none=some\n", "inet:0", testkit.MilterScript{})
		p := &paper{text: letter, hidden: "Received: from us\r\n\tby us"}
		if got := talk(c, p); got != "accepted" {
			t.Error(got)
		}
		s.wg.Wait()
		want := `1 negotiate version 6 actions 0x1ff events 0x1fffff
1 connect c.test 4 99 192.0.2.1 | C: j=j {none}=some v=v
1 helo h.test | H: {tls_version}=tls_version {cipher}=cipher {cipher_bits}=cipher_bits {cert_subject}=cert_subject {cert_issuer}=cert_issuer
1 mail <a@b.test> SIZE=1 | M: i=i {auth_type}=auth_type {auth_authen}=auth_authen {auth_author}=auth_author {mail_addr}=mail_addr {mail_host}=mail_host {mail_mailer}=mail_mailer
1 rcpt <c@d.test> | R: i=i {rcpt_addr}=rcpt_addr {rcpt_host}=rcpt_host {rcpt_mailer}=rcpt_mailer
1 data | T: i=i
1 header Subject: "x" | L: i=i
1 header Received: "from us\n\tby us" | L: i=i
1 header X-Fold: "one\n two" | L: i=i
1 eoh | N: i=i
1 body "body\r\n" | B: i=i
1 eom | E: i=i
1 quit`
		if got := strings.Join(s.filters["0"].Log(), "\n"); got != want {
			t.Errorf("the filter saw\n%s\nwant\n%s", got, want)
		}
	})
}

// TestAnswers gives every answer at every stage.
func TestAnswers(t *testing.T) {
	t.Parallel()
	stages := []string{"connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom"}
	answers := map[string]string{
		"continue": "", "accept": "", "progress\nprogress\ncontinue": "", "skip": "",
		"reject": "0 550 5.7.1 Command rejected", "tempfail": "0 451 4.7.1 Service unavailable - try again later",
		"shutdown": "3 ", "discard": "2 ", "reply 550 5.1.1 100%% sure%": "0 550 5.1.1 100% sure",
		`reply 450-4.7.0 a\r\n450 4.7.0 b`: "0 450-4.7.0 a\r\n450 4.7.0 b",
		"reply 250 fine":                   "0 451 4.3.5 Server configuration problem - try again later",
		"reply 55":                         "0 451 4.3.5 Server configuration problem - try again later",
		"connfail":                         "0 451 4.7.1 Service unavailable - try again later",
		"addheader X: y":                   "0 451 4.7.1 Service unavailable - try again later",
	}
	for _, stage := range stages {
		for answer, want := range answers {
			t.Run(stage+" "+answer, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					where := stage
					switch {
					case where == "eom" && strings.HasPrefix(answer, "addheader"):
						return // that is the time for it
					case where == "header" || where == "eoh" || where == "body" || where == "eom":
						where = "message"
					case (where == "connect" || where == "helo") && answer == "discard":
						where, want = "", ""
					}
					var s set
					c := s.chain(t, "", "inet:0", testkit.MilterScript{Answers: map[string]string{stage: answer}})
					got, expect := talk(c, &paper{text: letter}), where+" "+want
					if want == "" {
						expect = "accepted"
					}
					s.wg.Wait()
					if got != expect {
						t.Errorf("%q, want %q; log %q", got, expect, s.log.Lines())
					}
				})
			})
		}
	}
}

// TestFailures has filters die, hang and talk nonsense at every stage, with every
// default action, and looks for edits that were made all the same.
func TestFailures(t *testing.T) {
	t.Parallel()
	wants := map[string]string{
		"accept": "", "reject": "0 550 5.5.0 Service unavailable", "tempfail": "0 451 4.7.1 Service unavailable - try again later",
		"shutdown": "0 421 4.7.1 Service unavailable - try again later", "quarantine": "1 default_action",
	}
	failures := []string{"close", "hang", "garbage", `raw \0\0\0\0`, `raw \0\0\0\nc`, `raw \0`, "raw \x7f\xff\xff\xffb", "raw \xff\xff\xff\xffb", `raw \0\0\0`, "continue extra"}
	for _, stage := range []string{"negotiate", "connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "eom"} {
		for _, failure := range failures {
			for action, want := range wants {
				t.Run(stage+" "+failure+" "+action, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { failAt(t, stage, failure, action, want) })
				})
			}
		}
	}
}

func failAt(t *testing.T, stage, failure, action, want string) {
	switch failure {
	case "raw \\0", "raw \\0\\0\\0", "raw \\0\\0\\0\\nc":
		failure += "\nhang" // the rest never comes
	case "continue extra":
		failure = "raw \x00\x00\x00\x03cxx"
	}
	if stage == "eom" {
		failure = "addheader X-Half: 1\nreplacebody half\n" + failure
	}
	where := stage
	switch stage {
	case "negotiate":
		where = "connect"
	case "header", "eoh", "body", "eom":
		where = "message"
	}
	var s set
	c := s.chain(t, "milter_default_action = "+action+"\n", "inet:0 inet:1", testkit.MilterScript{Answers: map[string]string{stage: failure}}, testkit.MilterScript{})
	p := &paper{text: letter}
	start := time.Now()
	got, expect := talk(c, p), where+" "+want
	if want == "" {
		expect = "accepted"
	}
	s.wg.Wait()
	if got != expect {
		t.Errorf("%q, want %q; log %q", got, expect, s.log.Lines())
	}
	if len(p.edits) > 0 || p.bodies != 0 {
		t.Errorf("edits %q, %d bodies", p.edits, p.bodies)
	}
	if len(s.log.Lines()) == 0 {
		t.Error("nothing in the log")
	}
	limit := 30 * time.Second
	if where == "message" {
		limit = 300 * time.Second
	}
	if took := time.Since(start); took > limit {
		t.Errorf("took %v", took)
	}
	if second := s.filters["1"].Log(); action == "accept" && (len(second) == 0 || !strings.HasSuffix(second[len(second)-1], "quit")) {
		t.Errorf("the second filter saw %q", second)
	}
}

// TestSlowDrip has a filter send its answer a byte at a time, each in time.
func TestSlowDrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := config(t, "")
		var wg sync.WaitGroup
		defer wg.Wait()
		c.dial = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			// goroutine: the filter; ends with the connection.
			wg.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
			// goroutine: its answer; ends with the connection.
			wg.Go(func() {
				for _, b := range []byte{0, 0, 0, 13, 'O', 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0} {
					time.Sleep(20 * time.Second)
					if _, err := theirs.Write([]byte{b}); err != nil {
						return
					}
				}
			})
			return ours, nil
		}
		l, err := c.Parse("inet:0")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		chain := l.Begin(t.Context(), nil, func(string) (string, bool) { return "", false })
		defer chain.Close()
		if r := chain.Connect(Client{Name: "c"}); r == nil || time.Since(start) > 30*time.Second {
			t.Errorf("%v after %v", r, time.Since(start))
		}
	})
}

// TestForeverBusy has a filter that gives a sign of life in time, again and again,
// and one that sends a new body in that way.
func TestForeverBusy(t *testing.T) {
	t.Parallel()
	for name, packet := range map[string][]byte{"signs": {0, 0, 0, 1, replyProgress}, "body": {0, 0, 0, 2, replyBody, 'x'}} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			var wg sync.WaitGroup
			defer wg.Wait()
			// goroutine: the filter's ears; ends with the connection.
			wg.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
			// goroutine: its answer; ends with the connection.
			wg.Go(func() {
				for {
					time.Sleep(290 * time.Second)
					if _, err := theirs.Write(packet); err != nil {
						return
					}
				}
			})
			f := &filter{
				ctx: t.Context(), cfg: config(t, ""), svc: &service{name: "inet:0", action: "tempfail"}, conn: ours, unarm: func() bool { return true },
				r: bufio.NewReader(ours), w: bufio.NewWriter(ours), state: stateMessage, patience: 300 * time.Second,
			}
			p, start := &paper{text: letter}, time.Now()
			in := &inbox{editor: p}
			r := f.exchange(&happening{cmd: cmdEndOfBody, stage: stageEndOfData}, nil, in)
			in.discard()
			if took := time.Since(start); r == nil || r.Text != textTempfail || took > 66*time.Minute || p.bodies != 0 {
				t.Errorf("%s: %v after %v, %d bodies left", name, r, took, p.bodies)
			}
		})
	}
}

// TestReason: a filter that is gone has no word of the system, wherever it stopped.
func TestReason(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		io.EOF: "Application error", io.ErrUnexpectedEOF: "Application error", syscall.EPIPE: "Broken pipe",
		&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}: "Connection timed out",
	} {
		if got := reason(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// TestCancelled ends the context while a filter thinks.
func TestCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s set
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c := s.chain(t, "", "inet:0", testkit.MilterScript{Answers: map[string]string{"mail": "hang"}})
		c.filters[0].ctx = ctx
		start := time.Now()
		if got := talk(c, &paper{}); !strings.HasPrefix(got, "mail") || time.Since(start) > 2*time.Second {
			t.Errorf("%s after %v", got, time.Since(start))
		}
		s.wg.Wait()
	})
}

func TestEdits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ answer, want string }{
		{"addheader X-New: v\ncontinue", "0 0 X-New: v"},
		{"insertheader 3 X-New: v\naccept", "1 4 X-New: v"},
		{`changeheader 0 X: a\r\nb\rc` + "\ncontinue", "2 1 X: a\nb c"},
		{"changeheader 2 X:\ncontinue", "3 2 X:"},
		{"changefrom <a@b> RET=FULL\naddrcpt <c@d>\naddrcptargs <e@f>\ndelrcpt <g@h>\ncontinue", "4 0 :<a@b>RET=FULL|5 0 :<c@d>|5 0 :<e@f>|6 0 :<g@h>"},
		{"replacebody one\nreplacebody two\ncontinue", "body onetwo"},
		{"replacebody one\naddheader A: b\ncontinue", "0 0 A: b|body one"},
		{"quarantine why\naddheader A: b\ncontinue", "0 0 A: b"},
		{"addheader A: b\nreplacebody x\nreject", ""},
		{"addheader A: b\nreplacebody x\ndiscard", ""},
		{"addheader A: b\nreplacebody x\naddheader A: c\nreplacebody y\ncontinue", ""},
		{`addheader A\nB: b` + "\ncontinue", ""},
		{"changeheader 1 : b\ncontinue", ""},
		{`addrcpt <a@b>\nX` + "\ncontinue", ""},
		{"raw \x00\x00\x00\x05hX\x00vw\ncontinue", ""},
		{"raw \x00\x00\x00\x03mXX\ncontinue", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var s set
			c := s.chain(t, "", "inet:0", testkit.MilterScript{Answers: map[string]string{"eom": tt.answer}})
			p := &paper{text: letter}
			talk(c, p)
			s.wg.Wait()
			if got := strings.Join(p.edits, "|"); got != tt.want || p.bodies != 0 {
				t.Errorf("%q: %q, want %q; %d bodies left; log %q", tt.answer, got, tt.want, p.bodies, s.log.Lines())
			}
		})
	}
}

// TestTooMuch bounds what a filter may ask for.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"edits": strings.Repeat("addheader X: y\n", maxEdits+1) + "continue",
		"bytes": strings.Repeat("addheader X: "+strings.Repeat("y", 60_000)+"\n", 40) + "continue",
		"signs": strings.Repeat("progress\n", maxReplies+1) + "continue",
	} {
		synctest.Test(t, func(t *testing.T) {
			var s set
			c := s.chain(t, "", "inet:0", testkit.MilterScript{Answers: map[string]string{"eom": answer}})
			p := &paper{text: letter}
			if got := talk(c, p); !strings.Contains(got, "451 4.7.1") || len(p.edits) > 0 {
				t.Errorf("%s: %s, %d edits", name, got, len(p.edits))
			}
			s.wg.Wait()
		})
	}
}

func TestChunks(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int{0: 0, 1: 1, chunkSize: 1, chunkSize + 1: 2, 3 * chunkSize: 3} {
		synctest.Test(t, func(t *testing.T) {
			var s set
			c := s.chain(t, "", "inet:0", testkit.MilterScript{})
			if got := talk(c, &paper{text: "A: b\r\n\r\n" + strings.Repeat("x", size)}); got != "accepted" {
				t.Error(got)
			}
			s.wg.Wait()
			if got := strings.Count(strings.Join(s.filters["0"].Log(), "\n"), "1 body "); got != want {
				t.Errorf("%d bytes came in %d pieces, want %d", size, got, want)
			}
		})
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	c := config(t, "milter_command_timeout = 7s\n")
	l, err := c.Parse("inet:a:1, { unix:b, connect_timeout=10s, { default_action = accept }, command_timeout=1m protocol=4, content_timeout=5 }")
	if err != nil || len(l.services) != 2 {
		t.Fatal(l, err)
	}
	if a := l.services[0]; a.name != "inet:a:1" || a.command != 7*time.Second || a.action != "tempfail" || a.protocol != "6" {
		t.Errorf("%+v", a)
	}
	want := service{name: "unix:b", connect: 10 * time.Second, command: time.Minute, content: 5 * time.Second, protocol: "4", action: "accept"}
	if b := l.services[1]; b != want {
		t.Errorf("%+v", b)
	}
	for _, bad := range []string{"{}", "{ inet:a:1", "{ inet:a:1, foo=bar }", "{ inet:a:1, protocol }", "{ inet:a:1, command_timeout=soon }", "{ inet:a:1, command_timeout=0 }", "{ inet:a:1 }x"} {
		if l, err := c.Parse(bad); err == nil {
			t.Errorf("%s: %+v", bad, l)
		}
	}
	if l, err := c.Parse(" , "); l != nil || err != nil {
		t.Error(l, err)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	got, warnings, err := parseDefaults([]string{"a=1", "{b}=2", "{ c = 3 }", "{ {d} = 4 }", "{a}=5"})
	if err != nil || len(warnings) != 1 || fmt.Sprint(got) != "map[{a}:1 {b}:2 {c}:3 {d}:4]" {
		t.Error(got, warnings, err)
	}
	for _, bad := range []string{"a", "=1", "{ a }", "{ = 1 }"} {
		if got, _, err := parseDefaults([]string{bad}); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]mail.Status{
		"550 5.7.1 no":                        {Code: 550, Enhanced: "5.7.1", Text: "no"},
		"550-5.7.1 a\r\n550 5.7.1 b\r\n":      {Code: 550, Enhanced: "5.7.1", Text: "a\nb"},
		"550-5.7.1 a\r\n550 b":                {Code: 550, Text: "5.7.1 a\nb"},
		"450 later":                           {Code: 450, Text: "later"},
		"450 4.7.1":                           {Code: 450, Enhanced: "4.7.1"},
		"550 5.7.1 a\nEHLO evil\x00":          {Code: 550, Enhanced: "5.7.1", Text: "a?EHLO evil?"},
		"421 4.7.0 Server closing connection": {Code: 421, Enhanced: "4.7.0", Text: "Server closing connection"},
	} {
		if got := refuse(text).Status(); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	for in, want := range map[string]string{"550 5.1.1 x": "450 4.1.1 x", "550-a\r\n551 5.0.0 b": "450-a\r\n451 4.0.0 b", "5": "4"} {
		if got := soften(in); got != want {
			t.Errorf("soften %q: %q", in, got)
		}
	}
}
