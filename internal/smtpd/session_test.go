package smtpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/limits"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
	"postroad/internal/table"
)

// spool is a cleanup room that keeps what it gets.
type spool struct {
	mu   sync.Mutex
	n    int
	done []string
}

// letter is one message of the spool.
type letter struct {
	s      *spool
	id     mail.QueueID
	sender mail.Address
	rcpts  []string
	body   strings.Builder
}

func (s *spool) Begin(context.Context, *MessageOptions) (Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return &letter{s: s, id: mail.QueueID(fmt.Sprintf("ID%d", s.n))}, nil
}

func (l *letter) ID() mail.QueueID                            { return l.id }
func (l *letter) SetSender(addr mail.Address, _ SenderParams) { l.sender = addr }
func (l *letter) AddRecipient(r mail.Recipient)               { l.rcpts = append(l.rcpts, string(r.Address)) }
func (l *letter) Header(string)                               {}
func (l *letter) Apply(access.Actions)                        {}
func (l *letter) Write(p []byte) (int, error)                 { return l.body.Write(p) }
func (l *letter) Abort()                                      {}

func (l *letter) Objected() bool { return false }

func (l *letter) Finish(context.Context) mail.Status {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.done = append(l.s.done, fmt.Sprintf("<%s> <%s> %q", l.sender, strings.Join(l.rcpts, " "), l.body.String()))
	return mail.Status{Code: 250, Enhanced: "2.0.0", Text: "Ok: queued as " + string(l.id)}
}

const testConfig = `
myhostname = mx.test
mydestination = mx.test
local_recipient_maps =
mynetworks = 192.0.2.0/24
smtpd_peername_lookup = no
smtpd_recipient_limit = 3
smtpd_recipient_overshoot_limit = 1
smtpd_error_sleep_time = 0
compatibility_level = 3.11
`

