package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/mail"
)

// talkTo sends pieces to a session without waiting for answers, and returns what
// came back when the session has ended.
func talkTo(srv *Server, pieces ...string) string {
	ours, theirs := net.Pipe()
	var out strings.Builder
	var wg sync.WaitGroup
	wg.Add(2)
	// goroutine: takes the replies; ends with the connection.
	go func() {
		defer wg.Done()
		_, _ = io.Copy(&out, ours)
	}()
	// goroutine: the client; ends with the connection.
	go func() {
		defer wg.Done()
		for _, p := range pieces {
			if _, err := io.WriteString(ours, p); err != nil {
				break
			}
		}
		_ = ours.Close()
	}()
	srv.ServeConn(context.Background(), theirs)
	wg.Wait()
	return out.String()
}

// TestSmugglingSplit tries every wrong end of data with the stream cut at every
// place. Whatever the client pretends, there is one message.
func TestSmugglingSplit(t *testing.T) {
	t.Parallel()
	const begin = "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\n"
	const inner = "MAIL FROM:<evil@b.test>\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\nsmuggled"
	ends := []string{
		"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\r\r\n", "\n.\r", "\r.\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n",
		"\r\n .\r\n", "\r\n. \r\n", "\n\n.\n\n", "\r\n..\r\n", "\r\n.\r.\r\n", "\x85.\x85", "\xe2\x80\xa8.\xe2\x80\xa8",
	}
	for _, mode := range []string{"no", "yes", "note", "normalize"} {
		// Out of turn on purpose: one stream, and no waiting for answers.
		srv, s := newServer(t, "smtpd_forbid_unauth_pipelining = no\nsmtpd_forbid_bare_newline = "+mode+"\n")
		for _, end := range ends {
			content := "one" + end + inner + "\r\n.\r\nQUIT\r\n"
			for cut := 0; cut <= len("one"+end)+2; cut++ {
				s.done = nil
				out := talkTo(srv, begin+content[:cut], content[cut:])
				if len(s.done) != 1 || !strings.Contains(s.done[0], "smuggled") || strings.Count(out, "354 ") != 1 {
					t.Fatalf("%s, %q cut at %d: %q\n%s", mode, end, cut, s.done, out)
				}
			}
		}
	}
}

// states are beginnings of a session, each in another state of the protocol.
var states = []string{
	"", "EHLO a\r\n", "EHLO a\r\nMAIL FROM:<a@b.test>\r\n", "EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\n",
	"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\n",
	"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\nBDAT 4\r\nabc\r",
	"EHLO a\r\nBDAT 0\r\n", "EHLO a\r\nAUTH PLAIN\r\n", "EHLO a\r\nAUTH LOGIN\r\n",
	"EHLO a\r\nXCLIENT NAME=x ADDR=192.0.2.7\r\n", "EHLO a\r\nXFORWARD NAME=x IDENT=y\r\n", "HELO a\r\n",
}

// counted is a spool that checks the order of calls.
type counted struct {
	*spool
	t *testing.T
}

func (c counted) Begin(ctx context.Context, o *MessageOptions) (Message, error) {
	m, err := c.spool.Begin(ctx, o)
	return &strict{letter: m.(*letter), t: c.t}, err
}

// strict is a message that is used as it should be, or else.
type strict struct {
	*letter
	t      *testing.T
	header int
	ended  bool
}

func (m *strict) Header(h string) {
	if m.header++; m.header > 1 || m.ended || strings.ContainsAny(h, "\r\x00") || !strings.HasPrefix(h, "Received: ") {
		m.t.Errorf("header %d, ended %v: %q", m.header, m.ended, h)
	}
	for _, line := range strings.Split(h, "\n")[1:] {
		if !strings.HasPrefix(line, "\t") {
			m.t.Errorf("the header leaves its place: %q", h)
		}
	}
}

func (m *strict) Write(p []byte) (int, error) {
	if m.header != 1 || m.ended || len(m.rcpts) == 0 {
		m.t.Error("content without an envelope")
	}
	return m.letter.Write(p)
}

func (m *strict) Finish(ctx context.Context) mail.Status {
	body := m.body.String()
	if m.ended || m.header != 1 || body != "" && !strings.HasSuffix(body, "\r\n") ||
		strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\n") {
		m.t.Errorf("finished with %q", body)
	}
	m.ended = true
	return m.letter.Finish(ctx)
}

func (m *strict) Abort() {
	if m.ended {
		m.t.Error("aborted after the end")
	}
	m.ended = true
}

