package qmgr

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postroad/internal/agent"
	"postroad/internal/bounce"
	"postroad/internal/control"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/queue"
	"postroad/internal/testkit"
)

// world is a manager with everything around it made up.
type world struct {
	t       *testing.T
	fs      vfs.FS
	store   *queue.Store
	m       *Manager
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex
	tries   []string
	reports []string
	// answer decides about one recipient of an attempt.
	answer func(d *agent.Delivery, r mail.Recipient) mail.Result
	// block holds every attempt until it is closed.
	block    chan struct{}
	settings Settings
	limits   Limits
	badRoute bool
	running  map[string]int
	most     map[string]int
}

func defaultLimits() Limits {
	return Limits{
		Processes: 100, Concurrency: 20, Initial: 5, Recipients: 50,
		Positive: Feedback{Amount: 1}, Negative: Feedback{Amount: 1}, Cohorts: 1,
	}
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, fs: vfs.NewMem(), running: map[string]int{}, most: map[string]int{},
		settings: Settings{
			MinimalBackoff: 300 * time.Second, MaximalBackoff: 4000 * time.Second,
			Lifetime: 5 * 24 * time.Hour, BounceLifetime: 5 * 24 * time.Hour, ActiveLimit: 20000,
		},
		limits: defaultLimits(),
		answer: func(*agent.Delivery, mail.Recipient) mail.Result {
			return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "ok"}
		},
	}
}

func (w *world) Resolve(_ context.Context, _, r mail.Address) (mail.Route, error) {
	w.mu.Lock()
	bad := w.badRoute
	w.mu.Unlock()
	if bad {
		return mail.Route{}, fmt.Errorf("table is broken")
	}
	route := mail.Route{Transport: "smtp", Nexthop: mail.Nexthop(r.Domain()), Recipient: r}
	if r.Domain() == "here.test" {
		route.Class = mail.ClassLocal
	}
	return route, nil
}

func (w *world) Deliver(_ context.Context, d *agent.Delivery) []mail.Result {
	w.mu.Lock()
	site := string(d.Route.Nexthop)
	w.running[site]++
	w.most[site] = max(w.most[site], w.running[site])
	var names []string
	for _, r := range d.Recipients {
		names = append(names, string(r.Address))
	}
	w.tries = append(w.tries, strings.Join(names, " "))
	block, answer := w.block, w.answer
	w.mu.Unlock()
	if block != nil {
		<-block
	}
	var out []mail.Result
	for i, r := range d.Recipients {
		res := answer(d, r)
		res.Index = i
		out = append(out, res)
	}
	w.mu.Lock()
	w.running[site]--
	w.mu.Unlock()
	return out
}

func (w *world) note(kind string, r *bounce.Report) (mail.QueueID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range r.Recipients {
		to := ""
		if r.To != "" {
			to = " to " + string(r.To)
		}
		if one.Cleared {
			to += " cleared"
		}
		w.reports = append(w.reports, fmt.Sprintf("%s %s %s%s", kind, one.Recipient.Address, one.Result.Text, to))
	}
	return "", nil
}

func (w *world) Failure(_ context.Context, r *bounce.Report) (mail.QueueID, error) {
	return w.note("failure", r)
}
func (w *world) Delay(_ context.Context, r *bounce.Report) (mail.QueueID, error) {
	return w.note("delay", r)
}
func (w *world) Success(_ context.Context, r *bounce.Report) (mail.QueueID, error) {
	return w.note("success", r)
}

// start opens the store, runs a manager on it, and waits until it has nothing to do.
func (w *world) start() {
	w.begin()
	synctest.Wait()
}

// open opens the store.
func (w *world) open() *queue.Store {
	w.t.Helper()
	var err error
	if w.store, err = queue.Open(queue.Options{Dir: "spool", FS: w.fs, Reserve: -1, MemTable: 1 << 20}); err != nil {
		w.t.Fatal(err)
	}
	return w.store
}

