package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"postroad/internal/mail"
	"postroad/internal/verify"
)

// verifier answers with one state for every address.
type verifier struct {
	status verify.Status
	why    string
	err    error
	waited time.Duration
	asked  mail.Address
}

// Ask implements Verifier.
func (v *verifier) Ask(_ context.Context, addr mail.Address, wait time.Duration) (verify.Status, string, error) {
	v.asked, v.waited = addr, wait
	return v.status, v.why, v.err
}

func TestUnverified(t *testing.T) {
	t.Parallel()
	const sender, rcpt = "reject_unverified_sender", "reject_unverified_recipient"
	for _, test := range []struct {
		word string
		v    verifier
		sets []string
		want string
	}{
		{sender, verifier{status: verify.Deliverable}, nil, ""},
		{sender, verifier{status: verify.Unknown, why: "in progress"}, nil, "450 4.1.7 <a@good.test>: Sender address rejected: unverified address: in progress"},
		{sender, verifier{status: verify.Deferred, why: "later"}, nil, "450 4.1.7 <a@good.test>: Sender address rejected: unverified address: later"},
		{sender, verifier{status: verify.Undeliverable, why: "no"}, nil, "450 4.1.7 <a@good.test>: Sender address rejected: unverified address: no"},
		{
			sender, verifier{status: verify.Undeliverable, why: "no"},
			[]string{"unverified_sender_reject_code = 550"}, "550 5.1.7 <a@good.test>: Sender address rejected: undeliverable address: no",
		},
		{
			sender, verifier{status: verify.Undeliverable, why: "no"},
			[]string{"unverified_sender_reject_code = 550", "unverified_sender_reject_reason = we cannot answer"},
			"550 5.1.7 <a@good.test>: Sender address rejected: undeliverable address: we cannot answer",
		},
		{sender, verifier{status: verify.Undeliverable, why: "no"}, []string{"unverified_sender_reject_code = 250"}, ""},
		{sender, verifier{status: verify.Deferred, why: "no"}, []string{"unverified_sender_defer_code = 250"}, ""},
		{sender, verifier{err: errors.New("x")}, nil, "450 4.1.7 <a@good.test>: Sender address rejected: address verification problem"},
		{rcpt, verifier{status: verify.Deliverable}, nil, ""},
		{rcpt, verifier{status: verify.Undeliverable, why: "no"}, []string{"unverified_recipient_reject_code = 550"}, "550 5.1.1 <joe@example.com>: Recipient address rejected: undeliverable address: no"},
		{rcpt, verifier{status: verify.Deferred, why: "no"}, []string{"unverified_recipient_defer_code = 451"}, "451 4.1.1 <joe@example.com>: Recipient address rejected: unverified address: no"},
	} {
		e, _, rec := engine(t, append(test.sets, "smtpd_recipient_restrictions = "+test.word)...)
		e.deps.Verify = &test.v
		v := e.Begin().Recipient(t.Context(), stranger())
		got := ""
		if v.Action == mail.Reject {
			got = v.Status.String()
		}
		if got != test.want {
			t.Errorf("%s, %+v, %v:\ngot  %s\nwant %s", test.word, test.v, test.sets, got, test.want)
		}
		if test.v.waited != 6*time.Second {
			t.Errorf("%s: waits %v", test.word, test.v.waited)
		}
		if log := rec.Take(); (test.v.err != nil) != (len(log) == 1) {
			t.Errorf("%s: log %q", test.word, log)
		}
	}
}

// TestUnverifiedActions: a deferral waits for a permission, unless it shall not.
func TestUnverifiedActions(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]string{"defer_if_permit": "554", "defer": "450"} {
		e, _, _ := engine(t, "smtpd_recipient_restrictions = reject_unverified_sender, reject", "unverified_sender_tempfail_action = "+action)
		e.deps.Verify = &verifier{status: verify.Unknown}
		v := e.Begin().Recipient(t.Context(), stranger())
		if got := fmt.Sprint(v.Status.Code); got != want {
			t.Errorf("%s: %s, want %s", action, v.Status, want)
		}
	}
}

// TestUnverifiedTraced: an explanation sends no probe, and says so.
func TestUnverifiedTraced(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_recipient_restrictions = reject_unverified_recipient")
	v := &verifier{status: verify.Undeliverable, why: "no"}
	e.deps.Verify = v
	c := e.Begin()
	var steps []string
	c.Trace(func(s Step) { steps = append(steps, s.Rule+": "+s.Outcome) })
	if got := c.Recipient(t.Context(), stranger()); got.Action == mail.Reject || v.asked != "" {
		t.Errorf("%+v, asked about %q", got, v.asked)
	}
	if want := "reject_unverified_recipient: not asked"; !slices.Contains(steps, want) {
		t.Errorf("steps %q", steps)
	}
}

// TestBusyServiceDoesNotWait: under stress one question is enough.
func TestBusyServiceDoesNotWait(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "smtpd_recipient_restrictions = reject_unverified_sender")
	v := &verifier{status: verify.Unknown}
	e.deps.Verify = v
	r := stranger()
	r.Stress = true
	if e.Begin().Recipient(t.Context(), r); v.waited != 0 || v.asked != r.Sender {
		t.Errorf("waits %v for %s", v.waited, v.asked)
	}
}

// TestNoVerifyService: without a service nothing is permitted for it.
func TestNoVerifyService(t *testing.T) {
	t.Parallel()
	e, _, rec := engine(t, "smtpd_recipient_restrictions = reject_unverified_recipient")
	v := e.Begin().Recipient(t.Context(), stranger())
	if v.Status.Code != 450 || !errors.Is(v.Cause, errNoVerify) {
		t.Errorf("%+v", v)
	}
	if log := rec.Take(); len(log) != 1 || log[0] != "warning: verify service failure" {
		t.Errorf("log %q", log)
	}
}

func TestProbeSenderLosesItsTime(t *testing.T) {
	t.Parallel()
	e, _, _ := engine(t, "address_verify_sender = prober@example.com", "address_verify_sender_ttl = 1h", "smtpd_recipient_restrictions = reject")
	stamped := e.probeSender.At(time.Now())
	c := e.Begin()
	if got := c.ProbeSender(stamped); got != "prober@example.com" || stamped == got {
		t.Errorf("%s became %s", stamped, got)
	}
	if got := c.ProbeSender("x@example.com"); got != "x@example.com" {
		t.Errorf("another address became %s", got)
	}
	r := stranger()
	r.Recipient = stamped
	if v := c.Recipient(t.Context(), r); v.Action != mail.Dunno {
		t.Errorf("a probe to it: %+v", v)
	}
}

// FuzzDNSList reads the argument of reject_rbl_client and its like.
func FuzzDNSList(f *testing.F) {
	for _, seed := range []string{"bl.test", "bl.test=127.0.0.2", "bl.test=127.0.0.[2;4..8]", "=", "a=b=c", "x=[1..300].[].[;].1", "x=1.2.3.[4", "x=1..2.3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		l, err := parseDNSList(spec)
		if err != nil {
			return
		}
		if l.spec != spec || len(l.domain) > len(spec) {
			t.Errorf("%q: %+v", spec, l)
		}
		l.matches([]netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1"), {}})
	})
}
