package smtpd

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/testkit"
)

// diary keeps log lines.
type diary struct {
	mu   sync.Mutex
	text []string
}

func (d *diary) Write(_ time.Time, _ string, _ int, e event.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = append(d.text, string(e.AppendText(nil)))
}

// TestFilters plays sessions in front of a scripted filter. What follows the end of
// the content is the matter of cleanup.
func TestFilters(t *testing.T) {
	t.Parallel()
	const hello, from, to = "EHLO c.test\r\n", "MAIL FROM:<a@b.test> SIZE=9\r\n", "RCPT TO:<joe@mx.test>\r\n"
	tests := []struct {
		name, config string
		script       testkit.MilterScript
		in           []string
		last, log    string
		// saw is what the filter was told, the events only.
		saw string
	}{
		{"a message", "", testkit.MilterScript{}, []string{hello, from, to, "DATA\r\n", "x\r\n.\r\n", "QUIT\r\n"}, "221 2.0.0 Bye", "",
			"negotiate connect helo mail rcpt data abort abort quit"},
		{"connect reject", "", answer("connect", "reject"), []string{hello, from}, "550 5.7.1 Command rejected",
			"milter-reject: CONNECT from unknown[127.0.0.1]: 550 5.7.1 Command rejected; proto=SMTP", "negotiate connect"},
		{"connect reject, greeting", "", answer("connect", "reject"), nil, "554 mx.test ESMTP not accepting connections", "", "negotiate connect"},
		{"connect reject, VRFY", "", answer("connect", "reject"), []string{"VRFY joe\r\n"}, "550 5.7.1 Command rejected", "", "negotiate connect"},
		{"connect tempfail, EHLO", "", answer("connect", "tempfail"), []string{hello}, "250 CHUNKING", "", "negotiate connect"},
		{"connect reject, EHLO", "", answer("connect", "reject"), []string{hello}, "250 ENHANCEDSTATUSCODES", "", "negotiate connect"},
		{"connect shutdown", "", answer("connect", "shutdown"), nil, "421 mx.test Service unavailable - try again later", "421 4.7.0 Server closing connection", "negotiate connect"},
		{"helo 421", "", answer("helo", "reply 421 4.7.0 go"), []string{hello}, "421 4.7.0 go", "milter-reject: EHLO from unknown[127.0.0.1]: 421 4.7.0 go; proto=SMTP helo=<c.test>", "negotiate connect helo"},
		{"mail reject", "", answer("mail", "reject"), []string{hello, from, to}, "503 5.5.1 Error: need MAIL command", "from=<a@b.test> proto=ESMTP helo=<c.test>", "negotiate connect helo mail abort abort quit"},
		{"rcpt reply", "", answer("rcpt <joe", `reply 550-5.7.1 a\r\n550 5.7.1 b`), []string{hello, from, to}, "550 5.7.1 b",
			"milter-reject: RCPT from unknown[127.0.0.1]: 550-5.7.1 a??550 5.7.1 b; from=<a@b.test> to=<joe@mx.test>", "negotiate connect helo mail rcpt abort abort quit"},
		{"data tempfail", "", answer("data", "tempfail"), []string{hello, from, to, "DATA\r\n"}, "451 4.7.1 Service unavailable - try again later", "milter-reject: DATA from", ""},
		{"data reject, BDAT", "", answer("data", "reject"), []string{hello, from, to, "BDAT 3\r\nabc"}, "550 5.7.1 Command rejected", "milter-reject: BDAT from", ""},
		{"discard", "", answer("mail", "discard"), []string{hello, from, to, "DATA\r\n", "x\r\n.\r\n"}, "250 2.0.0 Ok: queued as ID1", "milter-discard: MAIL from", "negotiate connect helo mail abort abort quit"},
		{"unknown", "", answer("unknown", "tempfail"), []string{"FOO bar\r\n"}, "451 4.7.1 Service unavailable - try again later", "", "negotiate connect unknown quit"},
		{"rejected recipient", "smtpd_recipient_restrictions = reject\n", testkit.MilterScript{Events: 1 << 11}, []string{hello, from, to}, "554 5.7.1 <joe@mx.test>: Recipient address rejected: Access denied", "",
			"negotiate connect helo mail rcpt abort abort quit"},
		{"two greetings", "", testkit.MilterScript{}, []string{hello, from, "HELO d\r\n", "RSET\r\n"}, "250 2.0.0 Ok", "", "negotiate connect helo mail helo abort abort abort quit"},
		{"client without filters", "smtpd_milter_maps = inline:{127.0.0.1=disable}\n", testkit.MilterScript{}, []string{hello, from}, "250 2.1.0 Ok", "", ""},
		{"broken table", "smtpd_milter_maps = fail:x\nmilter_default_action = tempfail\n", testkit.MilterScript{}, []string{hello, from}, "451 4.7.1 Service unavailable - try again later", "smtpd_milter_maps: ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			filter, err := testkit.StartMilter("tcp", "127.0.0.1:0", tt.script)
			if err != nil {
				t.Fatal(err)
			}
			srv, _ := newServer(t, "smtpd_milters = "+filter.Addr()+"\n"+tt.config)
			var log diary
			srv.Log = &log
			lines := strings.Split(strings.TrimRight(converse(t, srv, tt.in...), "\r\n"), "\r\n")
			if last := lines[len(lines)-1]; last != tt.last {
				t.Errorf("last reply %q, want %q\n%s", last, tt.last, strings.Join(lines, "\n"))
			}
			if err := filter.Close(); err != nil {
				t.Error(err)
			}
			var saw []string
			for _, line := range filter.Log() {
				saw = append(saw, strings.Fields(line)[1])
			}
			if got := strings.Join(saw, " "); tt.saw != "" && got != tt.saw {
				t.Errorf("the filter saw %s\nwant %s", got, tt.saw)
			}
			if all := strings.Join(log.text, "\n"); !strings.Contains(all, tt.log) {
				t.Errorf("log\n%s\nwants %s", all, tt.log)
			}
		})
	}
}

