package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/limits"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
	"postroad/internal/table"
)

// limited is a client of an Engine that counts.
type limited struct {
	c    *Checker
	req  Request
	rec  *eventtest.Journal
	e    *Engine
	peer mail.Session
}

// newLimited builds an Engine with a recipient list and others, and a session.
func newLimited(t *testing.T, sets ...string) *limited {
	t.Helper()
	v := baseView(t).With("smtpd_recipient_restrictions", "permit").With("smtpd_relay_restrictions", "defer_if_permit, permit")
	for i := 0; i+1 < len(sets); i += 2 {
		v = v.With(sets[i], sets[i+1])
	}
	rec := &eventtest.Journal{}
	log := event.NewLogger(rec, "postfix/smtpd", 1)
	tables := table.NewSet(table.Options{Warn: log.Warnf})
	t.Cleanup(func() { _ = tables.Close() })
	rw, _ := rewrite.New(v, tables, log)
	e, problems := New(v, Deps{Tables: tables, Rewrite: rw, Log: log, Limits: limits.New()})
	for _, p := range problems {
		t.Errorf("%v", p)
	}
	return begin(e, rec, log)
}

// begin is a session of alice.
func begin(e *Engine, rec *eventtest.Journal, log *event.Logger) *limited {
	l := &limited{c: e.Begin(), rec: rec, e: e}
	l.peer = mail.Session{ESMTP: true, Helo: "c.test", SASL: &mail.SASL{Method: "PLAIN", Username: "Alice"}}
	l.peer.Client = mail.Peer{Name: "unknown", ReverseName: "unknown", Addr: netip.MustParseAddr("198.51.100.9")}
	l.req = Request{Session: &l.peer, Log: log, Helo: "c.test", Sender: "a@Sender.test", HasSender: true}
	return l
}

// rcpt asks about recipients of one transaction, and after them about the content;
// the answer has the code of each.
func (l *limited) rcpt(addrs ...string) string {
	var out []string
	say := func(v mail.Verdict) bool {
		if v.Action == mail.Reject {
			out = append(out, v.Status.String())
			return false
		}
		out = append(out, "ok")
		return true
	}
	l.req.RcptCount = 0
	for _, a := range addrs {
		l.req.Stage, l.req.Recipient = "RCPT", mail.Address(a)
		if say(l.c.Recipient(context.Background(), &l.req)) {
			l.req.RcptCount++
		}
	}
	if l.req.RcptCount > 0 {
		l.req.Stage = "DATA"
		if l.req.RcptCount > 1 {
			l.req.Recipient = ""
		}
		say(l.c.Data(context.Background(), &l.req))
	}
	l.c.ResetTransaction()
	return strings.Join(out, "; ")
}

const tooMany = "450 4.7.1 <Alice>: SASL login name rejected: Too many messages, try again later"

