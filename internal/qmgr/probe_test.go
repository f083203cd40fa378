package qmgr

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/agent"
	"postroad/internal/mail"
	"postroad/internal/verify"
)

// answers collects what the manager tells verify(8).
type answers struct {
	mu   sync.Mutex
	text []string
}

// Update implements Verifier.
func (a *answers) Update(s verify.Status, text string, names ...mail.Address) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text = append(a.text, fmt.Sprintf("%d %s %v", s, text, names))
	return nil
}

// take returns the answers since the last call.
func (a *answers) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := strings.Join(a.text, "|")
	a.text = nil
	return out
}

// elsewhere is the router of probes.
type elsewhere struct{ *world }

// Resolve implements Router.
func (e elsewhere) Resolve(ctx context.Context, s, r mail.Address) (mail.Route, error) {
	route, err := e.world.Resolve(ctx, s, r)
	route.Nexthop = "probes." + route.Nexthop
	return route, err
}

// verifies makes a manager that knows verify(8).
func (w *world) verifies(pending int) *answers {
	a := &answers{}
	w.settings.PendingProbes = pending
	w.start()
	gen := *w.m.gen.Load()
	gen.Settings.PendingProbes = pending
	gen.Verify, gen.Probes = a, elsewhere{w}
	w.m.Reload(&gen)
	return a
}

// probe posts a probe; user is sendmail -bv instead of verify(8).
func (w *world) probe(rcpt mail.Address, user bool) {
	w.t.Helper()
	env := &mail.Envelope{
		Sender: "s@example.org", Arrived: time.Now(), Probe: true, Verify: !user,
		Recipients: []mail.Recipient{{Address: rcpt, Original: "asked@x.test"}},
	}
	wr, err := w.store.Begin()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(wr, "\r\n"); err != nil {
		w.t.Fatal(err)
	}
	if err := wr.Commit(w.t.Context(), env); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// TestProbesEnd: whatever becomes of a probe, it leaves the queue, nobody gets a
// report, and verify(8) hears of it.
func TestProbesEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		res  mail.Result
		want string
	}{
		{"sent", mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "ok"}, "0 ok"},
		{"deliverable", mail.Result{Outcome: mail.Deliverable, Enhanced: "2.1.5", Text: "ok"}, "0 ok"},
		{"bounced", mail.Result{Outcome: mail.Bounced, Enhanced: "5.1.1", Text: "no"}, "2 no"},
		{"undeliverable", mail.Result{Outcome: mail.Undeliverable, Enhanced: "5.1.1", Text: "no"}, "2 no"},
		{"undeliverable now", mail.Result{Outcome: mail.Undeliverable, Enhanced: "4.1.1", Text: "later"}, "1 later"},
		{"deferred", mail.Result{Outcome: mail.Deferred, Enhanced: "4.2.0", Text: "later"}, "1 later"},
		{"dead site", mail.Result{Outcome: mail.Deferred, Enhanced: "4.4.1", Text: "refused", SiteFailure: true}, "1 refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(w *world) {
				w.settings.SoftBounce = true
				a := w.verifies(10)
				site := ""
				w.says(func(d *agent.Delivery, _ mail.Recipient) mail.Result {
					site = string(d.Route.Nexthop)
					if d.Flags&agent.Shallow == 0 || d.Flags&agent.Verify == 0 {
						w.t.Errorf("flags %b", d.Flags)
					}
					return test.res
				})
				w.probe("a@x.test", false)
				if got, want := a.take(), test.want+" [asked@x.test a@x.test]"; got != want {
					w.t.Errorf("%s, want %s", got, want)
				}
				if site != "probes.x.test" {
					w.t.Errorf("sent to %s", site)
				}
				if n, reports := w.left(), w.reported(); n != 0 || reports != "" {
					w.t.Errorf("%d messages left, reports %q", n, reports)
				}
				if w.m.probes != 0 {
					w.t.Errorf("%d probes counted at the end", w.m.probes)
				}
			})
		})
	}
}

// TestProbesOfDeadSites: a probe to a site that is known to be dead is answered
// without trying, and one without a route, too.
func TestProbesOfDeadSites(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		a := w.verifies(10)
		w.says(refuse)
		for range 10 {
			w.probe("a@x.test", false)
		}
		w.tried()
		a.take()
		w.probe("b@x.test", false)
		if got := a.take(); !strings.HasPrefix(got, "1 delivery temporarily suspended: connection refused") || len(w.tried()) != 0 {
			w.t.Errorf("dead site: %s", got)
		}
		w.routes(true)
		w.probe("c@y.test", false)
		if got := a.take(); got != "1 address resolver failure [asked@x.test c@y.test]" {
			w.t.Errorf("no route: %s", got)
		}
		if n, reports := w.left(), w.reported(); n != 0 || reports != "" {
			w.t.Errorf("%d messages left, reports %q", n, reports)
		}
	})
}

// TestTooManyProbes: beyond the limit they are turned away.
func TestTooManyProbes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		a := w.verifies(2)
		w.block = make(chan struct{})
		hops := map[string]int{}
		var mu sync.Mutex
		w.says(func(d *agent.Delivery, _ mail.Recipient) mail.Result {
			mu.Lock()
			defer mu.Unlock()
			hops[string(d.Route.Transport)+":"+string(d.Route.Nexthop)]++
			return mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "ok"}
		})
		for range 3 {
			w.probe("a@x.test", false)
		}
		close(w.block)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if hops["smtp:probes.x.test"] != 2 || hops["retry:"+string(tooManyProbes)] != 1 || w.m.probes != 0 {
			w.t.Errorf("%v, %d probes, %s", hops, w.m.probes, a.take())
		}
	})
}

// TestProbesOfUsers: sendmail -bv is reported to the user and to nobody else.
func TestProbesOfUsers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		a := w.verifies(10)
		w.says(busy)
		w.probe("a@x.test", true)
		if got := w.reported(); got != "success a@x.test mailbox busy" {
			w.t.Errorf("reports %q", got)
		}
		if got := a.take(); got != "" || w.left() != 0 {
			w.t.Errorf("%s, %d messages left", got, w.left())
		}
	})
}
