package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
)

// bench is a Cache with the probes that it has sent.
type bench struct {
	*Cache
	setup *Setup
	log   *eventtest.Journal
	store Store

	mu     sync.Mutex
	probes []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{log: &eventtest.Journal{}, store: NewMemory()}
	b.Cache = New(b.store)
	b.setup = &Setup{
		Settings: Settings{
			Map: "btree:x", NegativeCache: true, PositiveExpire: 31 * 24 * time.Hour, PositiveRefresh: 7 * 24 * time.Hour,
			NegativeExpire: 3 * 24 * time.Hour, NegativeRefresh: 3 * time.Hour, Cleanup: 12 * time.Hour,
		},
		From: Sender{Address: "double-bounce@mx.test"},
		Log:  event.NewLogger(b.log, "postfix/verify", 1),
		Post: func(_ context.Context, sender, rcpt mail.Address) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.probes = append(b.probes, string(sender)+">"+string(rcpt))
			return nil
		},
	}
	b.Configure(b.setup)
	return b
}

// ask asks once and tells what came out and how many probes were sent so far.
func (b *bench) ask(t *testing.T, addr mail.Address, wait time.Duration) string {
	t.Helper()
	status, text, err := b.Ask(t.Context(), addr, wait)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("%d %s, %d probes", status, text, len(b.probes))
}

func (b *bench) expect(t *testing.T, addr mail.Address, want string) {
	t.Helper()
	if got := b.ask(t, addr, 0); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func (b *bench) update(t *testing.T, s Status, text string, names ...mail.Address) {
	t.Helper()
	if err := b.Update(s, text, names...); err != nil {
		t.Fatal(err)
	}
}

// TestLifeOfAnAddress goes through refresh and expiry of what is known.
func TestLifeOfAnAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const a = mail.Address("a@x.test")
		b.expect(t, a, "3 Address verification in progress, 1 probes")
		b.expect(t, a, "3 Address verification in progress, 1 probes") // it is under way
		b.update(t, Deliverable, "250 2.1.5 Ok", a)
		b.expect(t, a, "0 250 2.1.5 Ok, 1 probes")
		time.Sleep(8 * 24 * time.Hour)
		b.expect(t, a, "0 250 2.1.5 Ok, 2 probes") // old: used, and probed again
		b.update(t, Undeliverable, "550 no", a)    // one failure does not hide it
		b.expect(t, a, "0 250 2.1.5 Ok, 2 probes")
		time.Sleep(probeTTL + time.Second)
		b.expect(t, a, "0 250 2.1.5 Ok, 3 probes") // the second probe is lost
		time.Sleep(25 * 24 * time.Hour)
		b.expect(t, a, "3 Address verification in progress, 4 probes") // too old
		if log := b.log.String(); log != "" {
			t.Errorf("log: %s", log)
		}
	})
}

func TestLifeOfAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const a = mail.Address("a@x.test")
		b.expect(t, a, "3 Address verification in progress, 1 probes")
		b.update(t, Undeliverable, "550 no\nsuch user", a)
		b.expect(t, a, "2 550 no?such user, 1 probes")
		time.Sleep(4 * time.Hour)
		b.expect(t, a, "2 550 no?such user, 2 probes")
		b.update(t, Deferred, "450 later", a)
		b.expect(t, a, "1 450 later, 2 probes")
		b.update(t, Deliverable, "250 ok", a)
		b.expect(t, a, "0 250 ok, 2 probes")
		b.update(t, Undeliverable, "550 no", "other@x.test", "became@x.test")
		b.expect(t, "became@x.test", "2 550 no, 2 probes")
		time.Sleep(4 * 24 * time.Hour)
		b.expect(t, "other@x.test", "3 Address verification in progress, 3 probes")
	})
}

func TestWithoutNegativeCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.setup.NegativeCache = false
		const a = mail.Address("a@x.test")
		b.expect(t, a, "3 Address verification in progress, 1 probes")
		b.update(t, Undeliverable, "550 no", a)
		b.expect(t, a, "3 Address verification in progress, 2 probes")
		b.update(t, Deliverable, "250 ok", a)
		b.expect(t, a, "0 250 ok, 2 probes")
		time.Sleep(8 * 24 * time.Hour)
		b.expect(t, a, "0 250 ok, 3 probes")
		time.Sleep(32 * 24 * time.Hour)
		b.expect(t, a, "3 Address verification in progress, 4 probes")
		if _, found, _ := b.store.Get(string(a)); found {
			t.Error("what is too old is kept")
		}
	})
}

