package bounce

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
	"postroad/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// post is a Poster that keeps what it is given.
type post struct {
	sent []*message
	err  error
}

type message struct {
	bytes.Buffer
	env                Envelope
	committed, aborted bool
	commitErr          error
}

func (m *message) ID() mail.QueueID { return "NEWID" }
func (m *message) Abort()           { m.aborted = true }
func (m *message) Commit(context.Context) error {
	m.committed = m.commitErr == nil
	return m.commitErr
}

func (p *post) begin(_ context.Context, e Envelope) (Message, error) {
	m := &message{env: e, commitErr: p.err}
	p.sent = append(p.sent, m)
	return m, nil
}

type content struct {
	text string
	err  error
}

func (c content) Size() int64   { return int64(len(c.text)) }
func (c content) Bytes() []byte { return nil }
func (c content) Open() (io.ReadCloser, error) {
	if c.err != nil {
		return nil, c.err
	}
	return io.NopCloser(strings.NewReader(c.text)), nil
}

func testSettings() Settings {
	return Settings{
		MyHostname: "mx.test", MyOrigin: "origin.test", MailName: "Postfix", SizeLimit: 50000,
		NotifyClasses: []string{"resource", "software"}, BounceRecipient: "postmaster", DelayRecipient: "postmaster",
		DoubleBounceRecipient: "postmaster", DoubleBounceSender: "double-bounce", HeaderFrom: "standard",
	}
}

// testTexts are the built-in templates.
func testTexts(form string) *Templates {
	return BuiltIn(form, func(name string) (string, bool, error) {
		v, ok := map[string]string{"myhostname": "mx.test", "delay_warning_time": "4h", "maximal_queue_lifetime": "5d"}[name]
		return v, ok, nil
	})
}

var (
	arrived  = time.Date(2026, 11, 25, 4, 55, 34, 0, time.UTC)
	reported = time.Date(2026, 11, 25, 5, 18, 28, 0, time.UTC)
)

const original = "Received: by mx.test (Postfix)\r\n\tid OLDID; Wed, 25 Nov 2026 04:55:34 +0000 (UTC)\r\nFrom: x@sender.test\r\nSubject: test\r\n" +
	"Message-ID: <orig@sender.test>\r\n\r\nhello body\r\n\r\n--OLDID.1795583908/other.test\r\nnot a part\r\n"

func refused(addr string) Failed {
	return Failed{Recipient: mail.Recipient{Address: mail.Address(addr), Original: mail.Address(addr), ORCPT: "rfc822;" + addr}, Result: mail.Result{
		Outcome: mail.Bounced, Enhanced: "5.1.1", RemoteMTA: "mx.far.test", DiagnosticType: "smtp", Diagnostic: "550-5.1.1 first line 550 5.1.1 <x>: no such user",
		Text: "host mx.far.test[192.0.2.1] said: 550-5.1.1 first line 550 5.1.1 <x>: no such user (in reply to RCPT TO command)", Relay: "mx.far.test[192.0.2.1]:25",
	}}
}

func unresolved(addr, orig string) Failed {
	return Failed{Recipient: mail.Recipient{Address: mail.Address(addr), Original: mail.Address(orig)}, Result: mail.Result{
		Outcome: mail.Bounced, Enhanced: "5.4.4", Text: "Host or domain name not found. Name service error for name=mx.oracle.test type=A: Host not found",
	}}
}

func delivered(addr string, n mail.Notify, f func(*mail.Result)) Failed {
	r := mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "250 2.0.0 Ok: queued as FAR", Relay: "mx.far.test[192.0.2.1]:25", RemoteMTA: "mx.far.test", DiagnosticType: "smtp", Diagnostic: "250 2.0.0 Ok: queued as FAR"}
	if f != nil {
		f(&r)
	}
	return Failed{Recipient: mail.Recipient{Address: mail.Address(addr), Original: mail.Address(addr), Notify: n}, Result: r}
}