// begin opens the store and runs a manager on it.
func (w *world) begin() {
	w.open()
	smtp := &Transport{Agent: w, Limits: w.limits, LogName: "postfix/smtp"}
	w.m = New(w.store, event.NewLogger(nil, "postfix/qmgr", 1), &event.PIDs{}, &Generation{
		Settings: w.settings, Router: w, Reporter: w, Transports: map[mail.Transport]*Transport{"smtp": smtp}, Fallback: smtp,
	})
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.done = cancel, make(chan struct{})
	// goroutine: the manager; stop waits for it.
	go func() {
		defer close(w.done)
		if err := w.m.Run(ctx, time.Second); err != nil {
			w.t.Error(err)
		}
	}()
}

func (w *world) stop() {
	w.cancel()
	<-w.done
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// send accepts a message for the recipients.
func (w *world) send(rcpts ...mail.Address) mail.QueueID {
	return w.sendAs(mail.Envelope{Sender: "s@example.org"}, rcpts...)
}

// sendAs is send with more in the envelope.
func (w *world) sendAs(envelope mail.Envelope, rcpts ...mail.Address) mail.QueueID {
	env := &envelope
	env.Arrived = time.Now()
	for _, r := range rcpts {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r, Original: r})
	}
	wr, err := w.store.Begin()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(wr, "Subject: x\r\n\r\nx\r\n"); err != nil {
		w.t.Fatal(err)
	}
	if err := wr.Commit(context.Background(), env); err != nil {
		w.t.Fatal(err)
	}
	return env.ID
}

func (w *world) tried() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.tries
	w.tries = nil
	return out
}

func (w *world) reported() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.reports, "|")
}

// says changes the answer of the agent.
func (w *world) says(answer func(*agent.Delivery, mail.Recipient) mail.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// routes breaks or mends the router.
func (w *world) routes(bad bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.badRoute = bad
}

// left counts the messages in the store.
func (w *world) left() (n int) {
	if err := w.store.List(func(*queue.Summary) error { n++; return nil }); err != nil {
		w.t.Error(err)
	}
	return n
}

// leftOnDisk is left after stop.
func (w *world) leftOnDisk() int {
	defer func() { _ = w.store.Close() }()
	w.open()
	return w.left()
}

func refuse(*agent.Delivery, mail.Recipient) mail.Result {
	return mail.Result{Outcome: mail.Deferred, Enhanced: "4.4.1", Text: "connection refused", SiteFailure: true}
}

func busy(*agent.Delivery, mail.Recipient) mail.Result {
	return mail.Result{Outcome: mail.Deferred, Enhanced: "4.2.0", Text: "mailbox busy"}
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(w)
		w.stop()
	})
}

func TestDeliveredAndRemoved(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.start()
		w.send("a@x.test")
		w.send("b@x.test", "c@x.test", "d@y.test")
		synctest.Wait()
		if got := len(w.tried()); got != 3 || w.left() != 0 {
			t.Errorf("%d attempts, %d messages left", got, w.left())
		}
	})
}

func TestBackoffDoublesWithAge(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = busy
		w.start()
		began := time.Now()
		w.send("a@x.test")
		var when []int
		for range 4 {
			for len(w.tried()) == 0 {
				time.Sleep(time.Second)
			}
			when = append(when, int(time.Since(began).Seconds()))
		}
		// 300 s is the minimum; then each pause is the age, up to 4000 s.
		if got, want := fmt.Sprint(when), "[0 300 600 1200]"; !near(when, []int{0, 300, 600, 1200}) {
			t.Errorf("attempts at %s, want about %s", got, want)
		}
	})
}

// near allows the seconds that polling costs.
func near(got, want []int) bool {
	for i := range want {
		if i >= len(got) || got[i] < want[i] || got[i] > want[i]+10 {
			return false
		}
	}
	return true
}

func TestExpiredMessageIsReturned(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = busy
		w.settings.Lifetime = time.Hour
		w.start()
		w.send("a@x.test")
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if got := w.reported(); got != "failure a@x.test mailbox busy" || w.left() != 0 {
			t.Errorf("reports %q, %d left", got, w.left())
		}
	})
}

func TestBounceIsReportedOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = func(_ *agent.Delivery, r mail.Recipient) mail.Result {
			switch r.Address.Local() {
			case "bad":
				return mail.Result{Outcome: mail.Bounced, Enhanced: "5.1.1", Text: "no such user"}
			case "busy":
				return mail.Result{Outcome: mail.Deferred, Enhanced: "4.2.0", Text: "busy"}
			}
			return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "ok"}
		}
		w.start()
		w.send("good@x.test", "bad@x.test", "busy@y.test")
		synctest.Wait()
		if got := w.reported(); got != "failure bad@x.test no such user" || w.left() != 1 {
			t.Fatalf("reports %q, %d left", got, w.left())
		}
		w.tried()
		time.Sleep(310 * time.Second)
		synctest.Wait()
		if got := strings.Join(w.tried(), "|"); got != "busy@y.test" {
			t.Errorf("second attempt for %q", got)
		}
	})
}

func TestDeadDestinationCostsOneProbe(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = refuse
		w.start()
		for i := range 200 {
			w.send(mail.Address(fmt.Sprintf("u%d@dead.test", i)))
			synctest.Wait()
		}
		if got := len(w.tried()); got > 6 {
			t.Errorf("%d attempts at a dead destination, want the first window at most", got)
		}
		time.Sleep(400 * time.Second)
		synctest.Wait()
		if got := len(w.tried()); got == 0 || got > 2*probeJobs {
			t.Errorf("%d probes after the backoff", got)
		}
		// It comes back: everything is delivered soon.
		w.says(newWorld(t).answer)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if w.left() != 0 {
			t.Errorf("%d messages left after the site came back", w.left())
		}
	})
}

func TestBacklogDoesNotSlowOthers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = func(d *agent.Delivery, r mail.Recipient) mail.Result {
			if d.Route.Nexthop == "dead.test" {
				return refuse(d, r)
			}
			return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0"}
		}
		w.start()
		for i := range 100 {
			w.send(mail.Address(fmt.Sprintf("u%d@dead.test", i)))
		}
		synctest.Wait()
		began := time.Now()
		w.send("new@live.test")
		synctest.Wait()
		if d := time.Since(began); w.left() != 100 || d > 0 {
			t.Errorf("new mail took %v, %d left", d, w.left())
		}
	})
}

func TestRestartFindsEverything(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = busy
		w.start()
		w.send("a@x.test", "b@y.test")
		w.send("c@x.test")
		synctest.Wait()
		w.stop()
		w.says(newWorld(t).answer)
		w.tried()
		w.start()
		time.Sleep(310 * time.Second)
		synctest.Wait()
		if got := len(w.tried()); got != 3 || w.left() != 0 {
			t.Errorf("after restart: %d attempts, %d left", got, w.left())
		}
	})
}

func TestActiveLimitLeavesMailOnDisk(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.settings.ActiveLimit = 10
		w.block = make(chan struct{})
		w.start()
		for i := range 50 {
			w.send(mail.Address(fmt.Sprintf("u%d@x%d.test", i, i)))
		}
		synctest.Wait()
		if n := w.m.Counts(); n > 10 {
			t.Errorf("%d messages in memory", n)
		}
		close(w.block)
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.left() != 0 {
			t.Errorf("%d messages forgotten on disk", w.left())
		}
	})
}

func TestConcurrencyStaysInsideWindow(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.block = make(chan struct{})
		w.start()
		for i := range 40 {
			w.send(mail.Address(fmt.Sprintf("u%d@x.test", i)))
		}
		synctest.Wait()
		if w.most["x.test"] != 5 {
			t.Errorf("%d attempts at once, want the initial window of 5", w.most["x.test"])
		}
		close(w.block)
		synctest.Wait()
		if w.most["x.test"] > 20 || w.left() != 0 {
			t.Errorf("%d attempts at once, %d left", w.most["x.test"], w.left())
		}
	})
}

