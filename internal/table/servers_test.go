package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeHost is a server whose connections do as told.
type fakeHost struct {
	mu sync.Mutex
	// dials and queries count what reached the host; open and most count its
	// connections.
	dials, queries, open, most int
	// connect and query say what happens; nil lets it succeed.
	connect func(ctx context.Context) error
	query   func(ctx context.Context, conn int) error
}

// set changes what happens.
func (h *fakeHost) set(connect func(ctx context.Context) error, query func(ctx context.Context, conn int) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.connect, h.query = connect, query
}

// counts are how many connections and queries the host has seen.
func (h *fakeHost) counts() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("%d dials %d queries %d open", h.dials, h.queries, h.open)
}

// dial makes a connection.
func (h *fakeHost) dial(ctx context.Context) (session, error) {
	h.mu.Lock()
	h.dials++
	connect, number := h.connect, h.dials
	h.mu.Unlock()
	if connect != nil {
		if err := connect(ctx); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open++
	h.most = max(h.most, h.open)
	return &fakeSession{host: h, number: number}, nil
}

// fakeSession is a connection to a fakeHost.
type fakeSession struct {
	host   *fakeHost
	number int
}

func (s *fakeSession) ask(ctx context.Context, _ *querySpec, key string, a *queryAnswer) error {
	s.host.mu.Lock()
	s.host.queries++
	query := s.host.query
	s.host.mu.Unlock()
	if query != nil {
		if err := query(ctx, s.number); err != nil {
			return err
		}
	}
	a.add("value of " + key)
	return nil
}

func (s *fakeSession) close() {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.host.open--
}

// hang waits for the end of the time.
func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

var (
	errRefused = errors.New("connection refused")
	errReset   = errors.New("connection reset")
)

// refused is a connect function of a host that is not there.
func refused(context.Context) error { return errRefused }

// rig is a group of servers under test, asked by ask.
type rig struct {
	*servers
	t     *testing.T
	spec  *querySpec
	hosts []*fakeHost
}

// newRig makes a group of one server per class.
func newRig(t *testing.T, classes ...serverClass) *rig {
	spec, err := newQuerySpec("test:x", settings(t, ""), &Options{}, "%s")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, spec: spec}
	var list []*server
	for i, class := range classes {
		h := new(fakeHost)
		r.hosts = append(r.hosts, h)
		list = append(list, &server{name: fmt.Sprintf("h%d", i), class: class, dial: h.dial})
	}
	r.servers = newServers(list, 2*time.Minute, time.Minute)
	t.Cleanup(r.close)
	return r
}

// ask expects an answer, or an error with some words, after a time.
func (r *rig) ask(want string, took time.Duration) {
	r.t.Helper()
	start := time.Now()
	value, ok, err := r.lookup(context.Background(), r.spec, "k")
	if passed := time.Since(start); passed != took {
		r.t.Errorf("the lookup took %v, want %v", passed, took)
	}
	switch {
	case err != nil && ok:
		r.t.Error("an answer and an error")
	case want == "":
		if value != "value of k" || !ok || err != nil {
			r.t.Errorf("%q %v %v", value, ok, err)
		}
	case err == nil || !strings.Contains(err.Error(), want):
		r.t.Errorf("error %v, want %q", err, want)
	}
}

// expect compares what the hosts have seen.
func (r *rig) expect(counts ...string) {
	r.t.Helper()
	var got []string
	for _, h := range r.hosts {
		got = append(got, h.counts())
	}
	if !slices.Equal(got, counts) {
		r.t.Errorf("%q, want %q", got, counts)
	}
}

func TestServersOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, inetServer)
		h := r.hosts[0]
		r.ask("", 0)
		r.ask("", 0)
		r.expect("1 dials 2 queries 1 open")
		// The server was started anew: nobody notices.
		h.set(nil, func(_ context.Context, conn int) error {
			if conn == 1 {
				return errReset
			}
			return nil
		})
		r.ask("", 0)
		r.expect("2 dials 4 queries 1 open")
		// It is down: tried twice, then left alone for a minute.
		h.set(refused, func(context.Context, int) error { return errReset })
		r.ask("connect to h0: connection refused", 0)
		r.expect("3 dials 5 queries 0 open")
		r.ask("all servers are down; connect to h0: connection refused", 0)
		time.Sleep(59 * time.Second)
		r.ask("all servers are down", 0)
		r.expect("3 dials 5 queries 0 open")
		time.Sleep(2 * time.Second)
		r.ask("connection refused", 0)
		r.expect("5 dials 5 queries 0 open")
		// It comes back.
		h.set(nil, nil)
		r.ask("all servers are down", 0)
		time.Sleep(time.Minute)
		r.ask("", 0)
		r.ask("", 0)
		r.expect("6 dials 7 queries 1 open")
		// An idle connection is closed after its time.
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.expect("6 dials 7 queries 0 open")
	})
}

func TestServersSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, inetServer)
		h := r.hosts[0]
		r.ask("", 0)
		// One hard query is an error, and the server stays in use.
		h.set(nil, func(ctx context.Context, _ int) error { return hang(ctx) })
		r.ask("deadline exceeded", queryTime)
		h.set(nil, nil)
		r.ask("", 0)
		// A server that hangs costs each of its connections one lookup at most,
		// then it is down.
		h.set(hang, func(ctx context.Context, _ int) error { return hang(ctx) })
		r.ask("deadline exceeded", queryTime)
		r.ask("connect to h0: context deadline exceeded", connectTime)
		r.ask("all servers are down", 0)
		r.expect("3 dials 4 queries 0 open")
	})
}

func TestServersFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, inetServer, unixServer)
		r.ask("", 0)
		r.expect("0 dials 0 queries 0 open", "1 dials 1 queries 1 open") // sockets first
		r.hosts[1].set(refused, func(context.Context, int) error { return errReset })
		r.ask("", 0)
		r.ask("", 0)
		r.expect("1 dials 2 queries 1 open", "2 dials 2 queries 0 open")
		time.Sleep(time.Minute)
		r.ask("", 0)
		r.expect("1 dials 3 queries 1 open", "3 dials 2 queries 0 open")
		r.hosts[1].set(nil, nil)
		time.Sleep(time.Minute)
		r.ask("", 0)
		r.expect("1 dials 3 queries 1 open", "4 dials 3 queries 1 open")
		// Both hang: bounded.
		for _, h := range r.hosts {
			h.set(hang, func(ctx context.Context, _ int) error { return hang(ctx) })
		}
		r.ask("h0: context deadline exceeded", 2*queryTime)
		r.ask("h0: context deadline exceeded", 2*connectTime)
		r.ask("all servers are down", 0)
	})
}

func TestServersRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, unixServer, inetServer)
		r.hosts[0].set(nil, func(context.Context, int) error { return refusal{errors.New("no such table")} })
		r.ask("", 0) // the other may have it
		r.expect("1 dials 1 queries 1 open", "1 dials 1 queries 1 open")
		r.hosts[1].set(nil, func(context.Context, int) error { return refusal{errors.New("syntax error")} })
		r.ask("query failed: h1: syntax error", 0)
		r.expect("1 dials 2 queries 1 open", "1 dials 2 queries 1 open")
		r.hosts[1].set(nil, nil)
		r.ask("", 0) // neither was taken out of use
	})
}

func TestServersBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, inetServer)
		h := r.hosts[0]
		h.set(nil, func(context.Context, int) error { time.Sleep(time.Second); return nil })
		var wg sync.WaitGroup
		start := time.Now()
		for range 5 * maxSessions {
			wg.Go(func() {
				if _, ok, err := r.lookup(context.Background(), r.spec, "k"); !ok || err != nil {
					t.Error(ok, err)
				}
			})
		}
		wg.Wait()
		if h.most != maxSessions || time.Since(start) != 5*time.Second {
			t.Errorf("%d connections, %v", h.most, time.Since(start))
		}
		// Those that wait for too long get an error.
		h.set(hang, func(ctx context.Context, _ int) error { return hang(ctx) })
		failed := 0
		var mu sync.Mutex
		for range 5 * maxSessions {
			wg.Go(func() {
				if _, _, err := r.lookup(context.Background(), r.spec, "k"); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			})
		}
		start = time.Now()
		wg.Wait()
		if failed != 5*maxSessions || time.Since(start) > lookupTime {
			t.Errorf("%d errors after %v", failed, time.Since(start))
		}
	})
}

func TestServersCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, inetServer)
		h := r.hosts[0]
		h.set(hang, nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if _, _, err := r.lookup(ctx, r.spec, "k"); err == nil {
			t.Error("no error")
		}
		cancel()
		h.set(nil, nil)
		r.ask("", 0) // the caller had no time; that says nothing about the server
		h.set(refused, func(context.Context, int) error { return errReset })
		r.ask("refused", 0)
		time.Sleep(time.Minute)
		h.set(hang, nil)
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		if _, _, err := r.lookup(ctx, r.spec, "k"); err == nil {
			t.Error("no error")
		}
		h.set(nil, nil)
		r.ask("", 0) // the next lookup may try at once
	})
}

func TestPools(t *testing.T) {
	t.Parallel()
	p := &pools{open: make(map[string]*sharedServers)}
	made := 0
	make := func() *servers { made++; return newServers([]*server{{}}, time.Minute, time.Minute) }
	a, doneA := p.get("one", make)
	b, doneB := p.get("one", make)
	c, doneC := p.get("two", make)
	if a != b || a == c || made != 2 {
		t.Errorf("%d made", made)
	}
	doneA()
	if a.list[0].closed {
		t.Error("closed while in use")
	}
	doneB()
	doneC()
	if !a.list[0].closed || !c.list[0].closed || len(p.open) != 0 {
		t.Error("not closed")
	}
	d, doneD := p.get("one", make)
	if d == a {
		t.Error("closed servers in use")
	}
	doneD()
}

func TestTame(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxCause)
	tests := [][2]string{{"a\r\nb\x00  c\tö", "a b c ö"}, {"\xff\xfe", "?"}, {"x" + long, "x" + long[:maxCause-2] + "?"}}
	for _, test := range tests {
		if got := tame(errors.New(test[0])); got != test[1] {
			t.Errorf("%q, want %q", got, test[1])
		}
	}
}