func TestLimit(t *testing.T) {
	t.Parallel()
	const to = "x@far.test"
	tests := []struct {
		name string
		sets []string
		// steps are the recipients of transactions; "wait D" lets time pass, "user U",
		// "addr A" and "from S" are another session or sender.
		steps []string
		want  []string
	}{
		{"messages of an account", []string{"smtpd_recipient_restrictions", "postroad_limit { sasl_username 2/1h }, permit"},
			[]string{to + " y@far.test", to, to, "wait 70m", to, "user bob", to},
			[]string{"ok; ok; ok", "ok; ok", tooMany, "ok; ok", "ok; ok"}},
		{"not logged in", []string{"smtpd_recipient_restrictions", "postroad_limit { sasl_username 0/1h }, permit"},
			[]string{"user", to}, []string{"ok; ok"}},
		{"recipients", []string{"smtpd_recipient_restrictions", "postroad_limit { sasl_username 2/1h count=recipients }, permit"},
			[]string{"x@far.test y@far.test z@far.test"},
			[]string{"ok; ok; 450 4.7.1 <Alice>: SASL login name rejected: Too many recipients, try again later; ok"}},
		{"recipients at DATA", []string{"smtpd_data_restrictions", "postroad_limit { sasl_username 3/1h count=recipients }"},
			[]string{"x@far.test y@far.test", "x@far.test y@far.test", to},
			[]string{"ok; ok; ok", "ok; ok; 450 4.7.1 <Alice>: SASL login name rejected: Too many recipients, try again later", "ok; ok"}},
		{"one message in two lists", []string{"smtpd_sender_restrictions", "postroad_limit { sasl_username 2/1h }",
			"smtpd_data_restrictions", "postroad_limit { sasl_username 2/1h }"},
			[]string{to, to, to}, []string{"ok; ok", "ok; ok", tooMany}},
		{"one recipient in two lists", []string{"smtpd_relay_restrictions", "postroad_limit { sasl_username 2/1h count=recipients }",
			"smtpd_recipient_restrictions", "postroad_limit { sasl_username 2/1h count=recipients }, permit"},
			[]string{"x@far.test y@far.test z@far.test"},
			[]string{"ok; ok; 450 4.7.1 <Alice>: SASL login name rejected: Too many recipients, try again later; ok"}},
		{"networks", []string{"smtpd_recipient_restrictions", "postroad_limit { client_address/24/48 1/1h }, permit"},
			[]string{to, "addr 198.51.100.77", to, "addr 198.51.101.9", to, "addr 2001:db8::1", to, "addr 2001:db8:0:77::1", to},
			[]string{"ok; ok", "450 4.7.1 <unknown[198.51.100.77]>: Client host rejected: Too many messages, try again later", "ok; ok", "ok; ok",
				"450 4.7.1 <unknown[2001:db8:0:77::1]>: Client host rejected: Too many messages, try again later"}},
		{"networks of main.cf", []string{"smtpd_client_ipv4_prefix_length", "24", "smtpd_client_ipv6_prefix_length", "48",
			"smtpd_recipient_restrictions", "postroad_limit { client_address 1/1h }, permit"},
			[]string{to, "addr 198.51.100.77", to, "addr 198.51.101.9", to, "addr 2001:db8::1", to, "addr 2001:db8:0:77::1", to},
			[]string{"ok; ok", "450 4.7.1 <unknown[198.51.100.77]>: Client host rejected: Too many messages, try again later", "ok; ok", "ok; ok",
				"450 4.7.1 <unknown[2001:db8:0:77::1]>: Client host rejected: Too many messages, try again later"}},
		{"domains of senders", []string{"smtpd_recipient_restrictions", "postroad_limit { sender_domain 1/1h }, permit"},
			[]string{to, "from b@sender.TEST", to, "from", to, to},
			[]string{"ok; ok", "450 4.7.1 <b@sender.TEST>: Sender address rejected: Too many messages, try again later", "ok; ok", "ok; ok"}},
		{"the null sender", []string{"smtpd_recipient_restrictions", "postroad_limit { sender 1/1h }, permit"},
			[]string{"from", to, to}, []string{"ok; ok", "450 4.7.1 <>: Sender address rejected: Too many messages, try again later"}},
		{"domains of recipients", []string{"smtpd_recipient_restrictions", "postroad_limit { recipient_domain 1/1h }, permit"},
			[]string{"x@far.test y@Far.test x@near.test"},
			[]string{"ok; ok; ok; ok"}}, // one message
		{"a table gives the key", []string{"smtpd_recipient_restrictions", "postroad_limit { sasl_username 1/1h map=inline:{alice=Acme,bob=acme} }, permit"},
			[]string{to, "user bob", to, "user carol", to, to},
			[]string{"ok; ok", "450 4.7.1 <bob>: SASL login name rejected: Too many messages, try again later", "ok; ok", "ok; ok"}},
		{"a table of limits", []string{"smtpd_recipient_restrictions", "postroad_limit { sasl_username 1/1h limits=inline:{{alice=2/1h},bob=unlimited,{@acme.test=0/1h},carol=many} }, permit"},
			[]string{to, to, to, "user bob", to, to, "user x@acme.test", to, "user dave", to, to, "user carol", to},
			[]string{"ok; ok", "ok; ok", tooMany, "ok; ok", "ok; ok",
				"450 4.7.1 <x@acme.test>: SASL login name rejected: Too many messages, try again later",
				"ok; ok", "450 4.7.1 <dave>: SASL login name rejected: Too many messages, try again later", "451 4.3.0 <carol>: Temporary lookup failure"}},
		{"a table that does not answer", []string{"smtpd_recipient_restrictions", "postroad_limit { sasl_username 1/1h limits=fail:x }, permit"},
			[]string{to}, []string{"451 4.3.0 <Alice>: Temporary lookup failure"}},
		{"exempt clients", []string{"smtpd_recipient_restrictions", "postroad_limit { sasl_username 0/1h, { exempt = 198.51.100.0/24, 192.0.2.1 } }, permit"},
			[]string{to, "addr 192.0.2.2", to}, []string{"ok; ok", tooMany}},
		{"an action", []string{"smtpd_recipient_restrictions", "postroad_limit { sasl_username 0/1h, { action = 554 5.7.0 go away } }, permit"},
			[]string{to}, []string{"554 5.7.0 <Alice>: SASL login name rejected: go away"}},
		{"a class, and only a warning", []string{"smtpd_restriction_classes", "slow", "slow", "postroad_limit { sasl_username 0/1h }",
			"smtpd_recipient_restrictions", "warn_if_reject slow, permit"},
			[]string{to}, []string{"ok; ok"}},
		{"from a table", []string{"smtpd_recipient_restrictions", "check_recipient_access inline:{{far.test=postroad_limit { sasl_username 1/1h }}}, permit"},
			[]string{to, "x@near.test", to}, []string{"ok; ok", "ok; ok", tooMany}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLimited(t, append(tt.sets, "smtpd_relay_restrictions", "check_client_access static:OK, reject", "smtpd_reject_unlisted_recipient", "no")...)
			synctest.Test(t, func(t *testing.T) {
				n := 0
				for _, step := range tt.steps {
					word, arg, _ := strings.Cut(step, " ")
					switch word {
					case "wait":
						d, err := time.ParseDuration(arg)
						if err != nil {
							t.Fatal(err)
						}
						time.Sleep(d)
					case "user":
						l.peer.SASL = &mail.SASL{Username: arg}
					case "addr":
						l.peer.Client.Addr = netip.MustParseAddr(arg)
					case "from":
						l.req.Sender = mail.Address(arg)
					default:
						if got := l.rcpt(strings.Fields(step)...); n >= len(tt.want) || got != tt.want[n] {
							t.Errorf("%d %s: %s\nlog %s", n, step, got, strings.Join(l.rec.Take(), "\n"))
						}
						n++
					}
				}
			})
		})
	}
}