func TestLetterOvertakesList(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.limits.Processes, w.limits.Recipients = 1, 2
		w.block = make(chan struct{})
		w.start()
		var list []mail.Address
		for i := range 100 {
			list = append(list, mail.Address(fmt.Sprintf("u%d@x.test", i)))
		}
		w.send(list...)
		synctest.Wait()
		w.send("letter@x.test")
		synctest.Wait()
		close(w.block)
		synctest.Wait()
		for i, try := range w.tried() {
			if try == "letter@x.test" {
				if i > 3 {
					t.Errorf("the letter came as attempt %d", i+1)
				}
				return
			}
		}
		t.Error("the letter was not delivered")
	})
}

func TestUnresolvedRecipientsWait(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.routes(true)
		w.start()
		id := w.send("a@x.test")
		synctest.Wait()
		sum, err := w.store.Summary(id)
		if err != nil || len(sum.Jobs) != 1 || sum.Jobs[0].Waiting[0].Text != resolverFailure {
			t.Fatalf("summary %+v %v", sum, err)
		}
		w.routes(false)
		time.Sleep(310 * time.Second)
		synctest.Wait()
		if w.left() != 0 {
			t.Error("not delivered after the table was mended")
		}
	})
}

func TestPanicIsADeferral(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = func(*agent.Delivery, mail.Recipient) mail.Result { panic("bug") }
		w.start()
		w.send("a@x.test")
		synctest.Wait()
		if w.left() != 1 {
			t.Error("message lost by a panic")
		}
	})
}

func TestDelayWarning(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = refuse
		w.settings.DelayWarning = time.Hour
		w.start()
		for i := range 30 {
			w.send(mail.Address(fmt.Sprintf("u%d@dead.test", i)))
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := strings.Count(w.reported(), "delay u"); n != 30 {
			t.Errorf("%d delay warnings for 30 messages", n)
		}
	})
}

// TestDelayCleared: who hears that a delay is over; Postfix does the same.
func TestDelayCleared(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		notify mail.Notify
		after  time.Duration
		want   string
	}{
		{0, time.Minute, "delay a@x.test mailbox busy|success a@x.test ok cleared"},
		{mail.NotifyDelay, time.Minute, "delay a@x.test mailbox busy|success a@x.test ok cleared"},
		{mail.NotifySuccess, time.Minute, "delay a@x.test mailbox busy|success a@x.test ok cleared"},
		{mail.NotifyFailure, time.Minute, "delay a@x.test mailbox busy"},
		{mail.NotifyNever, time.Minute, "delay a@x.test mailbox busy"},
		{0, 3 * time.Hour, ""},
		{mail.NotifySuccess, 3 * time.Hour, "success a@x.test ok"},
	} {
		inBubble(t, func(w *world) {
			w.settings.DelayWarning, w.settings.ConfirmCleared = c.after, true
			w.answer = busy
			w.start()
			w.sendAs(mail.Envelope{Sender: "s@example.org", Recipients: []mail.Recipient{
				{Address: "a@x.test", Original: "a@x.test", Notify: c.notify}}})
			time.Sleep(10 * time.Minute)
			w.says(func(*agent.Delivery, mail.Recipient) mail.Result {
				return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "ok", DSNPassed: true}
			})
			time.Sleep(2 * time.Hour)
			if got := w.reported(); got != c.want || w.left() != 0 {
				t.Errorf("NOTIFY %d after %v: reported %q, want %q; %d left", c.notify, c.after, got, c.want, w.left())
			}
		})
	}
}

func TestHoldReleaseDelete(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = busy
		w.start()
		admin := &Admin{Store: w.store, Manager: w.m}
		keep, drop := w.send("a@x.test"), w.send("b@x.test")
		synctest.Wait()
		change := func(op control.Op, id mail.QueueID, want int) {
			n, err := admin.Change(context.Background(), op, control.Selection{IDs: []mail.QueueID{id}}, func(mail.QueueID) {})
			if err != nil || n != want {
				t.Errorf("%s: %d, %v; want %d", op, n, err, want)
			}
		}
		change(control.OpHold, keep, 1)
		change(control.OpDelete, drop, 1)
		change(control.OpDelete, "NOSUCHMSG", 0)
		w.tried()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := w.tried(); len(got) != 0 || w.left() != 1 {
			t.Errorf("held mail was tried: %v, %d left", got, w.left())
		}
		w.says(newWorld(t).answer)
		change(control.OpRelease, keep, 1)
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if w.left() != 0 {
			t.Error("released mail was not delivered")
		}
	})
}

