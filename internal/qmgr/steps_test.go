package qmgr

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/agent"
	"postroad/internal/mail"
)

// alias answers for a recipient that stands for others.
func alias(worst mail.Outcome, steps ...mail.Step) func(*agent.Delivery, mail.Recipient) mail.Result {
	return func(*agent.Delivery, mail.Recipient) mail.Result {
		return mail.Result{Outcome: worst, Enhanced: "5.0.0", Text: "the worst", Steps: steps}
	}
}

func step(to mail.Address, o mail.Outcome, enhanced string) mail.Step {
	return mail.Step{Recipient: mail.Recipient{Address: to}, Result: mail.Result{Outcome: o, Enhanced: enhanced, Text: "said " + o.String()}}
}

func TestStepsAreReportedByThemselves(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = alias(mail.Bounced,
			step("good@x.test", mail.Sent, "2.0.0"), step("bad@x.test", mail.Bounced, "5.1.1"), step("worse@x.test", mail.Bounced, "5.1.1"))
		w.start()
		w.send("list@x.test")
		synctest.Wait()
		if got := w.reported(); got != "failure bad@x.test said bounced|failure worse@x.test said bounced" || w.left() != 0 {
			t.Errorf("reports %q, %d left", got, w.left())
		}
	})
}

func TestStepThatBouncesDoesNotEndARecipientThatWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = alias(mail.Deferred, step("bad@x.test", mail.Bounced, "5.1.1"), step("busy@x.test", mail.Deferred, "4.2.0"))
		w.start()
		w.send("list@x.test", "list2@x.test")
		synctest.Wait()
		if got := w.reported(); strings.Count(got, "failure bad@x.test") != 2 || strings.Contains(got, "busy") || w.left() != 1 {
			t.Errorf("reports %q, %d left", got, w.left())
		}
		w.says(newWorld(t).answer)
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.left() != 0 {
			t.Error("the recipient was not tried again")
		}
	})
}

func TestSoftBounceOfAStep(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.settings.SoftBounce = true
		w.answer = alias(mail.Bounced, step("good@x.test", mail.Sent, "2.0.0"), step("bad@x.test", mail.Bounced, "5.1.1"))
		w.start()
		w.send("list@x.test")
		synctest.Wait()
		if got := w.reported(); got != "" || w.left() != 1 {
			t.Errorf("reports %q, %d left", got, w.left())
		}
	})
}

func TestNothingToTell(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = func(*agent.Delivery, mail.Recipient) mail.Result {
			return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Steps: []mail.Step{}}
		}
		w.start()
		w.sendAs(mail.Envelope{Sender: "s@example.org", Trace: true}, "list@x.test")
		synctest.Wait()
		if got := w.reported(); got != "" || w.left() != 0 {
			t.Errorf("reports %q, %d left", got, w.left())
		}
	})
}

func TestMailToDoubleBounceIsDiscarded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.settings.DoubleBounce = "double-bounce"
		w.start()
		w.send("Double-Bounce@here.test")
		w.send("double-bounce@far.test", "double-bounce@here.test", "other@here.test")
		synctest.Wait()
		got := strings.Join(w.tried(), "|")
		if strings.Contains(got, "ounce@here") || !strings.Contains(got, "double-bounce@far.test") || !strings.Contains(got, "other@here.test") || w.left() != 0 {
			t.Errorf("tried %q, %d left", got, w.left())
		}
	})
}

func TestVERP(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		var senders []string
		w.answer = func(d *agent.Delivery, r mail.Recipient) mail.Result {
			w.mu.Lock()
			defer w.mu.Unlock()
			senders = append(senders, string(d.Envelope.Sender)+" for "+string(r.Address))
			return mail.Result{Outcome: mail.Bounced, Enhanced: "5.1.1", Text: "no"}
		}
		w.start()
		w.sendAs(mail.Envelope{Sender: "l@here.test", VERP: "+="}, "a@x.test", "b@x.test")
		synctest.Wait()
		got := strings.Join(senders, "|") + "|" + w.reported()
		for _, want := range []string{
			"l+a=x.test@here.test for a@x.test", "l+b=x.test@here.test for b@x.test",
			"failure a@x.test no to l+a=x.test@here.test", "failure b@x.test no to l+b=x.test@here.test",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is missing in %q", want, got)
			}
		}
		if n := len(w.tried()); n != 2 || w.left() != 0 {
			t.Errorf("%d attempts, %d left", n, w.left())
		}
	})
}

func TestReportToSomebodyElse(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = func(_ *agent.Delivery, r mail.Recipient) mail.Result {
			res := mail.Result{Outcome: mail.Bounced, Enhanced: "5.4.6", Text: "loop"}
			if r.Address.Local() == "list" {
				res.ReportTo = "owner@x.test"
			}
			return res
		}
		w.start()
		w.send("list@x.test", "b@x.test")
		synctest.Wait()
		if got := w.reported(); got != "failure list@x.test loop to owner@x.test|failure b@x.test loop" || w.left() != 0 {
			t.Errorf("reports %q, %d left", got, w.left())
		}
	})
}