// TestLimitHold holds what is too much, and says so in the log.
func TestLimitHold(t *testing.T) {
	t.Parallel()
	l := newLimited(t, "smtpd_data_restrictions", "postroad_limit { sasl_username 0/1d, name=out, { action = HOLD too much today } }")
	l.req.Stage, l.req.RcptCount, l.req.Recipient = "DATA", 1, "x@far.test"
	if v := l.c.Data(context.Background(), &l.req); v.Action == mail.Reject || !l.c.Actions().Hold {
		t.Errorf("%+v, %+v", v, l.c.Actions())
	}
	want := "NOQUEUE: limit: DATA from unknown[198.51.100.9]: sasl_username <alice>: 0 messages of 0/1d (out); from=<a@Sender.test> to=<x@far.test> proto=ESMTP helo=<c.test> sasl_method=PLAIN sasl_username=Alice\n" +
		"NOQUEUE: hold: DATA from unknown[198.51.100.9]: <Alice>: SASL login name too much today; from=<a@Sender.test> to=<x@far.test> proto=ESMTP helo=<c.test> sasl_method=PLAIN sasl_username=Alice"
	if got := strings.Join(l.rec.Take(), "\n"); got != want {
		t.Errorf("log\n%s\nwant\n%s", got, want)
	}
}

// TestLimitTrace asks without counting.
func TestLimitTrace(t *testing.T) {
	t.Parallel()
	l := newLimited(t, "smtpd_data_restrictions", "postroad_limit { sasl_username 2/1h 9/1d }")
	l.req.Stage, l.req.RcptCount = "DATA", 1
	ask := func() (mail.Verdict, string) {
		c, seen := l.e.Begin(), ""
		c.Trace(func(s Step) { seen += fmt.Sprintf("%s|%s|%s", s.Rule, s.Key, s.Outcome) })
		return c.Data(context.Background(), &l.req), seen
	}
	const rule = "postroad_limit { sasl_username 2/1h 9/1d }|alice|"
	for n := range 3 {
		for range 2 {
			want := fmt.Sprintf("%s%d of 2/1h, %d of 9/1d", rule, n, n)
			if n == 2 {
				want = rule + "reject, 2 of 2/1h, 2 of 9/1d"
			}
			if _, got := ask(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if v := l.e.Begin().Data(context.Background(), &l.req); (v.Action == mail.Reject) != (n == 2) {
			t.Errorf("%d: %+v", n, v)
		}
	}
}

// TestLimitFaults reports arguments that make no sense, with their place.
func TestLimitFaults(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"postroad_limit":                   "restriction postroad_limit must be followed by { key number/period ... }",
		"postroad_limit sasl_username":     `restriction postroad_limit: need "{ key number/period ... }" instead of "sasl_username"`,
		"postroad_limit { sasl_username }": "restriction postroad_limit: need a limit, such as 100/1h",
	} {
		v := baseView(t).With("smtpd_data_restrictions", value)
		_, problems, _ := build(t, v, nil)
		text := ""
		for _, p := range problems {
			text += p.Text + "\n"
		}
		if !strings.Contains(text, want) {
			t.Errorf("%s: problems %q, want %q", value, text, want)
		}
	}
}

// TestLimitWithoutCounters defers.
func TestLimitWithoutCounters(t *testing.T) {
	t.Parallel()
	v := baseView(t).With("smtpd_data_restrictions", "postroad_limit { sasl_username 1/1h }")
	e, _, rec := build(t, v, nil)
	l := begin(e, rec, event.NewLogger(rec, "x", 1))
	l.req.Stage, l.req.RcptCount = "DATA", 1
	if v := l.c.Data(context.Background(), &l.req); v.Status.Code != 451 || !errors.Is(v.Cause, errNoLimits) {
		t.Errorf("%+v", v)
	}
}
