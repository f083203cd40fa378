package access

import (
	"strings"
	"testing"

	"postroad/internal/mail"
	"postroad/internal/postconf"
)

// FuzzResult gives the evaluator what a table could say.
func FuzzResult(f *testing.F) {
	for _, seed := range []string{
		"OK", "REJECT", "REJECT 5.7.1 text", "550 text", "4.7.1", "DEFER_IF_PERMIT", "HOLD x", "reject_unlisted_sender, permit",
		"sleep 0", "PREPEND X: y", "123", "warn_if_reject warn_if_reject reject", "check_sender_access x:y", "FILTER a:b", "\x00", "552",
	} {
		f.Add(seed)
	}
	e, _, _ := engine(f)
	l := &list{param: "smtpd_sender_restrictions"}
	r := &rule{row: row{name: "check_sender_access"}, word: "check_sender_access", list: l, spec: "inline:{}"}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.Contains(strings.ToLower(value), "sleep") {
			return
		}
		c := e.Begin()
		c.begin(t.Context(), stranger(), "RCPT")
		c.reset()
		c.rule = r
		o := c.apply(r, value, scope{"a@good.test", classSender, tableSender})
		sane(t, value, c.end(o), o)
	})
}

// FuzzList compiles and evaluates a list.
func FuzzList(f *testing.F) {
	for _, seed := range []string{
		"permit", "reject", "permit_mynetworks, reject_unauth_destination", "check_client_access inline:{a=b}", "inline:{203.0.113.9=x}",
		"warn_if_reject", "defer_if_permit defer_if_reject reject", "check_policy_service { a:b, c=d }", "nonsense", "sleep x",
	} {
		f.Add(seed)
	}
	e, _, _ := engine(f)
	view := baseView(f)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "sleep") || strings.ContainsAny(text, "/") {
			return // no waiting, no files
		}
		comp := &compiler{e: e, cfg: view}
		l := comp.list("smtpd_recipient_restrictions", postconf.SplitList(text), tableRecipient)
		c := e.Begin()
		c.begin(t.Context(), stranger(), "RCPT")
		c.reset()
		o := c.run(l, scope{"joe@example.com", classRecipient, tableRecipient})
		sane(t, text, c.end(o), o)
	})
}

// sane checks what every verdict must be.
func sane(t *testing.T, input string, v mail.Verdict, o outcome) {
	t.Helper()
	if o != refuse {
		if v.Action == mail.Reject || v.Action == mail.Disconnect {
			t.Fatalf("%q: outcome %d with verdict %+v", input, o, v)
		}
		return
	}
	s := v.Status.String()
	if v.Status.Code < 400 || v.Status.Code > 599 || len(s) > maxReply || v.Rule == "" || v.List == "" {
		t.Fatalf("%q: %+v", input, v)
	}
	if v.Status.Enhanced[0] != s[0] || strings.ContainsAny(s, "\r\n\x00") {
		t.Fatalf("%q: %q", input, s)
	}
}