// TestReports writes each kind of notification and compares it with the golden
// file; each is read back by a strict reader.
func TestReports(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  func(*Settings)
		call func(*Service, *Report) (mail.QueueID, error)
		edit func(*Report)
		rcpt []Failed
		to   string
		log  string
	}{
		{name: "failure", call: failure, rcpt: []Failed{refused("a@far.test"), unresolved("val.test@mx.oracle.test", "val.test"), unresolved("in@in", "")},
			to: "<> s@sender.test", log: "OLDID: sender non-delivery notification: NEWID"},
		{name: "failure-headers", call: failure, rcpt: []Failed{refused("a@far.test")}, to: "<> s@sender.test",
			edit: func(r *Report) { r.Envelope.Ret, r.Envelope.EnvID = mail.RetHeaders, "envid+20123" }, log: "OLDID: sender non-delivery notification: NEWID"},
		{name: "failure-large", call: failure, rcpt: []Failed{refused("a@far.test")}, to: "<> s@sender.test",
			edit: func(r *Report) { r.Content = content{text: original + strings.Repeat("x\r\n", 20000)} }, log: "OLDID: sender non-delivery notification: NEWID"},
		{name: "failure-eightbit", call: failure, rcpt: []Failed{refused("a@far.test")}, to: "<> s@sender.test", edit: func(r *Report) {
			r.Envelope.EightBit = true
			r.Content = content{text: "Subject: x\r\n\r\nh\xc3\xa9"}
			r.Recipients[0].Result.Text = "host said: 550 n\xc3\xb6\r\nX-Injected: yes"
			r.Recipients[0].Result.Diagnostic = "550 n\xc3\xb6\n\nAction: delivered"
		}, log: "OLDID: sender non-delivery notification: NEWID"},
		{name: "failure-smtputf8", call: failure, to: "<> s\u00f6@s\u00e4nder.test", edit: func(r *Report) {
			r.Envelope.SMTPUTF8, r.Envelope.Sender = true, "s\u00f6@s\u00e4nder.test"
		}, rcpt: []Failed{refused("\u00e4@far.test")}, log: "OLDID: sender non-delivery notification: NEWID"},
		{name: "failure-threaded", call: failure, set: func(s *Settings) { s.Threaded = true; s.HeaderFrom = "obsolete"; s.MailName = "Postroad" },
			rcpt: []Failed{refused("a@far.test")}, to: "<> s@sender.test", log: "OLDID: sender non-delivery notification: NEWID"},
		{name: "failure-lost", call: failure, rcpt: []Failed{refused("a@far.test")}, to: "<> s@sender.test",
			edit: func(r *Report) { r.Content = content{text: "x", err: fs.ErrNotExist} }, log: "OLDID: sender non-delivery notification: NEWID"},
		{name: "failure-copy", call: failure, set: func(s *Settings) { s.NotifyClasses = []string{"Bounce"} }, rcpt: []Failed{refused("a@far.test")},
			to:  "<> s@sender.test, double-bounce@mx.test postmaster@origin.test",
			log: "OLDID: sender non-delivery notification: NEWID\nOLDID: postmaster non-delivery notification: NEWID"},
		{name: "double", call: failure, set: func(s *Settings) { s.NotifyClasses = []string{"2bounce"} }, edit: func(r *Report) { r.Envelope.Sender = "" },
			rcpt: []Failed{refused("a@far.test")}, to: "double-bounce@mx.test postmaster@origin.test", log: "OLDID: postmaster non-delivery notification: NEWID"},
		{name: "delay", call: (*Service).Delay2, rcpt: []Failed{refused("a@far.test")}, to: "<> s@sender.test", log: "OLDID: sender delay notification: NEWID"},
		{name: "delay-copy", call: (*Service).Delay2, set: func(s *Settings) { s.NotifyClasses = []string{"delay"} }, rcpt: []Failed{refused("a@far.test")},
			to:  "<> s@sender.test, double-bounce@mx.test postmaster@origin.test",
			log: "OLDID: sender delay notification: NEWID\nOLDID: postmaster delay notification: NEWID"},
		{name: "success", call: success, to: "<> s@sender.test", rcpt: []Failed{
			delivered("relayed@far.test", mail.NotifySuccess, func(r *mail.Result) { r.Relayed = true }),
			delivered("passed@far.test", mail.NotifySuccess, func(r *mail.Result) { r.DSNPassed = true }),
			delivered("quiet@far.test", mail.NotifyFailure, nil),
			delivered("list@far.test", mail.NotifySuccess|mail.NotifyFailure, func(r *mail.Result) { r.Expanded = true }),
			delivered("box@far.test", mail.NotifySuccess, func(r *mail.Result) {
				*r = mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "delivered to mailbox", Relay: "local"}
			}),
		}, log: "OLDID: sender delivery status notification: NEWID"},
		{name: "verify", call: success, edit: func(r *Report) { r.Envelope.Probe = true }, to: "<> s@sender.test", rcpt: []Failed{
			delivered("a@far.test", 0, func(r *mail.Result) { r.Outcome = mail.Deliverable }),
			func() Failed { f := refused("b@far.test"); f.Result.Outcome = mail.Undeliverable; return f }(),
		}, log: "OLDID: sender delivery status notification: NEWID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set := testSettings()
			if tt.set != nil {
				tt.set(&set)
			}
			p, log := &post{}, &eventtest.Journal{}
			s := New(set, testTexts(set.HeaderFrom), p.begin, event.NewLogger(log, "postfix/bounce", 1))
			s.now = func() time.Time { return reported }
			r := &Report{Recipients: tt.rcpt, Content: content{text: original}, RetryUntil: arrived.Add(5 * 24 * time.Hour), Envelope: &mail.Envelope{
				ID: "OLDID", Sender: "s@sender.test", Arrived: arrived, MessageID: "<orig@sender.test>",
			}}
			if tt.edit != nil {
				tt.edit(r)
			}
			if id, err := tt.call(s, r); err != nil || id != "NEWID" {
				t.Fatalf("%q, %v", id, err)
			}
			var to, all []string
			for _, m := range p.sent {
				sender := string(m.env.Sender)
				if sender == "" {
					sender = "<>"
				}
				to = append(to, sender+" "+string(m.env.Recipient))
				all = append(all, m.String())
				if !m.committed {
					t.Error("not committed")
				}
				checkMIME(t, m.Bytes())
			}
			if got := strings.Join(to, ", "); got != tt.to {
				t.Errorf("sent to %s, want %s", got, tt.to)
			}
			if got := log.String(); got != tt.log {
				t.Errorf("log %s, want %s", got, tt.log)
			}
			golden(t, tt.name, strings.Join(all, "=====\r\n"))
		})
	}
}

