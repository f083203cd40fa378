package smtpd

import (
	"context"
	"strings"
	"testing"
)

// postmaster keeps what it is told.
type postmaster struct{ subject, text string }

func (p *postmaster) Notice(_ context.Context, subject, text string) error {
	p.subject, p.text = subject, text
	return nil
}

func TestNotices(t *testing.T) {
	t.Parallel()
	const footed = "smtpd_reject_footer = more\n"
	refused := []string{"EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<x@mx.test>\r\n", "QUIT\r\n"}
	syntax := []string{"EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<x@mx.test>\r\n", "NONSENSE\r\n", "QUIT\r\n"}
	const like = "smtpd_recipient_restrictions = check_recipient_access inline:{ { x@mx.test = 550 5.5.2 no } }\n"
	tests := []struct {
		name, config string
		pieces       []string
		want         []string // nil when nobody is to be told
		never        string
	}{
		{"policy that looks like protocol", "notify_classes = protocol\n" + like, refused, nil, ""},
		{"... with a footer", "notify_classes = protocol\n" + like + footed, refused, nil, ""},
		{"... is policy", "notify_classes = policy\n" + like, refused, []string{" Out: 550 5.5.2 <x@mx.test>: Recipient address rejected: no\n"}, ""},
		{"... is policy, with a footer", "notify_classes = policy\n" + like + footed, refused, []string{" Out: 550 5.5.2 more\n"}, ""},
		{"... and then protocol", "notify_classes = protocol\n" + like, syntax, []string{" Out: 500 5.5.2 Error: command not recognized\n"}, ""},
		{"... and then protocol, with a footer", "notify_classes = protocol\n" + like + footed, syntax, []string{" Out: 500 5.5.2 more\n"}, ""},
		{"no error", "", []string{"EHLO c.test\r\n", "QUIT\r\n"}, nil, ""},
		{"policy is not wanted", "", []string{"HELO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<x@elsewhere.test>\r\n", "QUIT\r\n"}, nil, ""},
		{"policy is wanted", "notify_classes = policy\nmynetworks=\n",
			[]string{"HELO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<x@elsewhere.test>\r\n", "QUIT\r\n"},
			[]string{" In:  RCPT TO:<x@elsewhere.test>\n Out: 454 4.7.1 <x@elsewhere.test>: Relay access denied\n", " In:  QUIT\n"}, ""},
		{"software by default", "smtpd_recipient_restrictions = check_recipient_access inline:{x@mx.test=nonsense}\n",
			[]string{"EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<x@mx.test>\r\n", "QUIT\r\n"},
			[]string{" Out: 250-mx.test\n Out: 250-PIPELINING\n", " Out: 451 4.3.5 "}, ""},
		{"a command filter that fails", "notify_classes = resource, software, policy, protocol\nsmtpd_command_filter = fail:x\n", refused[:1], nil, ""},
		{"secrets stay out", "notify_classes = protocol\n", []string{"EHLO c.test\r\n", "AUTH PLAIN c2VjcmV0\r\n", "NONSENSE\r\n", "QUIT\r\n"},
			[]string{" In:  AUTH PLAIN (not shown)\n", " In:  NONSENSE\n Out: 500 5.5.2 Error: command not recognized\n"}, "c2VjcmV0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv, _ := newServer(t, tt.config)
			p := &postmaster{}
			srv.Notices = p
			converse(t, srv, tt.pieces...)
			if (p.text != "") != (tt.want != nil) {
				t.Fatalf("told %q", p.text)
			}
			for _, w := range tt.want {
				if !strings.Contains(p.text, w) {
					t.Errorf("no %q in\n%s", w, p.text)
				}
			}
			if tt.never != "" && strings.Contains(p.text, tt.never) {
				t.Errorf("%q is in\n%s", tt.never, p.text)
			}
		})
	}
}

func TestChatIsBounded(t *testing.T) {
	c := chat{wanted: classPolicy}
	line := []byte(strings.Repeat("x", 5000))
	for range 100 {
		c.heard(line)
		c.said(500, "5.5.2", string(line))
	}
	if len(c.text) > maxChat+1100 || !c.cut || !strings.HasPrefix(string(c.text), " ") {
		t.Errorf("%d bytes, cut %v", len(c.text), c.cut)
	}
}
