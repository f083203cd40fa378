package smtpd

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/event"
	"postroad/internal/testkit"
)

// TestPeaks reports what clients did at most, and forgets it.
func TestPeaks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, j := NewRates(), &journal{}
		log := event.NewLogger(j, "postfix/anvil", 1)
		one := rateKey{"smtp", netip.MustParsePrefix("192.0.2.1/32")}
		net6 := rateKey{"smtp", netip.MustParsePrefix("2001:db8::/84")}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		// goroutine: the reports; ends with the test.
		go r.Report(ctx, func() time.Duration { return 10 * time.Minute }, log)
		at := time.Now().Format(peakStamp)
		r.connect(one, time.Minute)
		r.connect(net6, time.Minute)
		r.connect(net6, time.Minute)
		r.disconnect(net6)
		r.connect(net6, time.Minute)
		for range 3 {
			r.event(one, rateMessage, time.Minute)
		}
		r.event(one, rateTLS, time.Minute)
		r.event(rateKey{service: "smtp"}, rateAuth, time.Minute)
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		want := []string{
			"statistics: max connection rate 3/60s for (smtp:2001:db8::/84) at " + at,
			"statistics: max connection count 2 for (smtp:2001:db8::/84) at " + at,
			"statistics: max message rate 3/60s for (smtp:192.0.2.1) at " + at,
			"statistics: max newtls rate 1/60s for (smtp:192.0.2.1) at " + at,
			"statistics: max auth rate 1/60s for (smtp:unknown) at " + at,
			"statistics: max cache size 3 at " + at,
		}
		if got := j.take(); got != strings.Join(want, "\n") {
			t.Errorf("logged\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
		r.event(one, rateRecipient, time.Minute)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if got := j.take(); strings.Contains(got, "\n") || !strings.HasPrefix(got, "statistics: max recipient rate 1/60s for (smtp:192.0.2.1) at ") {
			t.Errorf("later %q", got)
		}
		r.event(one, rateMessage, time.Minute)
		cancel()
		synctest.Wait()
		if j.take() == "" {
			t.Error("no last report")
		}
	})
}

// TestStress changes parameters from when the last session is taken until quarter
// of an hour after.
func TestStress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, _ := newServer(t, "")
		j := &journal{}
		srv.MaxSessions, srv.Master = 2, event.NewLogger(j, "postfix/master", 1)
		srv.prepare()
		take := func() {
			t.Helper()
			if err := srv.slot(t.Context()); err != nil {
				t.Fatal(err)
			}
			srv.taken()
		}
		take()
		if got := srv.settings().Timeout; got != 300*time.Second {
			t.Errorf("with a session to spare the timeout is %v", got)
		}
		take()
		if got := srv.settings(); got.Timeout != 10*time.Second || got.HardErrorLimit != 1 || !got.RequestDeadline {
			t.Errorf("under stress: %v, %d, %v", got.Timeout, got.HardErrorLimit, got.RequestDeadline)
		}
		srv.free()
		time.Sleep(900 * time.Second)
		take()
		time.Sleep(900 * time.Second)
		if got := srv.settings().Timeout; got != 10*time.Second {
			t.Errorf("stress was renewed and is over: %v", got)
		}
		time.Sleep(101 * time.Second)
		if got := srv.settings().Timeout; got != 300*time.Second {
			t.Errorf("stress does not end: %v", got)
		}
		if lines := j.Lines(); len(lines) != 3 || lines[0] != `warning: service "smtp" (25) has reached its process limit "2": new clients may experience noticeable delays` {
			t.Errorf("logged\n%s", j)
		}
	})
}

// TestStressBegins: with the session that takes the last place, from a listener or
// from postscreen, and not before anybody has come.
func TestStressBegins(t *testing.T) {
	t.Parallel()
	for _, handed := range []bool{false, true} {
		srv, _ := newServer(t, "")
		srv.MaxSessions, srv.Master = 1, event.NewLogger(&journal{}, "postfix/master", 1)
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		var wg sync.WaitGroup
		if handed {
			// goroutine: hands a connection over; ends at once.
			wg.Go(func() {
				if err := srv.Take(t.Context(), &Handover{Conn: theirs}); err != nil {
					t.Error(err)
				}
			})
		} else {
			// goroutine: the server; ends with Shutdown.
			wg.Go(func() { _ = srv.Serve(t.Context(), l) })
			if !testkit.Poll(t.Context(), time.Millisecond, func() bool { return srv.serving.Load() > 0 }) {
				t.Fatal("nobody serves")
			}
			if srv.settings() == srv.Stress {
				t.Error("stress before the first client")
			}
			if ours, err = net.Dial("tcp4", l.Addr().String()); err != nil {
				t.Fatal(err)
			}
		}
		talk(t, ours, "", "220 mx.test ESMTP Postfix")
		if srv.settings() != srv.Stress {
			t.Errorf("handed %t: no stress with the last client", handed)
		}
		_ = ours.Close()
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		_ = l.Close()
	}
}

// TestCountUnderLoad opens many connections of few clients at once: each client
// has what it may have, and not one more.
func TestCountUnderLoad(t *testing.T) {
	t.Parallel()
	const clients, each, limit = 40, 50, 10
	srv, _ := newServer(t, "smtpd_client_connection_count_limit = 10\nsmtpd_client_event_limit_exceptions =\n")
	srv.Rates, srv.MaxSessions = NewRates(), 0
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// goroutine: the server; ends when the test closes the listener.
	go func() { _ = srv.Serve(context.WithoutCancel(t.Context()), l) }()
	var served, refused [clients]atomic.Int32
	conns := make(chan net.Conn, clients*each)
	var wg sync.WaitGroup
	for i := range clients {
		for range 5 {
			// goroutine: a part of one client's connections; ends when they are made.
			wg.Go(func() {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 0, byte(i+1))}, Timeout: 10 * time.Second}
				for range each / 5 {
					c, err := d.Dial("tcp4", l.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					conns <- c
					buf := make([]byte, 4)
					_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
					if _, err := io.ReadFull(c, buf); err != nil {
						t.Error(err)
						return
					}
					if string(buf) == "220 " {
						served[i].Add(1)
					} else if string(buf) == "421 " {
						refused[i].Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	for i := range clients {
		if served[i].Load() != limit || refused[i].Load() != each-limit {
			t.Errorf("client %d: %d served, %d refused", i, served[i].Load(), refused[i].Load())
		}
	}
	close(conns)
	for c := range conns {
		_ = c.Close()
	}
	_ = l.Close()
	for srv.Sessions() > 0 {
		time.Sleep(time.Millisecond)
	}
	srv.Rates.mu.Lock()
	defer srv.Rates.mu.Unlock()
	for key, c := range srv.Rates.clients {
		if c.active != 0 {
			t.Errorf("%v: %d connections are left", key, c.active)
		}
	}
}
