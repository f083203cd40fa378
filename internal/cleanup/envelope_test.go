package cleanup

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
)

// TestExpandedReports shows that an expansion takes over the report of success,
// as RFC 3461 5.2.7 wants, when there is somebody to send it.
func TestExpandedReports(t *testing.T) {
	t.Parallel()
	const both = mail.NotifySuccess | mail.NotifyFailure
	for _, tt := range []struct {
		addr         mail.Address
		ask, left    mail.Notify
		hook, report bool
	}{
		{"list@v.test", both, mail.NotifyFailure, true, true},
		{"list@v.test", mail.NotifySuccess, mail.NotifyNever, true, true},
		{"list@v.test", both, both, false, false},
		{"one@v.test", mail.NotifySuccess, mail.NotifyNever, true, true},
		{"self@v.test", mail.NotifySuccess, mail.NotifySuccess, true, false},
		{"none@v.test", mail.NotifySuccess, mail.NotifySuccess, true, false},
		{"list@v.test", mail.NotifyFailure, mail.NotifyFailure, true, false},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			t.Parallel()
			p := &paper{}
			s := serviceFor(t, baseConfig+"virtual_alias_maps = inline:{{list@v.test=a@x.test, b@x.test}, {one@v.test=a@x.test}, {self@v.test=self@v.test}}\n", p, nil)
			var reported []mail.Recipient
			if tt.hook {
				s.deps.Expanded = func(_ context.Context, env *mail.Envelope, header mail.Content, rcpts []mail.Recipient) {
					if got := string(header.Bytes()); got != "Subject: x\r\n" {
						t.Errorf("header %q", got)
					}
					if p.env == nil {
						t.Error("reported before the commit")
					}
					reported = rcpts
				}
			}
			m, err := s.Begin(context.Background(), Options{Origin: mail.OriginSMTP, Context: rewrite.Remote})
			if err != nil {
				t.Fatal(err)
			}
			m.SetSender("s@src.test", SenderParams{})
			m.AddRecipient(mail.Recipient{Address: tt.addr, Notify: tt.ask})
			_, _ = m.Write([]byte("Subject: x\r\n\r\n"))
			if st := m.Finish(context.Background()); st.Code != 250 {
				t.Fatal(st)
			}
			for _, r := range p.env.Recipients {
				if r.Notify != tt.left {
					t.Errorf("%s: notify %d, want %d", r.Address, r.Notify, tt.left)
				}
			}
			if tt.report != (len(reported) == 1) || tt.report && reported[0].Address != tt.addr {
				t.Errorf("reported: %+v", reported)
			}
		})
	}
}

// TestLabels shows when a message is marked as 8-bit and as SMTPUTF8.
func TestLabels(t *testing.T) {
	t.Parallel()
	const multipart = "Content-Type: Multipart/mixed; boundary=b\r\n"
	for _, tt := range []struct {
		name, config string
		opt          Options
		params       SenderParams
		rcpt         mail.Address
		text         string
		eight, utf8  bool
	}{
		{name: "plain", text: "\r\nx\r\n"},
		{name: "asked for", params: SenderParams{Body8Bit: true, SMTPUTF8: true}, text: "\r\nx\r\n", eight: true, utf8: true},
		{name: "header says so", text: "Content-Transfer-Encoding:  8BIT \r\n\r\nx\r\n", eight: true},
		{name: "header is not believed", config: "detect_8bit_encoding_header = no\n", text: "Content-Transfer-Encoding: 8bit\r\n\r\nx\r\n"},
		{name: "bytes without label", text: "\r\n\xc3\xa9\r\n"},
		{name: "bytes in a multipart", text: multipart + "\r\n\xc3\xa9\r\n", eight: true},
		{name: "multipart without bytes", text: multipart + "\r\nx\r\n"},
		{name: "local header", opt: Options{Origin: mail.OriginLocal}, text: "Subject: \xc3\xa9\r\n\r\nx\r\n", utf8: true},
		{name: "local address", opt: Options{Origin: mail.OriginLocal}, rcpt: "\xc3\xa9@v.test", text: "\r\nx\r\n", utf8: true},
		{name: "local body", opt: Options{Origin: mail.OriginLocal}, text: "\r\n\xc3\xa9\r\n"},
		{name: "remote header", text: "Subject: \xc3\xa9\r\n\r\nx\r\n"},
		{name: "not wanted", config: "smtputf8_autodetect_classes = verify\n", opt: Options{Origin: mail.OriginLocal}, text: "Subject: \xc3\xa9\r\n\r\nx\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &paper{}
			s := serviceFor(t, baseConfig+tt.config, p, nil)
			m, err := s.Begin(context.Background(), tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			m.SetSender("s@src.test", tt.params)
			rcpt := tt.rcpt
			if rcpt == "" {
				rcpt = "r@dst.test"
			}
			m.AddRecipient(mail.Recipient{Address: rcpt})
			_, _ = m.Write([]byte(tt.text))
			if st := m.Finish(context.Background()); st.Code != 250 {
				t.Fatal(st)
			}
			if p.env.EightBit != tt.eight || p.env.SMTPUTF8 != tt.utf8 {
				t.Errorf("8-bit %v, SMTPUTF8 %v", p.env.EightBit, p.env.SMTPUTF8)
			}
		})
	}
}