func failure(s *Service, r *Report) (mail.QueueID, error) { return s.Failure(context.Background(), r) }
func success(s *Service, r *Report) (mail.QueueID, error) { return s.Success(context.Background(), r) }

// Delay2 has the shape of the table.
func (s *Service) Delay2(r *Report) (mail.QueueID, error) { return s.Delay(context.Background(), r) }

func golden(t *testing.T, name, got string) {
	t.Helper()
	testkit.Golden(t, filepath.Join("testdata", name+".golden"), got, *update)
}

// checkMIME reads a report with the strict readers of the standard library.
func checkMIME(t *testing.T, b []byte) {
	t.Helper()
	if bytes.Contains(bytes.ReplaceAll(b, []byte("\r\n"), nil), []byte("\n")) || bytes.Contains(bytes.ReplaceAll(b, []byte("\r\n"), nil), []byte("\r")) {
		t.Error("a line does not end in CRLF")
	}
	m, err := netmail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	mt, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || mt != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("%s %v %v", mt, params, err)
	}
	if _, err := m.Header.Date(); err != nil {
		t.Error(err)
	}
	if _, err := netmail.ParseAddress(m.Header.Get("From")); err != nil {
		t.Error(err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var types []string
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, part.Header.Get("Content-Type"))
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(part.Header.Get("Content-Type"), "delivery-status") {
			checkFields(t, string(body), part.Header.Get("Content-Type") == "message/delivery-status")
		}
	}
	if len(types) != 3 {
		t.Errorf("parts: %q", types)
	}
}