func answer(event, text string) testkit.MilterScript {
	return testkit.MilterScript{Answers: map[string]string{event: text}}
}

// TestMacros looks at macros that need the resolver or an authenticated session.
func TestMacros(t *testing.T) {
	t.Parallel()
	filter, err := testkit.StartMilter("tcp", "127.0.0.1:0", testkit.MilterScript{})
	if err != nil {
		t.Fatal(err)
	}
	srv, _ := newServer(t, "smtpd_milters = "+filter.Addr()+"\nsmtpd_authorized_xclient_hosts = 127.0.0.1\nmilter_mail_macros = {auth_type} {auth_authen} {mail_addr} {mail_host} {mail_mailer} {none}\n"+
		"milter_rcpt_macros = {rcpt_addr},{rcpt_host},{rcpt_mailer}\n")
	asked := 0
	srv.Lists.Filters.Route = func(_ context.Context, sender, addr mail.Address) (mail.Route, error) {
		asked++
		return mail.Route{Transport: "relay", Nexthop: mail.Nexthop("via-" + sender), Recipient: addr}, nil
	}
	converse(t, srv, "XCLIENT LOGIN=joe NAME=c.test ADDR=192.0.2.9\r\n", "EHLO c.test\r\n", "MAIL FROM:<A@b.test>\r\n", "RCPT TO:<joe@mx.test>\r\n", "QUIT\r\n")
	if err := filter.Close(); err != nil {
		t.Error(err)
	}
	all := strings.Join(filter.Log(), "\n")
	for _, want := range []string{
		"2 connect c.test 4 ", "mail <A@b.test> | M: {auth_type}=XCLIENT {auth_authen}=joe {mail_addr}=a@b.test {mail_host}=via- {mail_mailer}=relay\n",
		"rcpt <joe@mx.test> | R: {rcpt_addr}=joe@mx.test {rcpt_host}=via-A@b.test {rcpt_mailer}=relay",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
	if asked != 2 {
		t.Errorf("the resolver was asked %d times", asked)
	}
}