// newServer is a server with that configuration and a spool behind it.
func newServer(t testing.TB, config string) (*Server, *spool) {
	t.Helper()
	cfg, problems := postconf.Parse("/etc/postfix", []byte(testConfig+config), []byte("smtp inet n - n - - smtpd\n"), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	view := cfg.View(cfg.Service("smtp", "inet"))
	tables := table.NewSet(table.Options{Warn: func(string, ...any) {}})
	srv, problems := FromView(view, tables, nil, nil)
	if srv == nil {
		t.Fatal(problems)
	}
	log := event.NewLogger(nil, "postfix/smtpd", 1)
	router, _ := rewrite.New(view, tables, log)
	engine, _ := access.New(view, access.Deps{Tables: tables, Rewrite: router, Log: log, Limits: limits.New()})
	s := &spool{}
	srv.Access, srv.Cleanup = engine, s
	return srv, s
}

// converse sends input in pieces and returns everything that is answered. A
// piece goes out when the answers to the ones before it came.
func converse(t testing.TB, srv *Server, pieces ...string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	// goroutine: the session; ends with the connection.
	go func() {
		defer close(done)
		srv.ServeConn(context.Background(), theirs)
	}()
	var out strings.Builder
	in := bufio.NewReader(ours)
	_ = ours.SetDeadline(time.Now().Add(10 * time.Second))
	for _, p := range append([]string{""}, pieces...) {
		if p != "" {
			if _, err := io.WriteString(ours, p); err != nil {
				break
			}
		}
		for {
			line, err := in.ReadString('\n')
			out.WriteString(line)
			if err != nil || (len(line) > 3 && line[3] == ' ') {
				break
			}
		}
	}
	// What the server says of its own accord, such as 421.
	_ = ours.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	rest, _ := io.ReadAll(in)
	out.Write(rest)
	_ = ours.Close()
	<-done
	return out.String()
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	const hello, from, to = "EHLO client.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<joe@mx.test>\r\n"
	tests := []struct {
		name   string
		config string
		in     []string
		// last is how the last reply begins, queued what the spool has then.
		last, queued string
	}{
		{"greeting", "", nil, "220 mx.test ESMTP Postfix", ""},
		{"a message", "", []string{hello, from, to, "DATA\r\n", "x\r\n..y\r\n.\r\n"}, "250 2.0.0 Ok: queued as ID1", `<a@b.test> <joe@mx.test> "x\r\n.y\r\n"`},
		{"null sender", "", []string{hello, "MAIL FROM:<>\r\n", to, "DATA\r\n", ".\r\n"}, "250 2.0.0 Ok: queued", `<> <joe@mx.test> ""`},
		{"relay denied", "", []string{hello, from, "RCPT TO:<x@far.test>\r\n"}, "454 4.7.1 <x@far.test>: Relay access denied", ""},
		{"unknown command", "", []string{"FOO\r\n"}, "500 5.5.2 Error: command not recognized", ""},
		{"no argument", "", []string{"EHLO\r\n"}, "501 Syntax: EHLO hostname", ""},
		{"nested MAIL", "", []string{hello, from, from}, "503 5.5.1 Error: nested MAIL command", ""},
		{"RCPT first", "", []string{hello, to}, "503 5.5.1 Error: need MAIL command", ""},
		{"DATA first", "", []string{hello, "DATA\r\n"}, "503 5.5.1 Error: need RCPT command", ""},
		{"all refused", "", []string{hello, from, "RCPT TO:<x@far.test>\r\n", "DATA\r\n"}, "554 5.5.1 Error: no valid recipients", ""},
		{"size", "", []string{hello, "MAIL FROM:<a@b.test> SIZE=99999999\r\n"}, "552 5.3.4 Message size exceeds fixed limit", ""},
		{"huge size", "", []string{hello, "MAIL FROM:<a@b.test> SIZE=99999999999999999999\r\n"}, "552 5.3.4 Message size exceeds file system imposed limit", ""},
		{"bad size", "", []string{hello, "MAIL FROM:<a@b.test> SIZE=x\r\n"}, "501 5.5.4 Bad message size syntax", ""},
		{"option", "", []string{hello, "MAIL FROM:<a@b.test> FOO=1\r\n"}, "555 5.5.4 Unsupported option: FOO=1", ""},
		{"recipient limit", "", []string{hello, from, to, to, to, to}, "452 4.5.3 Error: too many recipients", ""},
		{"helo required", "smtpd_helo_required = yes\n", []string{from}, "503 5.5.1 Error: send HELO/EHLO first", ""},
		{"vrfy off", "disable_vrfy_command = yes\n", []string{"VRFY joe\r\n"}, "502 5.5.1 VRFY command is disabled", ""},
		{"web client", "", []string{"GET / HTTP/1.0\r\n"}, "221 2.7.0 Error: I can break rules, too. Goodbye.", ""},
		{"no TLS", "", []string{hello, "STARTTLS\r\n"}, "502 5.5.1 Error: command not implemented", ""},
		{"no AUTH", "", []string{hello, "AUTH PLAIN AAAA\r\n"}, "503 5.5.1 Error: authentication not enabled", ""},
		{"pipelined behind EHLO", "", []string{"EHLO a\r\nNOOP\r\n"}, "554 5.5.0 Error: SMTP protocol synchronization", ""},
		{"body before 354", "", []string{hello, from, to, "DATA\r\nx\r\n.\r\n"}, "554 5.5.0 Error: SMTP protocol synchronization", ""},
		{"chunks", "", []string{hello, from, to, "BDAT 3\r\nx\r\n", "BDAT 4 LAST\r\n.\r\ny"}, "250 2.0.0 Ok: 9 bytes queued as ID1", `<a@b.test> <joe@mx.test> "x\r\n.\r\ny\r\n"`},
		{"bad chunk", "", []string{hello, from, to, "BDAT -1\r\n"}, "521 5.5.4 Syntax: BDAT count [LAST]", ""},
		{"chunk without MAIL", "", []string{hello, "BDAT 3 LAST\r\nabc"}, "503 5.5.1 Error: need RCPT command", ""},
		{"DATA after BDAT", "", []string{hello, from, to, "BDAT 3\r\nx\r\n", "DATA\r\n"}, "503 5.5.1 Error: DATA after BDAT", ""},
		{"too many errors", "smtpd_hard_error_limit = 2\n", []string{"FOO\r\n", "FOO\r\n"}, "421 4.7.0 mx.test Error: too many errors", ""},
		{"stranger's XCLIENT", "", []string{hello, "XCLIENT ADDR=192.0.2.1\r\n"}, "550 5.7.0 Error: insufficient authorization", ""},
		{"missing milter", "smtpd_milters = inet:127.0.0.1:1\n", nil, "421 mx.test Service unavailable - try again later", ""},
		{"missing milter, tempfail", "smtpd_milters = inet:127.0.0.1:1\nmilter_default_action = tempfail\n", []string{hello, from}, "451 4.7.1 Service unavailable - try again later", ""},
		{"missing milter, reject", "smtpd_milters = inet:127.0.0.1:1\nmilter_default_action = reject\n", []string{hello, from}, "550 5.5.0 Service unavailable", ""},
		{"missing milter, its own action", "smtpd_milters = { inet:127.0.0.1:1, default_action=accept }\n", []string{hello, from}, "250 2.1.0 Ok", ""},
		{"missing milter, accept", "smtpd_milters = inet:127.0.0.1:1\nmilter_default_action = accept\n", []string{hello, from}, "250 2.1.0 Ok", ""},
		{"milters not for this service", "smtpd_milters = inet:127.0.0.1:1\nreceive_override_options = no_milters\n", []string{hello, from}, "250 2.1.0 Ok", ""},
		{"missing proxy filter", "smtpd_proxy_filter = 127.0.0.1:1\n", []string{hello, from, to}, "451 4.3.0 Error: queue file write error", ""},
		{"postmaster", "smtpd_recipient_restrictions = reject\n", []string{hello, from, "RCPT TO:<postmaster>\r\n"}, "250 2.1.5 Ok", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv, s := newServer(t, tt.config)
			lines := strings.Split(strings.TrimRight(converse(t, srv, tt.in...), "\r\n"), "\r\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, tt.last) {
				t.Errorf("last reply %q, want %q\n%s", last, tt.last, strings.Join(lines, "\n"))
			}
			if got := strings.Join(s.done, "|"); got != tt.queued {
				t.Errorf("queued %s, want %s", got, tt.queued)
			}
		})
	}
}