// TestApply shows what access control can do to a message.
func TestApply(t *testing.T) {
	t.Parallel()
	p := &paper{}
	s := serviceFor(t, baseConfig, p, nil)
	m, err := s.Begin(context.Background(), Options{Filter: "smtp:[first.test]"})
	if err != nil {
		t.Fatal(err)
	}
	m.SetSender("s@src.test", SenderParams{})
	m.AddRecipient(mail.Recipient{Address: "r@dst.test"})
	m.Apply(Actions{Hold: true, Filter: "lmtp:unix:/x", Redirect: "joe", Prepend: []string{"X-A: 1\n\t2", "X-B: 3"}, BCC: []mail.Address{"copy"}})
	_, _ = m.Write([]byte("Subject: x\r\n\r\n"))
	if st := m.Finish(context.Background()); st.Code != 250 {
		t.Fatal(st)
	}
	e := p.env
	if !e.Hold || e.FilterTransport != "lmtp" || e.FilterNexthop != "unix:/x" || e.Redirect != "joe@example.com" ||
		len(e.Recipients) != 2 || e.Recipients[1].Address != "copy@example.com" || e.Recipients[1].Notify != mail.NotifyNever {
		t.Errorf("envelope %+v", e)
	}
	if !strings.HasPrefix(p.String(), "X-A: 1\r\n\t2\r\nX-B: 3\r\nSubject: x\r\n") {
		t.Errorf("text %q", p.String())
	}
}