// checkFields reads the groups of fields of RFC 3464 2.1.
func checkFields(t *testing.T, body string, plain bool) {
	t.Helper()
	for i, group := range strings.Split(strings.TrimRight(body, "\r\n"), "\r\n\r\n") {
		h, err := netmail.ReadMessage(strings.NewReader(group + "\r\n\r\n"))
		if err != nil {
			t.Errorf("group %d: %v\n%s", i, err, group)
			continue
		}
		want := []string{"Reporting-Mta"}
		if i > 0 {
			want = []string{"Final-Recipient", "Action", "Status", "Diagnostic-Code"}
		}
		for _, name := range want {
			if len(h.Header[name]) != 1 {
				t.Errorf("group %d: %d fields %s", i, len(h.Header[name]), name)
			}
		}
		if plain && !isASCII(group) {
			t.Errorf("group %d is not ASCII", i)
		}
	}
}

// TestSucceeded: a success is told to who asked for it, unless another server tells
// it, and to who was warned before.
func TestSucceeded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		notify          mail.Notify
		passed, cleared bool
		want            bool
	}{
		{0, false, false, false}, {mail.NotifyFailure, false, false, false}, {mail.NotifySuccess, false, false, true}, {mail.NotifySuccess, true, false, false},
		{0, false, true, true}, {mail.NotifyDelay, true, true, true},
	} {
		f := delivered("a@far.test", tt.notify, nil)
		f.Result.DSNPassed, f.Cleared = tt.passed, tt.cleared
		if got := len(succeeded([]Failed{f})) == 1; got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
		f.Result.Outcome = mail.Deferred
		if len(succeeded([]Failed{f})) != 0 {
			t.Errorf("%+v: a delay is a success", tt)
		}
	}
}

// TestNothingToSay covers the cases in which no report is due.
func TestNothingToSay(t *testing.T) {
	t.Parallel()
	with := func(n mail.Notify) []Failed { f := refused("a@far.test"); f.Recipient.Notify = n; return []Failed{f} }
	tests := []struct {
		name   string
		call   func(*Service, *Report) (mail.QueueID, error)
		sender mail.Address
		rcpt   []Failed
		log    string
	}{
		{"null sender", failure, "", with(0), ""},
		{"double bounce", failure, "Double-Bounce@mx.test", with(0), "warning: OLDID: undeliverable postmaster notification discarded"},
		{"NEVER", failure, "s@sender.test", with(mail.NotifyNever), ""},
		{"SUCCESS only", failure, "s@sender.test", with(mail.NotifySuccess), ""},
		{"FAILURE only", (*Service).Delay2, "s@sender.test", with(mail.NotifyFailure), ""},
		{"delay of a bounce", (*Service).Delay2, "", with(0), ""},
		{"success not asked for", success, "s@sender.test", []Failed{delivered("a@far.test", 0, nil)}, ""},
		{"success of a bounce", success, "", []Failed{delivered("a@far.test", mail.NotifySuccess, nil)}, "OLDID: not sending trace/success notification for single-bounce message"},
	}
	for _, tt := range tests {
		p, log := &post{}, &eventtest.Journal{}
		s := New(testSettings(), testTexts("standard"), p.begin, event.NewLogger(log, "postfix/bounce", 1))
		id, err := tt.call(s, &Report{Envelope: &mail.Envelope{ID: "OLDID", Sender: tt.sender}, Content: content{text: original}, Recipients: tt.rcpt})
		if id != "" || err != nil || len(p.sent) != 0 {
			t.Errorf("%s: %q, %v, %d sent", tt.name, id, err, len(p.sent))
		}
		if got := log.String(); got != tt.log {
			t.Errorf("%s: log %q, want %q", tt.name, got, tt.log)
		}
	}
}