// TestSmuggling tries every wrong end of data. Whatever the client pretends, there
// is one message, and what follows the false end is its content.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	const inner = "MAIL FROM:<evil@b.test>\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\nsmuggled\r\n"
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\r\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n"} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			t.Parallel()
			srv, s := newServer(t, "")
			out := converse(t, srv, "EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<joe@mx.test>\r\n", "DATA\r\n",
				"one"+end+inner+"\r\n.\r\n", "QUIT\r\n")
			if len(s.done) != 1 || !strings.Contains(s.done[0], "smuggled") {
				t.Errorf("%d messages: %v\n%s", len(s.done), s.done, out)
			}
		})
	}
}

func TestEHLOKeywords(t *testing.T) {
	t.Parallel()
	srv, _ := newServer(t, "smtpd_discard_ehlo_keywords = chunking, etrn\n")
	got := converse(t, srv, "EHLO c.test\r\n")
	want := "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n"
	if !strings.HasSuffix(got, want) {
		t.Errorf("got %s", got)
	}
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	r, k := NewRates(), rateKey{service: "smtp"}
	for n := 1; n <= 3; n++ {
		if active, rate := r.connect(k, time.Minute); active != n || rate != n {
			t.Errorf("connection %d: active %d rate %d", n, active, rate)
		}
	}
	r.disconnect(k)
	if active, rate := r.connect(k, time.Minute); active != 3 || rate != 4 {
		t.Errorf("after one left: active %d rate %d", active, rate)
	}
}

func FuzzSession(f *testing.F) {
	f.Add("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
	f.Add("BDAT 3 LAST\r\nabcXCLIENT ADDR=1\r\nAUTH PLAIN =\r\nVRFY <\r\n")
	srv, _ := newServer(f, "smtpd_forbid_unauth_pipelining = no\n")
	f.Fuzz(func(t *testing.T, in string) {
		ours, theirs := net.Pipe()
		// goroutine: takes the replies; ends with the connection.
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		// goroutine: the client; ends with the connection.
		go func() {
			_, _ = io.WriteString(ours, in)
			_ = ours.Close()
		}()
		srv.ServeConn(context.Background(), theirs)
	})
}
