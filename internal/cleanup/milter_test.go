package cleanup

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
	"postroad/internal/milter"
	"postroad/internal/postconf"
	"postroad/internal/queue"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/testkit"
)

// bench is a cleanup in front of a real queue and a scripted filter.
type bench struct {
	s      *Service
	view   *postconf.View
	filter *testkit.Milter
	log    eventtest.Journal
	// env and text are the last message that was queued.
	env  *mail.Envelope
	text string
}

func newBench(t *testing.T, config string, script testkit.MilterScript) *bench {
	t.Helper()
	filter, err := testkit.StartMilter("tcp", "127.0.0.1:0", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = filter.Close() })
	text := "myhostname = mx.test\nmyorigin = mx.test\nmydomain = test\nmydestination = mx.test\ncompatibility_level = 3.11\n" +
		"milter_default_action = tempfail\nmilter_macro_v = v0\nnon_smtpd_milters = " + filter.Addr() + "\n" + config
	cfg, problems := postconf.Parse("/etc/postfix", []byte(text), nil, postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	b := &bench{view: cfg.View(nil), filter: filter}
	tables := table.NewSet(table.Options{Warn: func(string, ...any) {}})
	log := event.NewLogger(&b.log, "postfix/cleanup", 1)
	router, _ := rewrite.New(b.view, tables, log)
	store, err := queue.Open(queue.Options{Dir: "spool", FS: vfs.NewMem(), Reserve: -1, MemTable: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	store.SetArrived(func(env *mail.Envelope, c mail.Content) {
		b.env = env
		r, err := c.Open()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = r.Close() }()
		all, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		b.text = string(all)
	})
	if b.s, problems = New(b.view, Deps{Tables: tables, Rewrite: router, Spool: Queue(store), Log: log}); postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	return b
}

// post sends a message; one with a session has it shown to the filter as smtpd does.
func (b *bench) post(t *testing.T, opt Options, text string, rcpts ...mail.Address) mail.Status {
	t.Helper()
	b.env, b.text = nil, ""
	if opt.Session != nil {
		cfg, _ := milter.FromView(b.view)
		list, err := cfg.Parse(b.filter.Addr())
		if err != nil {
			t.Fatal(err)
		}
		chain := list.Begin(t.Context(), event.NewLogger(&b.log, "postfix/smtpd", 1), func(string) (string, bool) { return "", false })
		defer chain.Close()
		for _, r := range []*milter.Reply{chain.Connect(milter.Client{Name: "c.test"}), chain.Helo("c"), chain.Mail("<a@b.test>"), chain.Rcpt(false, "<joe@mx.test>"), chain.Data()} {
			if r != nil {
				t.Fatal(r)
			}
		}
		opt.Filters = chain
	}
	m, err := b.s.Begin(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Abort()
	m.SetSender("a@b.test", SenderParams{})
	for _, r := range rcpts {
		m.AddRecipient(mail.Recipient{Address: r})
	}
	m.Header("Received: from c\n\tby mx")
	if _, err := io.WriteString(m, text); err != nil {
		t.Fatal(err)
	}
	return m.Finish(context.Background())
}

// smtp are the options of a message that comes by SMTP.
func smtp() Options {
	ses := &mail.Session{Client: mail.Peer{Name: "c.test", ReverseName: "r.test", Addr: netip.MustParseAddr("192.0.2.1"), Port: 5}, Helo: "h", ESMTP: true}
	return Options{Origin: mail.OriginSMTP, Session: ses, Context: rewrite.Remote, Facts: mail.ClientFacts{Helo: "h", Proto: "ESMTP", SASLMethod: "PLAIN", SASLUser: "joe"}}
}

const filterText = "Subject: s\r\nX: 1\r\nx: 2\r\n\r\nbody\r\n"

// TestFilterEdits makes every edit in a small and in a large message. What is not
// edited keeps its bytes.
func TestFilterEdits(t *testing.T) {
	t.Parallel()
	const trace = "Received: from c\r\n\tby mx\r\n"
	for _, body := range []string{"body\r\n", strings.Repeat("a line of a large body, which is a file of its own\r\n", 4000)} {
		for answer, want := range map[string]string{
			"":                             trace + "Subject: s\r\nX: 1\r\nx: 2\r\n",
			"addheader A: b":               trace + "Subject: s\r\nX: 1\r\nx: 2\r\nA: b\r\n",
			"insertheader 0 A: b":          "A: b\r\n" + trace + "Subject: s\r\nX: 1\r\nx: 2\r\n",
			"insertheader 1 A: b":          trace + "A: b\r\nSubject: s\r\nX: 1\r\nx: 2\r\n",
			"insertheader 9 A: b":          trace + "Subject: s\r\nX: 1\r\nx: 2\r\nA: b\r\n",
			"changeheader 2 X: new":        trace + "Subject: s\r\nX: 1\r\nX: new\r\n",
			"changeheader 1 Received: new": trace + "Subject: s\r\nX: 1\r\nx: 2\r\nReceived: new\r\n",
			"changeheader 1 X:\nchangeheader 1 X: two": trace + "Subject: s\r\nX: two\r\n",
			`addheader A: b\r\nc\n\n d\re`:             trace + "Subject: s\r\nX: 1\r\nx: 2\r\nA: b\r\n\tc\r\n\t\r\n d e\r\n",
		} {
			b := newBench(t, "", testkit.MilterScript{Answers: map[string]string{"eom": strings.TrimPrefix(answer+"\ncontinue", "\n")}})
			st := b.post(t, smtp(), "Subject: s\r\nX: 1\r\nx: 2\r\n\r\n"+body, "joe@mx.test")
			if st.Code != 250 || b.text != want+"\r\n"+body {
				t.Errorf("%q: %v, header\n%q\nwant\n%q\nbody equal: %v, log %q", answer, st, b.text[:min(len(b.text), len(want))], want, strings.HasSuffix(b.text, "\r\n\r\n"+body), b.log.Lines())
			}
		}
	}
}

func TestFilterBody(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("new line\r\n", 20_000)
	for _, tt := range []struct{ answer, want string }{
		{`replacebody a\nb\r\nc\rd`, "a\r\nb\r\nc d\r\n"},
		{"replacebody a\\r\nreplacebody \\nb\\r", "a\r\nb\r\n"},
		{"replacebody ", ""},
		{"replacebody " + strings.ReplaceAll(big, "\r\n", `\r\n`) + "\naddheader A: b", big},
	} {
		for _, head := range []string{"Subject: s\r\n\r\nold\r\n", "Subject: s\r\n", "Subject: s\r\n\r\n" + big} {
			b := newBench(t, "", testkit.MilterScript{Answers: map[string]string{"eom": tt.answer + "\ncontinue"}})
			st := b.post(t, smtp(), head, "joe@mx.test")
			_, body, _ := strings.Cut(b.text, "\r\n\r\n")
			if st.Code != 250 || body != tt.want || b.env.Size != int64(len(b.text)) {
				t.Errorf("%.40q: %v, size %v, body %.80q, log %q", tt.answer, st, b.env, body, b.log.Lines())
			}
		}
	}
	b := newBench(t, "message_size_limit = 500\n", testkit.MilterScript{Answers: map[string]string{"eom": "replacebody " + strings.Repeat("x", 600) + "\ncontinue"}})
	if st := b.post(t, smtp(), filterText, "joe@mx.test"); st.Code != 552 || b.env != nil {
		t.Errorf("too large a body: %v", st)
	}
}

func TestFilterEnvelope(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"changefrom <new@b.test> RET=HDRS ENVID=a+2Bb": "new@b.test: joe@mx.test -- 2 a+2Bb",
		"changefrom <>":                     ": joe@mx.test -- 0 ",
		"addrcpt <new>":                     "a@b.test: joe@mx.test new@mx.test -- 0 ",
		"addrcpt <list@v.test>":             "a@b.test: joe@mx.test one@x.test two@x.test -- 0 ",
		"addrcpt <joe@mx.test>":             "a@b.test: joe@mx.test joe@mx.test -- 0 ",
		"addrcpt <n@x>\naddrcpt <n@x>":      "a@b.test: joe@mx.test n@x -- 0 ",
		"delrcpt <joe@mx.test>\naddrcpt x":  "a@b.test: x@mx.test -- 0 ",
		"delrcpt <JOE@mx.test>":             "a@b.test: joe@mx.test -- 0 ",
		"delrcpt <joe@mx.test>":             "nothing",
		"discard":                           "nothing",
		"addrcptargs <n@x> NOTIFY=NEVER":    "a@b.test: joe@mx.test n@x/8 -- 0 ",
		"addrcptargs <n@x> NOTIFY=X ORCPT=": "a@b.test: joe@mx.test n@x -- 0 ",
	} {
		b := newBench(t, "virtual_alias_maps = inline:{{list@v.test=one@x.test, two@x.test}}\n", testkit.MilterScript{Answers: map[string]string{"eom": answer + "\ncontinue"}})
		st := b.post(t, smtp(), filterText, "joe@mx.test")
		got := "nothing"
		if b.env != nil {
			got = string(b.env.Sender) + ":"
			for _, r := range b.env.Recipients {
				if got += " " + string(r.Address); r.Notify != 0 {
					got += fmt.Sprintf("/%d", r.Notify)
				}
			}
			got += fmt.Sprintf(" -- %d %s", b.env.Ret, b.env.EnvID)
		}
		if st.Code != 250 || got != want {
			t.Errorf("%q: %v, %q, want %q; log %q", answer, st, got, want, b.log.Lines())
		}
	}
}

// TestFilterVerdicts has filters object at the end of the message.
func TestFilterVerdicts(t *testing.T) {
	t.Parallel()
	const checks = "milter_header_checks = pcre:{{/^X-(\\w+): (.*)/ $$1 $$2}}\n"
	for _, tt := range []struct{ answer, status, log string }{
		{"reject", "550 5.7.1 Command rejected", "milter-reject: END-OF-MESSAGE from c.test[192.0.2.1]: 5.7.1 Command rejected; from=<a@b.test> to=<joe@mx.test> proto=ESMTP helo=<h>"},
		{`reply 451-4.7.0 a\r\n451 4.7.0 b`, "451 4.7.0 a\nb", "milter-reject: END-OF-MESSAGE from c.test[192.0.2.1]: 4.7.0 a??451 4.7.0 b; "},
		{"shutdown", "421 4.7.0 Service unavailable", "milter-reject: END-OF-MESSAGE from c.test[192.0.2.1]: 4.7.0 Service unavailable; "},
		{"quarantine looks odd\ncontinue", "250 2.0.0", "milter-hold: END-OF-MESSAGE from c.test[192.0.2.1]: looks odd; "},
		{"discard", "250 2.0.0", "milter-discard: END-OF-MESSAGE from c.test[192.0.2.1]: milter triggers DISCARD action; "},
		{"close", "451 4.7.1 Service unavailable - try again later", "milter-reject: END-OF-MESSAGE from c.test[192.0.2.1]: 4.7.1 Service unavailable - try again later; "},
		{"addheader X-REJECT: 5.7.8 no\naddheader A: b\ncontinue", "550 5.7.8 no", "milter-header-reject: header X-REJECT: 5.7.8 no from c.test[192.0.2.1]; from=<a@b.test> to=<joe@mx.test> proto=ESMTP helo=<h>: 5.7.8 no"},
		{"addheader X-HOLD: y\ncontinue", "250 2.0.0", "milter-header-hold: header X-HOLD: y from c.test[192.0.2.1]; "},
		{"addheader X-DISCARD: y\ncontinue", "250 2.0.0", "milter-header-discard: header "},
		{"addheader X-PREPEND: A: b\ncontinue", "250 2.0.0", "prepend action is not implemented"},
		{"addheader X-BCC: q@x.test\ncontinue", "250 2.0.0", "milter-header-bcc: header "},
	} {
		b := newBench(t, checks, testkit.MilterScript{Answers: map[string]string{"eom": tt.answer}})
		st := b.post(t, smtp(), filterText, "joe@mx.test")
		if all := strings.Join(b.log.Lines(), "\n"); !strings.HasPrefix(st.String(), tt.status) || !strings.Contains(all, tt.log) {
			t.Errorf("%q: %q, want %q; log\n%s\nwants\n%s", tt.answer, st, tt.status, all, tt.log)
		}
		held := strings.Contains(tt.log, "hold") || strings.Contains(tt.log, "discard") || st.Code != 250
		if (b.env == nil) != held {
			t.Errorf("%q: delivered: %v", tt.answer, b.env != nil)
		}
	}
}

// TestLocalFilters shows local mail and reports to non_smtpd_milters.
func TestLocalFilters(t *testing.T) {
	t.Parallel()
	local := Options{Origin: mail.OriginLocal, Context: rewrite.Local, Facts: mail.ClientFacts{UID: 0}}
	b := newBench(t, "milter_connect_macros = j _ {client_addr} {daemon_addr}\n", testkit.MilterScript{Answers: map[string]string{"eom": "addheader A: b\ncontinue"}})
	if st := b.post(t, local, filterText, "joe"); st.Code != 250 || !strings.Contains(b.text, "\r\nA: b\r\n") {
		t.Errorf("%v %q", st, b.text)
	}
	want := "1 connect localhost 4 0 127.0.0.1 | C: j=mx.test _=localhost [127.0.0.1] {client_addr}=127.0.0.1 {daemon_addr}=127.0.0.1\n1 helo localhost | H: \n" +
		"1 mail a@b.test | M: i=" + string(b.env.ID) + " {mail_addr}=a@b.test\n1 rcpt joe@mx.test | R: i=" + string(b.env.ID) + " {rcpt_addr}=joe@mx.test\n1 data "
	waitFor(t, func() bool { return strings.HasSuffix(strings.Join(b.filter.Log(), "\n"), "quit") })
	if got := strings.Join(b.filter.Log(), "\n"); !strings.Contains(got, want) {
		t.Errorf("the filter saw\n%s", got)
	}
	for name, tt := range map[string]struct {
		config string
		opt    Options
		seen   bool
	}{
		"no_milters":      {"", Options{Origin: mail.OriginLocal, NoMilters: true}, false},
		"report":          {"", Options{Origin: mail.OriginInternal, Class: "bounce"}, false},
		"report, asked":   {"internal_mail_filter_classes = bounce\n", Options{Origin: mail.OriginInternal, Class: "bounce"}, true},
		"forward, asked":  {"internal_mail_filter_classes = forward, bounce\n", Options{Origin: mail.OriginInternal}, false},
		"SMTP without":    {"", Options{Origin: mail.OriginSMTP}, false},
		"another session": {"", Options{Origin: mail.OriginLocal}, true},
	} {
		b := newBench(t, tt.config, testkit.MilterScript{})
		if st := b.post(t, tt.opt, filterText, "joe@mx.test"); st.Code != 250 || len(b.filter.Log()) > 0 != tt.seen {
			t.Errorf("%s: %v, the filter saw %q", name, st, b.filter.Log())
		}
	}
	for answer, want := range map[string]string{"connect": "5.7.1", "helo": "5.7.1", "mail": "5.7.1", "rcpt": "4.3.5", "data": "5.7.1", "eom": "5.7.1"} {
		b := newBench(t, "", testkit.MilterScript{Answers: map[string]string{answer: "reject"}})
		if st := b.post(t, local, filterText, "joe"); st.Enhanced != want || b.env != nil {
			t.Errorf("reject at %s: %v", answer, st)
		}
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if !testkit.Poll(ctx, 5*time.Millisecond, done) {
		t.Error("waited in vain")
	}
}

// TestHugeHeader edits a header that is larger than may be in memory.
func TestHugeHeader(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("X-Field: "+strings.Repeat("y", 1000)+"\r\n", 1500) + "\r\nbody\r\n"
	for answer, code := range map[string]int{"continue": 250, "addheader A: b\ncontinue": 552, "addrcpt <n@x>\ncontinue": 250} {
		b := newBench(t, "", testkit.MilterScript{Events: 1 << 7, Answers: map[string]string{"eom": answer}})
		if st := b.post(t, smtp(), huge, "joe@mx.test"); st.Code != code || (b.env != nil) != (code == 250) {
			t.Errorf("%q: %v", answer, st)
		}
	}
}