func FuzzStates(f *testing.F) {
	for i := range states {
		f.Add(i, "MAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\nx\n.\r\n.\r\nBDAT 2 LAST\r\nab", uint16(7))
		f.Add(i, "\r\nBDAT 3 LAST\r\nabc.\r\nRSET\r\nSTARTTLS\r\nVRFY <\r\nETRN x\r\nHELP\r\n*\r\n", uint16(1))
	}
	f.Fuzz(func(t *testing.T, state int, in string, cut uint16) {
		srv, s := newServer(t, "smtpd_forbid_unauth_pipelining = no\nsmtpd_authorized_xclient_hosts = 127.0.0.1, 192.0.2.7\n"+
			"smtpd_authorized_xforward_hosts = 127.0.0.1\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postroad\n"+
			"smtpd_sasl_path = inline:{ {joe = {PLAIN}secret} }\n")
		log := &journal{}
		srv.Log, srv.Cleanup = log, counted{s, t}
		at := min(int(cut), len(in))
		out := talkTo(srv, states[uint(state)%uint(len(states))]+in[:at], in[at:])
		if n := strings.Count(out, "queued as "); n > len(s.done) { // the client may be gone before it hears
			t.Errorf("%d replies for %d messages", n, len(s.done))
		}
		for _, line := range strings.SplitAfter(strings.TrimSuffix(out, "\r\n"), "\r\n") {
			if len(line) < 4 || line[0] < '2' || line[0] > '5' || line[3] != ' ' && line[3] != '-' || strings.Count(line, "\n") > 1 {
				t.Errorf("reply %q", line)
			}
		}
		for _, line := range log.Lines() {
			if strings.Contains(line, "panic") || strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("log: %s", line)
			}
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, c := range commands {
		f.Add(c.name + " FROM:<a@b.test> SIZE=1")
	}
	srv, _ := newServer(f, "")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") {
			return
		}
		var out strings.Builder
		ours, theirs := net.Pipe()
		_ = ours.Close()
		s := newSession(srv, theirs, srv.logger(1))
		s.ctx = context.Background()
		s.w.Reset(&out)
		s.access = srv.Access.Begin()
		s.dispatch([]byte(line))
		_ = s.w.Flush()
		if out.Len() == 0 && s.reason == "" {
			t.Errorf("%q has no answer", line)
		}
	})
}

// TestShutdown ends sessions: one that waits at once, one that sends content
// when it is done, one that does not end when the time is over.
func TestShutdown(t *testing.T) {
	t.Parallel()
	srv, s := newServer(t, "")
	synctest.Test(t, func(t *testing.T) {
		begin := func(text string) (net.Conn, *ear) {
			ours, theirs := net.Pipe()
			// goroutine: a session; ends with its connection.
			go srv.ServeConn(context.Background(), theirs)
			e := listenTo(ours)
			synctest.Wait()
			for _, line := range strings.SplitAfter(text, "\n") {
				_, _ = io.WriteString(ours, line)
				synctest.Wait()
			}
			e.take()
			return ours, e
		}
		const data = "EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\n"
		_, idle := begin("EHLO a\r\n")
		busy, busyEar := begin(data)
		_, stuck := begin(data)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended := make(chan error, 1)
		// goroutine: waits for the sessions to end.
		go func() { ended <- srv.Shutdown(ctx) }()
		synctest.Wait()
		if got := strings.Join(idle.take(), "|"); got != "S: 421 4.3.2 mx.test Service shutting down|S. closed" {
			t.Errorf("idle session: %s", got)
		}
		time.Sleep(5 * time.Second)
		_, _ = io.WriteString(busy, "x\r\n.\r\n")
		synctest.Wait()
		if got := strings.Join(busyEar.take(), "|"); got != "S: 250 2.0.0 Ok: queued as ID1|S: 421 4.3.2 mx.test Service shutting down|S. closed" {
			t.Errorf("busy session: %s", got)
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		synctest.Wait()
		if got := strings.Join(stuck.take(), "|"); got != "S. closed" || srv.Sessions() != 0 {
			t.Errorf("stuck session: %s, %d left", got, srv.Sessions())
		}
	})
	if len(s.done) != 1 {
		t.Errorf("queued %q", s.done)
	}
}

// TestEarlyTalker talks before the greeting; the kernel has it, the reader not.
func TestEarlyTalker(t *testing.T) {
	t.Parallel()
	srv, _ := newServer(t, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "EHLO early.test\r\n")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	srv.ServeConn(context.Background(), conn)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, _ := io.ReadAll(c)
	if string(got) != "554 5.5.0 Error: SMTP protocol synchronization\r\n" {
		t.Errorf("got %q", got)
	}
}

// TestCommandTable checks that the rows are complete.
func TestCommandTable(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, c := range commands {
		if c.name == "" || c.run == nil || names[c.name] {
			t.Errorf("row %+v", fmt.Sprint(c.name))
		}
		names[c.name] = true
	}
	for _, h := range helpWords {
		if !names[h.name] {
			t.Errorf("HELP names %s", h.name)
		}
		delete(names, h.name)
	}
	if len(names) != 0 {
		t.Errorf("HELP does not name %v", names)
	}
}