// TestOneProbe: who asks while another waits sends no second probe, where nothing is
// written down about the first.
func TestOneProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.setup.NegativeCache = false
		var wg sync.WaitGroup
		for range 3 {
			// goroutine: asks once and ends.
			wg.Go(func() {
				if got := b.ask(t, "a@x.test", 6*time.Second); got != "3 Address verification in progress, 1 probes" {
					t.Error(got)
				}
			})
		}
		wg.Wait()
	})
}

// TestBadRecord: a record that nobody understands is none.
func TestBadRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.store.Put("a@x.test", "1:2"); err != nil {
		t.Fatal(err)
	}
	b.expect(t, "a@x.test", "3 Address verification in progress, 1 probes")
	if got := b.log.String(); got != "warning: bad address verify table entry: 1:2" {
		t.Errorf("log: %s", got)
	}
}

// TestAskWaits: the answer comes as soon as the probe is back, or when it takes
// too long.
func TestAskWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var wg sync.WaitGroup
		for range 3 {
			// goroutine: asks once and ends.
			wg.Go(func() {
				start := time.Now()
				got := b.ask(t, "a@x.test", 6*time.Second)
				if want := "0 250 ok, 1 probes"; got != want || time.Since(start) != time.Second {
					t.Errorf("%s after %v", got, time.Since(start))
				}
			})
		}
		time.Sleep(time.Second)
		b.update(t, Deliverable, "250 ok", "a@x.test")
		wg.Wait()
		start := time.Now()
		if got := b.ask(t, "a@x.test", 6*time.Second); got != "0 250 ok, 1 probes" || time.Since(start) != 0 {
			t.Errorf("%s after %v, which was known", got, time.Since(start))
		}
		if got := b.ask(t, "b@x.test", 6*time.Second); !strings.HasPrefix(got, "3 ") || time.Since(start) != 6*time.Second {
			t.Errorf("%s after %v", got, time.Since(start))
		}
		if len(b.waiting) != 0 {
			t.Errorf("%d addresses are waited for", len(b.waiting))
		}
	})
}

// broken is a store that fails after some answers, and a store that cannot be
// written.
type broken struct {
	Store
	answers int
}

var errBroken = errors.New("broken")

func (b *broken) Get(key string) (string, bool, error) {
	if b.answers--; b.answers < 0 {
		return "", false, errBroken
	}
	return b.Store.Get(key)
}

func (*broken) Put(string, string) error { return errBroken }

func TestBrokenStore(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Cache.store = &broken{}
	b.expect(t, "a@x.test", "1 Address verification status unavailable, 0 probes")
	if !strings.Contains(b.log.String(), "address verification of a@x.test: broken") {
		t.Errorf("log: %s", b.log)
	}
	b.Cache.store = &broken{NewMemory(), 1}
	// The mark cannot be written: no probe, or there would be one for every question.
	b.expect(t, "a@x.test", "3 Address verification in progress, 0 probes")
	b.Cache.store = &broken{NewMemory(), 1}
	if got := b.ask(t, "a@x.test", time.Millisecond); got != "1 Address verification status unavailable, 0 probes" {
		t.Error(got) // it broke while we waited
	}
	b.Cache.store = &broken{NewMemory(), 0}
	if b.Update(Undeliverable, "550 no", "a@x.test") == nil {
		t.Error("a result that is not stored is no error")
	}
	b.setup.Map = "" // in memory
	b.expect(t, "a@x.test", "3 Address verification in progress, 1 probes")
}

func TestCleanup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.update(t, Deliverable, "ok", "good@x.test")
		b.update(t, Undeliverable, "no", "bad@x.test")
		if err := b.store.Put("garbage", "1:2"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		// goroutine: cleans up; ends with ctx.
		wg.Go(func() { b.Run(ctx) })
		time.Sleep(4 * 24 * time.Hour)
		cancel()
		wg.Wait()
		if !strings.HasPrefix(b.log.String(), "cache btree:x full cleanup: retained=2 dropped=1 entries\n") ||
			!strings.Contains(b.log.String(), "retained=1 dropped=1") {
			t.Errorf("log: %s", b.log)
		}
		if _, found, _ := b.store.Get("good@x.test"); !found {
			t.Error("the good address is forgotten")
		}
	})
}