// TestEntriesThatEndTogether: recipients of one job that are delivered to by
// several attempts at once; whichever ends last, the message is removed.
func TestEntriesThatEndTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limits.Recipients = 1
	w.answer = func(*agent.Delivery, mail.Recipient) mail.Result {
		return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "ok", Sync: func() error { return nil }}
	}
	w.begin()
	const messages = 1500
	for range messages {
		w.send("a@x.test", "a@x.test", "a@x.test")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	testkit.Poll(ctx, 5*time.Millisecond, func() bool { return w.left() == 0 })
	w.stop()
	if n := w.leftOnDisk(); n != 0 {
		t.Errorf("%d of %d messages stay behind", n, messages)
	}
}

// TestFilterNexthop: where mail for a content filter goes.
func TestFilterNexthop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ env, set, want mail.Nexthop }{
		{"[127.0.0.1]:10024", "set.test", "[127.0.0.1]:10024"}, {"", "set.test", "set.test"}, {"", "", "x.test"},
	} {
		inBubble(t, func(w *world) {
			w.settings.FilterNexthop = string(c.set)
			var got mail.Nexthop
			w.answer = func(d *agent.Delivery, _ mail.Recipient) mail.Result {
				got = d.Route.Nexthop
				return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "ok"}
			}
			w.start()
			w.sendAs(mail.Envelope{Sender: "s@example.org", FilterTransport: "smtp", FilterNexthop: c.env}, "a@x.test")
			synctest.Wait()
			if got != c.want {
				t.Errorf("%+v: %s", c, got)
			}
		})
	}
}

// syncCounter counts the syncs of files that are written.
type syncCounter struct {
	vfs.FS
	n atomic.Int64
}

// Create implements vfs.FS.
func (c *syncCounter) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.Create(name, cat)
	return &countedFile{f, &c.n}, err
}

type countedFile struct {
	vfs.File
	n *atomic.Int64
}

// Sync implements vfs.File.
func (f *countedFile) Sync() error { f.n.Add(1); return f.File.Sync() }

// SyncData implements vfs.File.
func (f *countedFile) SyncData() error { f.n.Add(1); return f.File.SyncData() }

// TestChangesShareSyncs: what is done to all messages is durable when it is
// reported, and does not take a sync for each.
func TestChangesShareSyncs(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		counter := &syncCounter{FS: w.fs}
		w.fs = counter
		w.answer = busy
		w.start()
		const messages = 1001
		for range messages {
			w.send("a@x.test")
		}
		time.Sleep(10 * time.Second)
		a := &Admin{Store: w.store, Manager: w.m}
		for _, op := range []control.Op{control.OpHold, control.OpRelease, control.OpDelete} {
			before, reported := counter.n.Load(), 0
			n, err := a.Change(t.Context(), op, control.Selection{All: true}, func(mail.QueueID) { reported++ })
			if n != messages || reported != messages || err != nil {
				t.Errorf("%v: %d done, %d reported, %v", op, n, reported, err)
			}
			if syncs := counter.n.Load() - before; syncs < 1 || syncs > 100 {
				t.Errorf("%v: %d syncs", op, syncs)
			}
		}
		if n := w.left(); n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

func TestFlushTriesAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.answer = refuse
		w.start()
		for i := range 20 {
			w.send(mail.Address(fmt.Sprintf("u%d@x.test", i)))
		}
		synctest.Wait()
		w.says(newWorld(t).answer)
		w.m.Flush()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if w.left() != 0 {
			t.Errorf("%d left after a flush", w.left())
		}
	})
}
