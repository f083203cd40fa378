package smtpd

import (
	"strings"
	"testing"

	"postroad/internal/mail"
	"postroad/internal/testkit"
)

const (
	proxyHello = "EHLO client.test\r\n"
	proxyFrom  = "MAIL FROM:<a@b.test>\r\n"
	proxyTo    = "RCPT TO:<joe@mx.test>\r\n"
)

// startSink is a filter that follows a script.
func startSink(t *testing.T, script string) *testkit.Sink {
	t.Helper()
	s, err := testkit.StartSink("", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestProxyContent looks at what reaches the filter: no sequence of a client can
// end the message early, whatever the filter takes for a line end.
func TestProxyContent(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\r\n", 5000)
	tests := []struct{ name, in, want string }{
		{"plain", "Subject: x\r\n\r\ny\r\n", "Subject: x\r\n\r\ny\r\n"},
		{"dots", ".a\r\n..\r\n", "a\r\n.\r\n"},
		{"stray CR", "a\rb\r\r\n\r.\r\nMAIL\r\n", "a b \r\n .\r\nMAIL\r\n"},
		{"bare LF", "a\nb\n.\nc\r\n", "a\r\nb\r\nc\r\n"},
		{"mailbox line", "From me\r\nSubject: x\r\n", "X-Mailbox-Line: From me\r\nSubject: x\r\n"},
		{"folded beginning", " x\r\n", "\r\n x\r\n"},
		{"nothing", "", ""},
		{"large", big, big},
	}
	for _, options := range []string{"", "speed_adjust"} {
		for _, tt := range tests {
			t.Run(options+tt.name, func(t *testing.T) {
				t.Parallel()
				sink := startSink(t, "DOT 250 2.0.0 kept")
				srv, s := newServer(t, "smtpd_proxy_filter = "+sink.Addr+"\nsmtpd_proxy_options = "+options+"\n")
				srv.Scratch = t.TempDir()
				out := converse(t, srv, proxyHello, proxyFrom, proxyTo, "DATA\r\n", tt.in+".\r\n")
				if !strings.HasSuffix(out, "\r\n250 2.0.0 kept\r\n") || len(s.done) != 0 {
					t.Fatalf("answered %q, queued %q", out, s.done)
				}
				msgs := sink.Messages()
				if len(msgs) != 1 {
					t.Fatalf("%d messages", len(msgs))
				}
				head, body, ok := strings.Cut(msgs[0].Data, "for <joe@mx.test>; ")
				_, body, _ = strings.Cut(body, "\r\n")
				if !ok || body != tt.want {
					t.Errorf("under %q the filter got %.200q, want %.200q", head, body, tt.want)
				}
			})
		}
	}
}

// TestProxyFailures: whatever the filter does, the client hears an answer, and
// nothing is queued.
func TestProxyFailures(t *testing.T) {
	t.Parallel()
	const lost = "451 4.3.0 Error: queue file write error\r\n"
	data := []string{proxyHello, proxyFrom, proxyTo, "DATA\r\n", "x\r\n.\r\n"}
	rcpt := data[:3]
	tests := []struct {
		name, script, options string
		in                    []string
		want, log             string
	}{
		{"no greeting", "CONNECT close", "", rcpt, lost, "warning: lost connection with proxy ADDR"},
		{"bad greeting", "CONNECT 554 no", "", rcpt, lost, `warning: proxy ADDR rejected "connection request": "554 no"`},
		{"slow", "RCPT stall 1h", "", rcpt, lost, "warning: timeout talking to proxy ADDR"},
		{"EHLO refused", "EHLO 502 what", "", rcpt, lost, `warning: proxy ADDR rejected "EHLO mx.test": "502 what"`},
		{"XFORWARD refused", "EHLO 250-a\\n250 XFORWARD NAME HELO\nXFORWARD 501 no", "", rcpt, lost,
			`warning: proxy ADDR rejected "XFORWARD NAME=[UNAVAILABLE] HELO=client.test": "501 no"`},
		{"garbage", "RCPT raw:what\\n25\\n2500 x\\n250-a\\n250 b", "", rcpt, "250 2.1.5 Ok\r\n", "warning: received garbage from proxy ADDR: 2500 x"},
		{"endless", "RCPT raw:" + strings.Repeat("250-x\\n", 600), "", rcpt, lost, "warning: lost connection with proxy ADDR"},
		{"no answer to content", "DOT close", "", data, lost, "proxy-reject: END-OF-MESSAGE: 451 4.3.0 Error: queue file write error;"},
		{"content refused", "DOT 550 5.7.1 spam", "", data, "550 5.7.1 spam\r\n", "proxy-reject: END-OF-MESSAGE: 550 5.7.1 spam; from=<a@b.test> to=<joe@mx.test>"},
		{"refused later", "RCPT 550 5.1.1 nobody", "speed_adjust", data, "550 5.1.1 nobody\r\n", "proxy-reject: END-OF-MESSAGE: 550 5.1.1 nobody;"},
		{"gone later", "CONNECT close", "speed_adjust", data, lost, "proxy-reject: END-OF-MESSAGE: 451"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sink := startSink(t, tt.script)
			srv, s := newServer(t, "smtpd_proxy_filter = "+sink.Addr+"\nsmtpd_proxy_timeout = 1\nsmtpd_proxy_options = "+tt.options+"\n")
			j := &journal{}
			srv.Log, srv.Scratch = j, t.TempDir()
			out := converse(t, srv, tt.in...)
			log := strings.ReplaceAll(j.take(), sink.Addr, "ADDR")
			if !strings.HasSuffix(out, "\r\n"+tt.want) || !strings.Contains(log, tt.log) || len(s.done) != 0 {
				t.Errorf("answered\n%s\nqueued %q, logged\n%s\nwant %s and %s", out, s.done, log, tt.want, tt.log)
			}
		})
	}
}

// TestProxyStatus reads replies of filters.
func TestProxyStatus(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]mail.Status{
		"250 2.0.0 Ok":                      {Code: 250, Enhanced: "2.0.0", Text: "Ok"},
		"250":                               {Code: 250},
		"554 no":                            {Code: 554, Text: "no"},
		"250-2.0.0 a\r\n250 2.0.0 b":        {Code: 250, Enhanced: "2.0.0", Text: "a\nb"},
		"250-2.0.0 a\r\n250 b":              {Code: 250, Text: "2.0.0 a\nb"},
		"250-2.0.0 a\r\n250-b\r\n250 2.0.0": {Code: 250, Text: "2.0.0 a\nb\n2.0.0"},
	} {
		if got := proxyStatus(in); got != want {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
}

// TestParseProxyFilter reads the values of smtpd_proxy_filter.
func TestParseProxyFilter(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.0.0.1:10024":      "tcp 127.0.0.1:10024",
		"10024":                "tcp localhost:10024",
		":10024":               "tcp localhost:10024",
		"inet:[::1]:10024":     "tcp [::1]:10024",
		"inet:mail.test:10024": "tcp mail.test:10024",
		"unix:private/filter":  "unix /spool/private/filter",
		"unix:/run/filter":     "unix /run/filter",
		"[::1:10024":           "error",
	} {
		f, err := parseProxyFilter(&Settings{ProxyFilter: in, QueueDir: "/spool"})
		got := "error"
		if err == nil {
			got = f.network + " " + f.addr
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if _, err := parseProxyFilter(&Settings{ProxyFilter: "1", ProxyOptions: []string{"fast"}}); err == nil {
		t.Error("an option that does not exist is taken")
	}
}