func TestKeysHaveNoColons(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.update(t, Deliverable, "ok", "a@[IPv6:::1]")
	b.expect(t, "a@[IPv6:::1]", "0 ok, 0 probes")
	if _, found, _ := b.store.Get("a@[IPv6___1]"); !found {
		t.Error("the key is another")
	}
}

func TestSender(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	hour := Sender{Address: "probe@x.test", TTL: time.Hour}
	stamped := hour.At(now)
	if stamped != "probeJS91@x.test" {
		t.Errorf("stamped: %s", stamped)
	}
	for _, test := range []struct {
		s    Sender
		addr mail.Address
		when time.Time
		want bool
	}{
		{Sender{Address: "probe@x.test"}, "Probe@X.test", now, true},
		{Sender{Address: "probe@x.test"}, "probe1@x.test", now, false},
		{Sender{Address: "probe@x.test"}, "probe@y.test", now, false},
		{Sender{Address: "probe@x.test"}, "pro@x.test", now, false},
		{Sender{}, "", now, true},
		{Sender{}, "a@b", now, false},
		{hour, stamped, now, true},
		{hour, mail.Address(strings.ToLower(string(stamped))), now, true},
		{hour, stamped, now.Add(time.Hour), true},
		{hour, stamped, now.Add(-time.Hour), true},
		{hour, stamped, now.Add(2 * time.Hour), false},
		{hour, stamped, now.Add(-2 * time.Hour), false},
		{hour, "probe@x.test", now, false},
		{hour, "probeAEIOU@x.test", now, false},
		{hour, "probeZZZZZZZZZZZZZZZ@x.test", now, false},
	} {
		if got := test.s.Is(test.addr, test.when); got != test.want {
			t.Errorf("%+v, %s at %v: %t", test.s, test.addr, test.when, got)
		}
	}
}

// TestBounds: what strangers may fill is bounded.
func TestBounds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	long := mail.Address(strings.Repeat("x", maxKey) + "@x.test")
	b.expect(t, long, "3 Address verification in progress, 0 probes")
	b.update(t, Deliverable, "ok", long)
	if _, found, _ := b.store.Get(string(long)); found {
		t.Error("an endless address is kept")
	}
	b.update(t, Deliverable, strings.Repeat("x", 10*maxText), "a@x.test")
	if got, _, _ := b.store.Get("a@x.test"); len(got) > maxText+50 {
		t.Errorf("a reason of %d bytes is kept", len(got))
	}
	m := NewMemory()
	for i := range maxMemory {
		if err := m.Put(fmt.Sprint(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if m.Put("more", "x") == nil || m.Put("0", "y") != nil {
		t.Error("memory has no bound, or forgets to replace what it has")
	}
}

// TestProbeOutlivesTheClient: a client that leaves takes no probe with it.
func TestProbeOutlivesTheClient(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	sent := false
	b.setup.Post = func(ctx context.Context, _, _ mail.Address) error {
		sent = ctx.Err() == nil
		return errBroken
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Ask(ctx, "a@x.test", time.Hour); err != nil || !sent {
		t.Errorf("sent %t, %v", sent, err)
	}
	if want := "warning: address verification probe to a@x.test: broken"; b.log.String() != want {
		t.Errorf("log: %s", b.log)
	}
}

func TestParseEntry(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"0:0:1700000000:250 ok": true, "3:1700000000:0:x:y": true, "4:0:1:x": false, "-1:0:1:x": false, "0:0:0:x": false, "0:1:1": false, "": false,
	} {
		if _, ok := parseEntry(in); ok != want {
			t.Errorf("%q: %t", in, ok)
		}
	}
}

// FuzzEntry reads records that something else has written.
func FuzzEntry(f *testing.F) {
	for _, seed := range []string{"0:0:1700000000:250 ok", "3:1:0:x", "4:1:1:x", "0:0:0:x", "::::", "1:2:3", "9999999999999999999:1:1:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := parseEntry(s)
		if !ok {
			return
		}
		again, ok := parseEntry(e.String())
		if !ok || again.status != e.status || !again.updated.Equal(e.updated) || !again.probed.Equal(e.probed) || again.text != e.text {
			t.Errorf("%q: %+v, %+v", s, e, again)
		}
	})
}
