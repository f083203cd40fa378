package cleanup

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/queue"
	"postroad/internal/rewrite"
	"postroad/internal/table"
)

// paper is a spool that keeps one message.
type paper struct {
	bytes.Buffer
	env  *mail.Envelope
	fail error
}

func (p *paper) Begin() (Writer, error) { return p, nil }
func (p *paper) ID() mail.QueueID       { return "QID" }
func (p *paper) Size() int64            { return int64(p.Len()) }
func (p *paper) Abort()                 {}

func (p *paper) Commit(_ context.Context, env *mail.Envelope) error {
	if p.fail != nil {
		return p.fail
	}
	copied := *env
	p.env = &copied
	return nil
}

// service is a cleanup with that configuration.
func service(t testing.TB, config string) (*Service, *paper) {
	t.Helper()
	s, p, problems := configured(t, config)
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	return s, p
}

// configured is service with what is wrong with the configuration.
func configured(t testing.TB, config string) (*Service, *paper, []postconf.Problem) {
	t.Helper()
	cfg, problems := postconf.Parse("/etc/postfix", []byte("myhostname = mx.test\nmyorigin = mx.test\nmydomain = test\nmydestination = mx.test\ncompatibility_level = 3.11\n"+config), nil, postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	view := cfg.View(nil)
	tables := table.NewSet(table.Options{Warn: func(string, ...any) {}})
	log := event.NewLogger(nil, "postfix/cleanup", 1)
	router, problems := rewrite.New(view, tables, log)
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	p := &paper{}
	now := func() time.Time { return time.Date(2026, 11, 5, 9, 8, 7, 0, time.UTC) }
	s, problems := New(view, Deps{Tables: tables, Rewrite: router, Spool: p, Log: log, Now: now})
	return s, p, problems
}

// send takes one message through.
func send(t testing.TB, s *Service, opt Options, text string, rcpts ...mail.Address) mail.Status {
	t.Helper()
	m, err := s.Begin(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	m.SetSender("a@b.test", SenderParams{})
	for _, r := range rcpts {
		m.AddRecipient(mail.Recipient{Address: r})
	}
	for _, part := range strings.SplitAfter(text, "~") { // "~" is where one write ends
		if _, err := m.Write([]byte(strings.TrimSuffix(part, "~"))); err != nil {
			t.Fatal(err)
		}
	}
	return m.Finish(context.Background())
}

func TestContent(t *testing.T) {
	t.Parallel()
	local, remote := Options{Context: rewrite.Local, FullName: "Joe", Origin: mail.OriginLocal}, Options{Context: rewrite.Remote}
	const made = "Message-Id: <20261105090807.QID@mx.test>\r\nDate: Thu, 05 Nov 2026 09:08:07 +0000 (UTC)\r\nFrom: Joe <a@b.test>\r\n"
	tests := []struct {
		name, config string
		opt          Options
		in, want     string
	}{
		{"remote is left alone", "", remote, "Subject: x\r\nTo: joe\r\n\r\nbody\r\n", "Subject: x\r\nTo: joe\r\n\r\nbody\r\n"},
		{"local is completed", "", local, "To: joe\r\n\r\nbody\r\n", "To: joe@mx.test\r\n" + made + "\r\nbody\r\n"},
		{"cut anywhere", "", remote, "Subj~ect: x\r~\n\tmore\r\n~\r\n~bo~dy\r~\n", "Subject: x\r\n\tmore\r\n\r\nbody\r\n"},
		{"no header", "", remote, "just text\r\n", "\r\njust text\r\n"},
		{"no body", "", remote, "Subject: x\r\n", "Subject: x\r\n"},
		{"no end of line", "", remote, "Subject: x\r\n\r\nend", "Subject: x\r\n\r\nend\r\n"},
		{"dropped fields", "", remote, "Bcc: x@y\r\nReturn-Path: <q@r>\r\nSubject: x\r\n\r\n", "Subject: x\r\n\r\n"},
		{"From line", "", remote, "From me\r\nSubject: x\r\n\r\n", "X-Mailbox-Line: From me\r\nSubject: x\r\n\r\n"},
		{"stray CR and LF", "", remote, "Subject: a\rb\r\n\r\nc\rd\r\n", "Subject: a b\r\n\r\nc d\r\n"},
		{"replace", "header_checks = pcre:{{/^subject: (.*)/ REPLACE X-Was: $$1}}\n", remote, "Subject: x\r\n\r\n", "X-Was: x\r\n\r\n"},
		{"ignore", "header_checks = regexp:{{/^x-secret:/ IGNORE}}\n", remote, "X-Secret: 1\r\nSubject: x\r\n\r\n", "Subject: x\r\n\r\n"},
		{"body check", "body_checks = regexp:{{/drop/ IGNORE}}\n", remote, "Subject: x\r\n\r\nkeep\r\ndrop\r\nkeep\r\n", "Subject: x\r\n\r\nkeep\r\nkeep\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, p := service(t, tt.config)
			if st := send(t, s, tt.opt, tt.in, "joe@mx.test"); st.Code != 250 {
				t.Fatal(st)
			}
			if p.String() != tt.want {
				t.Errorf("got  %q\nwant %q", p.String(), tt.want)
			}
		})
	}
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	const maps = "recipient_delimiter = +\nvirtual_alias_maps = inline:{{one@v.test=a@x.test} {two@v.test=one@v.test, b@x.test} {loop@v.test=loop2@v.test} {loop2@v.test=loop@v.test} {@all.test=@x.test} {self@v.test=self@v.test, c@x.test}}\n"
	for rcpt, want := range map[mail.Address]string{
		"plain@y.test":   "plain@y.test",
		"joe":            "joe@mx.test",
		"one@v.test":     "a@x.test",
		"one+ext@v.test": "a+ext@x.test",
		"two@v.test":     "a@x.test b@x.test",
		"who@all.test":   "who@x.test",
		"self@v.test":    "self@v.test c@x.test",
	} {
		s, p := service(t, maps)
		if st := send(t, s, Options{}, "\r\n", rcpt); st.Code != 250 {
			t.Fatalf("%s: %v", rcpt, st)
		}
		var got []string
		for _, r := range p.env.Recipients {
			got = append(got, string(r.Address))
			if r.Original != rcpt {
				t.Errorf("%s: original %s", rcpt, r.Original)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", rcpt, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	hops := strings.Repeat("Received: x\r\n", 60) + "\r\n"
	for name, tt := range map[string]struct {
		config, text string
		fail         error
		want         string
	}{
		"too big":      {"message_size_limit = 10\n", "Subject: long enough\r\n\r\n", nil, "552 5.3.4 Error: message file too big"},
		"hops":         {"", hops, nil, "554 5.4.0 Error: too many hops"},
		"disk full":    {"", "\r\n", queue.ErrFull, "452 4.3.1 Error: insufficient system storage"},
		"write error":  {"", "\r\n", errors.New("EIO"), "451 4.3.0 Error: queue file write error"},
		"broken table": {"virtual_alias_maps = fail:x\n", "\r\n", nil, "451 4.3.0 Error: queue file write error"},
		"circle":       {"mydestination =\nvirtual_alias_maps = inline:{{joe@mx.test=ann@mx.test} {ann@mx.test=joe@mx.test}}\n", "\r\n", nil, "451 4.6.0 Alias expansion error"},
		"check":        {"header_checks = regexp:{{/^subject:/ REJECT 5.7.9 no}}\n", "Subject: x\r\n\r\n", nil, "550 5.7.9 no"},
		"broken check": {"header_checks = fail:x\n", "Subject: x\r\n\r\n", nil, "451 4.3.0 Error: queue file write error"},
	} {
		s, p := service(t, tt.config)
		p.fail = tt.fail
		if st := send(t, s, Options{}, tt.text, "joe@mx.test"); st.String() != tt.want {
			t.Errorf("%s: %s, want %s", name, st, tt.want)
		}
		if p.env != nil {
			t.Errorf("%s: the message was queued", name)
		}
	}
}

func TestDuplicatesAreDropped(t *testing.T) {
	t.Parallel()
	s, p := service(t, "")
	if st := send(t, s, Options{}, "\r\n", "a@x.test", "A@x.test", "b@x.test"); st.Code != 250 || len(p.env.Recipients) != 2 {
		t.Errorf("%v, recipients %+v", st, p.env.Recipients)
	}
}

func FuzzContent(f *testing.F) {
	f.Add("Subject: x\r\nTo: a, b\r\n\r\nbody\r\n")
	f.Add("\r\n.\r\r\nX:\n y\x00\xff")
	s, p := service(f, "header_checks = regexp:{{/x/ WARN}}\nbody_checks = regexp:{{/y/ IGNORE}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		p.Reset()
		send(t, s, Options{Context: rewrite.Local}, text, "joe@mx.test")
		if out := p.String(); strings.Contains(strings.ReplaceAll(out, "\r\n", ""), "\n") {
			t.Errorf("a bare LF came out of %q: %q", text, out)
		}
	})
}