// TestTLSRequests: what a message asks of TLS is asked for its report, unless the
// report is kept short instead. Postfix 3.11.6 answered so.
func TestTLSRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		require, optional, redact bool
		want                      string
	}{
		{false, false, true, "full"},
		{true, false, true, "header"},
		{true, false, false, "full REQUIRETLS"},
		{true, true, true, "header"},
		{false, true, true, "full TLS-Required"},
	}
	for _, tt := range tests {
		p, log := &post{}, &eventtest.Journal{}
		set := testSettings()
		set.Redact = tt.redact
		s := New(set, testTexts("standard"), p.begin, event.NewLogger(log, "postfix/bounce", 1))
		env := &mail.Envelope{ID: "OLDID", Sender: "s@sender.test", RequireTLS: tt.require, TLSOptional: tt.optional, Ret: mail.RetFull}
		if _, err := s.Failure(t.Context(), &Report{Envelope: env, Content: content{text: original}, Recipients: []Failed{refused("a@far.test")}}); err != nil {
			t.Fatal(err)
		}
		sent, got := p.sent[0], "full"
		if strings.Contains(sent.String(), "text/rfc822-headers") {
			got = "header"
		}
		if sent.env.RequireTLS {
			got += " REQUIRETLS"
		}
		if strings.Contains(sent.String(), "\r\nTo: s@sender.test\r\nTLS-Required: no\r\nAuto-Submitted: ") {
			got += " TLS-Required"
		}
		if got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// TestTrouble checks that a report that cannot be posted is an error, so that
// the message stays in the queue.
func TestTrouble(t *testing.T) {
	t.Parallel()
	p, log := &post{err: errors.New("message file too big")}, &eventtest.Journal{}
	s := New(testSettings(), testTexts("standard"), p.begin, event.NewLogger(log, "postfix/bounce", 1))
	r := &Report{Envelope: &mail.Envelope{ID: "OLDID", Sender: "s@sender.test"}, Content: content{text: original}, Recipients: []Failed{refused("a@far.test")}}
	if _, err := failure(s, r); err == nil {
		t.Error("commit failed, but no error")
	}
	if got := log.Lines()[len(log.Lines())-1]; got != "warning: OLDID: sender notification failed to s@sender.test: message file too big" {
		t.Errorf("log %q", got)
	}
	p.err = nil
	r.Content = content{text: original, err: errors.New("disk")}
	if _, err := failure(s, r); err == nil || !p.sent[1].aborted || p.sent[1].committed {
		t.Errorf("content cannot be read: %v, %+v", err, p.sent[1])
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	word := strings.Repeat("w", 90)
	tests := map[string]string{
		"":                 "\r\n",
		"short":            "short\r\n",
		word:               word + "\r\n",
		"a " + word + " b": "a\r\n    " + word + "\r\n    b\r\n",
		"<u@in>: Host or domain name not found. Name service error for name=in type=A: Host not found":                                    "<u@in>: Host or domain name not found. Name service error for name=in type=A:\r\n    Host not found\r\n",
		"<r550@ok.test>: host mx.ok.test[127.0.0.2] said: 550-5.1.1 first line 550 5.1.1 <x>: no such user (in reply to RCPT TO command)": "<r550@ok.test>: host mx.ok.test[127.0.0.2] said: 550-5.1.1 first line 550 5.1.1\r\n    <x>: no such user (in reply to RCPT TO command)\r\n",
	}
	for in, want := range tests {
		if got := wrapText(in); got != want {
			t.Errorf("wrap(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("a b  c")
	f.Add(strings.Repeat("x", 100) + " y")
	f.Fuzz(func(t *testing.T, text string) {
		got := wrapText(text)
		squeeze := func(s string) string {
			return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }), " ")
		}
		clean := strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' || r == 0x7f {
				return '?'
			}
			return r
		}, strings.ToValidUTF8(text, "?"))
		if isASCII(text) && squeeze(got) != squeeze(clean) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