// TestDiscard shows that a discarded message is answered like any other, and is
// not there.
func TestDiscard(t *testing.T) {
	t.Parallel()
	p, log := &paper{}, &eventtest.Journal{}
	s := serviceFor(t, baseConfig, p, log)
	m, err := s.Begin(context.Background(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.SetSender("s@src.test", SenderParams{})
	m.Apply(Actions{Discard: true})
	m.AddRecipient(mail.Recipient{Address: "r@dst.test"})
	_, _ = m.Write([]byte("Subject: x\r\n\r\n"))
	if st := m.Finish(context.Background()); st.String() != "250 2.0.0 Ok: queued as QID" || p.env != nil {
		t.Errorf("%v, %+v", st, p.env)
	}
	if got := strings.Join(log.Lines(), "|"); got != "QID: removed (discarded)" {
		t.Errorf("log %q", got)
	}
}

// TestVerify: a probe is checked by nobody, follows the aliases, and is answered
// here when there are several: then it goes through the queue without recipients.
func TestVerify(t *testing.T) {
	t.Parallel()
	const config = "always_bcc = copy@x.test\nheader_checks = static:REJECT\nvirtual_alias_maps = inline:{{list@v.test=a@x.test, b@x.test} {one@v.test=a@x.test}}\n"
	for rcpt, want := range map[mail.Address]string{
		"joe@mx.test":  "joe@mx.test",
		"one@v.test":   "a@x.test",
		"list@v.test":  "verified list@v.test aliased to multiple recipients",
		"other@v.test": "other@v.test",
	} {
		s, p := service(t, config)
		got := ""
		s.deps.Verified = func(r mail.Recipient, text string) { got = "verified " + string(r.Address) + " " + text }
		st := send(t, s, Options{Origin: mail.OriginInternal, Verify: true}, "\r\n", rcpt)
		if !p.env.Verify || !p.env.Probe || len(p.env.Recipients) > 1 {
			t.Errorf("%s: %+v", rcpt, p.env)
		}
		for _, r := range p.env.Recipients {
			got += string(r.Address)
		}
		if got != want || st.Code != 250 {
			t.Errorf("%s: %q, want %q, %v", rcpt, got, want, st)
		}
	}
}

// TestTLSRequests: what the header says about TLS, and the field that stands for
// REQUIRETLS on the way through a filter. Postfix 3.11.6 did the same.
func TestTLSRequests(t *testing.T) {
	t.Parallel()
	const mark = "Require-TLS-ESMTP: yes\r\n"
	tests := []struct {
		config, header  string
		asked           bool
		require, waived bool
		want            string
	}{
		{"", "A: b\r\n", false, false, false, "A: b\r\n"},
		{"", "A: b\r\n", true, true, false, "A: b\r\n" + mark},
		{"", mark, false, true, false, mark},
		{"", mark + "A: b\r\n", true, true, false, mark + "A: b\r\n"},
		{"", "require-tls-esmtp:\r\n YES\r\n", false, true, false, "require-tls-esmtp:\r\n YES\r\n"},
		{"", "Require-TLS-ESMTP: yes \r\n", false, false, false, "Require-TLS-ESMTP: yes \r\n"},
		{"", "Require-TLS-ESMTP: no\r\n", true, true, false, "Require-TLS-ESMTP: no\r\n" + mark},
		{"requiretls_esmtp_header = no\n", mark, false, false, false, mark},
		{"requiretls_esmtp_header = no\n", "A: b\r\n", true, true, false, "A: b\r\n"},
		{"requiretls_enable = no\n", mark, false, false, false, mark},
		{"", "TLS-Required:  No\r\n", false, false, true, "TLS-Required:  No\r\n"},
		{"", "TLS-Required: no, x\r\n", false, false, false, "TLS-Required: no, x\r\n"},
		{"tls_required_enable = no\n", "TLS-Required: no\r\n", false, false, false, "TLS-Required: no\r\n"},
		{"", "TLS-Required: no\r\n", true, true, true, "TLS-Required: no\r\n" + mark},
	}
	for _, tt := range tests {
		s, p := service(t, tt.config)
		m, err := s.Begin(t.Context(), Options{Origin: mail.OriginSMTP, Context: rewrite.Remote})
		if err != nil {
			t.Fatal(err)
		}
		m.SetSender("s@src.test", SenderParams{RequireTLS: tt.asked})
		m.AddRecipient(mail.Recipient{Address: "joe@mx.test"})
		_, _ = m.Write([]byte(tt.header + "\r\nTLS-Required: no\r\n"))
		m.Finish(t.Context())
		if got := p.String(); p.env.RequireTLS != tt.require || p.env.TLSOptional != tt.waived || got != tt.want+"\r\nTLS-Required: no\r\n" {
			t.Errorf("%q %q %v: %v %v %q", tt.config, tt.header, tt.asked, p.env.RequireTLS, p.env.TLSOptional, got)
		}
	}
}

// TestAbruptHeader: what is done about a header that no empty line ends is done to
// the mail of strangers only, and only as main.cf can say it.
func TestAbruptHeader(t *testing.T) {
	t.Parallel()
	const text, mark = "A: b\r\nno field\r\n", "MIME-Error: message header was not terminated by empty line\r\n"
	for _, tt := range []struct {
		action, more string
		origin       mail.Origin
		code         int
		marked       bool
	}{
		{"add_header", "", mail.OriginSMTP, 250, true}, {"reject", "", mail.OriginSMTP, 550, false}, {"fix_quietly", "", mail.OriginSMTP, 250, false},
		{"add_header", "", mail.OriginInternal, 250, false}, {"reject", "", mail.OriginInternal, 250, false},
		{"reject", "disable_mime_input_processing = yes\n", mail.OriginSMTP, 250, false},
	} {
		s, p := service(t, "non_empty_end_of_header_action = "+tt.action+"\n"+tt.more)
		st := send(t, s, Options{Origin: tt.origin, Context: rewrite.Remote}, text, "joe@mx.test")
		if st.Code != tt.code || tt.code == 250 && strings.Contains(p.String(), mark) != tt.marked {
			t.Errorf("%+v: %v %q", tt, st, p.String())
		}
	}
	if _, _, problems := configured(t, "non_empty_end_of_header_action = bounce\n"); !postconf.HasFatal(problems) {
		t.Errorf("bounce is no action: %v", problems)
	}
}
