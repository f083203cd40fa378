package smtpd

import (
	"strings"
	"testing"
)

// markCases are messages as they come and as a filter sees them. Those that end in
// a body are what Postfix 3.11.6 sent to a filter; it marks no message without one.
var markCases = []struct{ name, in, want string }{
	{"marked", "Subject: t\r\nTo: u@x\r\n\r\nhi\r\n", "Subject: t\r\nTo: u@x\r\nRequire-TLS-ESMTP: yes\r\n\r\nhi\r\n"},
	{"there already", "Require-TLS-ESMTP: yes\r\nSubject: t\r\n\r\nhi\r\n", "Require-TLS-ESMTP: yes\r\nSubject: t\r\n\r\nhi\r\n"},
	{"folded", "require-tls-esmtp:\r\n YES\r\n\r\nhi\r\n", "require-tls-esmtp:\r\n YES\r\n\r\nhi\r\n"},
	{"says no", "Subject: a\r\n b\r\nRequire-TLS-ESMTP: no\r\nno header line\r\nhi\r\n",
		"Subject: a\r\n b\r\nRequire-TLS-ESMTP: no\r\nRequire-TLS-ESMTP: yes\r\nno header line\r\nhi\r\n"},
	{"no header", "\r\nbody only\r\n", "Require-TLS-ESMTP: yes\r\n\r\nbody only\r\n"},
	{"body at once", "body\r\n", "Require-TLS-ESMTP: yes\r\nbody\r\n"},
	{"in the body", "A: b\r\n\r\nRequire-TLS-ESMTP: yes\r\n", "A: b\r\nRequire-TLS-ESMTP: yes\r\n\r\nRequire-TLS-ESMTP: yes\r\n"},
	{"header only", "Subject: t\r\n", "Subject: t\r\nRequire-TLS-ESMTP: yes\r\n"},
	{"nothing", "", "Require-TLS-ESMTP: yes\r\n"},
	{"long line", "A: " + strings.Repeat("x", 5000) + "\r\nRequire-TLS-ESMTP: yes\r\n\r\n", "A: " + strings.Repeat("x", 5000) + "\r\nRequire-TLS-ESMTP: yes\r\n\r\n"},
}

// mark passes a text in pieces of n bytes.
func mark(in string, n int) string {
	var out strings.Builder
	m := &tlsMark{pass: func(b []byte) { out.Write(b) }}
	for len(in) > 0 {
		k := min(n, len(in))
		m.write([]byte(in[:k]))
		in = in[k:]
	}
	m.finish()
	return out.String()
}

func TestTLSMark(t *testing.T) {
	t.Parallel()
	for _, tt := range markCases {
		for _, n := range []int{1, 7, 100000} {
			if got := mark(tt.in, n); got != tt.want {
				t.Errorf("%s in pieces of %d: %q, want %q", tt.name, n, got, tt.want)
			}
		}
	}
}

// FuzzTLSMark: the content stays as it is but for one line, wherever it is cut.
func FuzzTLSMark(f *testing.F) {
	for _, tt := range markCases {
		f.Add(tt.in, 3)
	}
	f.Fuzz(func(t *testing.T, in string, n int) {
		n = max(1, n)
		got := mark(in, n)
		if whole := mark(in, len(in)+1); len(in) < maxMarkLine && got != whole {
			t.Fatalf("%q in pieces of %d: %q, whole %q", in, n, got, whole)
		}
		if i := strings.LastIndex(got, tlsField+"\r\n"); got != in && (i < 0 || len(got) != len(in)+len(tlsField)+2) {
			t.Fatalf("%q became %q", in, got)
		}
	})
}

func TestWithoutRequireTLS(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"MAIL FROM:<a@c.test> BODY=8BITMIME REQUIRETLS SIZE=10": "MAIL FROM:<a@c.test> BODY=8BITMIME SIZE=10",
		"MAIL FROM:<a@c.test> requiretls":                       "MAIL FROM:<a@c.test>",
		`MAIL FROM:<"a REQUIRETLS b"@c.test> REQUIRETLS`:        `MAIL FROM:<"a REQUIRETLS b"@c.test>`,
	} {
		if got := withoutRequireTLS(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
