package postscreen

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/dns"
)

const stranger = "198.51.100.9"

// expect compares the log since the last time with lines, of which those that
// say who it is about are shortened.
func (g *gate) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	got := strings.ReplaceAll(g.log.take(), "["+stranger+"]:4711", "C")
	got = strings.ReplaceAll(got, "CONNECT from C to [192.0.2.1]:25", "CONNECT")
	if got != strings.Join(want, "\n") {
		t.Errorf("%s: log\n%s\nwant\n%s", what, got, strings.Join(want, "\n"))
	}
}

// took runs a visit and tells how long it took.
func took(visit func()) time.Duration {
	start := time.Now()
	visit()
	return time.Since(start)
}

// TestPassAndRemember follows a client over weeks.
func TestPassAndRemember(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache")
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, "postscreen_cache_map = btree:"+path+"\npostscreen_pipelining_enable = yes\n")
		teaser := "220-mx.test ESMTP Postfix\r\n"
		deepTalk := []string{"EHLO a\r\n", "MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "QUIT\r\n"}
		var out string
		if d := took(func() { out = g.visit(stranger, deepTalk...) }); d != 6*time.Second {
			t.Errorf("the tests took %v", d)
		}
		if !strings.HasPrefix(out, teaser+"220 mx.test ESMTP Postfix\r\n250-mx.test\r\n") ||
			!strings.HasSuffix(out, "450 4.3.2 Service currently unavailable\r\n221 2.0.0 Bye\r\n") {
			t.Errorf("the client heard %q", out)
		}
		reject := "NOQUEUE: reject: RCPT from C: 450 4.3.2 Service currently unavailable; from=<a@b>, to=<c@d>, proto=ESMTP, helo=<a>"
		g.expect(t, "new", "CONNECT", reject, "PASS NEW C", "DISCONNECT C")
		if d := took(func() { out = g.visit(stranger) }); d != 0 || out != "220 smtpd\r\n" {
			t.Errorf("the second time: %v, %q", d, out)
		}
		g.expect(t, "again", "CONNECT", "PASS OLD C")
		// A day later only the test before the greeting has to be passed again.
		time.Sleep(25 * time.Hour)
		if d := took(func() { out = g.visit(stranger) }); d != 6*time.Second || out != teaser+"220 smtpd\r\n" {
			t.Errorf("the third time: %v, %q", d, out)
		}
		g.expect(t, "after a day", "CONNECT", "PASS OLD C")
		// A restart does not forget.
		g.caches.Flush()
		again := newGateWith(t, "postscreen_cache_map = btree:"+path+"\npostscreen_pipelining_enable = yes\n", g.zone, &Caches{})
		if d := took(func() { out = again.visit(stranger) }); d != 0 || out != "220 smtpd\r\n" {
			t.Errorf("after a restart: %v, %q", d, out)
		}
		again.expect(t, "after a restart", "CONNECT", "PASS OLD C")
	})
}

// TestPregreet: too early is too early, and nothing that was said is lost.
func TestPregreet(t *testing.T) {
	t.Parallel()
	tests := []struct {
		action string
		took   time.Duration
		heard  string
		log    []string
	}{
		{"enforce", 0, "220-mx.test ESMTP Postfix\r\n250 mx.test\r\n221 2.0.0 Bye\r\n", []string{`PREGREET 8 after 0 from C: HELO a\r\n`, "DISCONNECT C"}},
		{"drop", 0, "220-mx.test ESMTP Postfix\r\n521 5.5.1 Protocol error\r\n", []string{`PREGREET 8 after 0 from C: HELO a\r\n`, "DISCONNECT C"}},
		{"ignore", 0, "220-mx.test ESMTP Postfix\r\n220 smtpd\r\n", []string{`PREGREET 8 after 0 from C: HELO a\r\n`}},
	}
	for _, tt := range tests {
		t.Run(tt.action, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t, "postscreen_greet_action = "+tt.action+"\n")
				var out string
				d := took(func() {
					if tt.action == "enforce" {
						out = g.visit(stranger, "+HELO a\r\n", "~1s", "+QUIT\r\n", "~1s")
						return
					}
					out = g.visit(stranger, "+HELO a\r\n", "~1s")
				})
				if out != tt.heard || d > 3*time.Second {
					t.Errorf("heard %q in %v, want %q", out, d, tt.heard)
				}
				g.expect(t, tt.action, append([]string{"CONNECT"}, tt.log...)...)
				if tt.action == "ignore" && (len(g.passed) != 1 || string(g.passed[0].Read) != "HELO a\r\n") {
					t.Errorf("handed over %+v", g.passed)
				}
			})
		})
	}
}

// TestHangup: who goes away has failed nothing.
func TestHangup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, "")
		g.visit(stranger, "~2500ms")
		g.expect(t, "early", "CONNECT", "HANGUP after 2.5 from C in tests before SMTP handshake", "DISCONNECT C")
		g = newGate(t, "postscreen_pipelining_enable = yes\npostscreen_command_time_limit = 20s\n")
		g.visit(stranger, "EHLO a\r\n", "~10s")
		g.expect(t, "late", "CONNECT", "HANGUP after 10 from C in tests after SMTP handshake", "DISCONNECT C")
		g.visit(stranger, "EHLO a\r\n", "+NOOP", "~30s")
		g.expect(t, "slow", "CONNECT", "COMMAND TIME LIMIT from C after EHLO", "DISCONNECT C")
	})
}

// TestLists weighs what lists in the DNS say, in time and too late.
func TestLists(t *testing.T) {
	t.Parallel()
	const sites = "postscreen_dnsbl_sites = bl.test*2 slow.test*1 wl.test=127.0.[0..2].3*-4\npostscreen_dnsbl_threshold = 2\npostscreen_dnsbl_action = drop\n"
	tests := []struct {
		name, config string
		answers      map[string]answer
		took         time.Duration
		log          []string
	}{
		{"nobody", "", nil, 6 * time.Second, []string{"PASS NEW C"}},
		{"listed", "", map[string]answer{"bl.test": {addrs: "127.0.0.2"}}, 6 * time.Second,
			[]string{"dnsblog: addr " + stranger + " listed by domain bl.test as 127.0.0.2", "DNSBL rank 2 for C", "DISCONNECT C"}},
		{"below the threshold", "", map[string]answer{"slow.test": {addrs: "127.0.0.2"}}, 6 * time.Second,
			[]string{"dnsblog: addr " + stranger + " listed by domain slow.test as 127.0.0.2", "PASS NEW C"}},
		{"only lists", "postscreen_greet_banner =\n", map[string]answer{"bl.test": {addrs: "127.0.0.2", after: time.Second}}, time.Second,
			[]string{"dnsblog: addr " + stranger + " listed by domain bl.test as 127.0.0.2", "DNSBL rank 2 for C", "DISCONNECT C"}},
		{"too late", "", map[string]answer{"bl.test": {addrs: "127.0.0.2", after: 8 * time.Second}}, 6 * time.Second, []string{"PASS NEW C",
			"dnsblog: addr " + stranger + " listed by domain bl.test as 127.0.0.2"}},
		{"never", "", map[string]answer{"bl.test": {addrs: "127.0.0.2", after: time.Minute}}, 6 * time.Second, []string{"PASS NEW C",
			"warning: dnsblog reply timeout 10s for bl.test"}},
		{"trouble", "", map[string]answer{"bl.test": {err: &dns.Error{Name: "x", Type: "A", Text: "Host not found, try again"}}}, 6 * time.Second,
			[]string{"dnsblog: warning: dnsblog_query: lookup error for DNS query 9.100.51.198.bl.test: Host or domain name not found. Name service error for name=x type=A: Host not found, try again", "PASS NEW C"}},
		{"good name", "postscreen_dnsbl_allowlist_threshold = -2\n", map[string]answer{"wl.test": {addrs: "127.0.2.3", after: time.Second}}, time.Second,
			[]string{"dnsblog: addr " + stranger + " listed by domain wl.test as 127.0.2.3", "PASS NEW C"}},
		{"good name, other words", "postscreen_dnsbl_allowlist_threshold = -2\n", map[string]answer{"wl.test": {addrs: "127.0.2.4", after: time.Second}}, 6 * time.Second,
			[]string{"dnsblog: addr " + stranger + " listed by domain wl.test as 127.0.2.4", "PASS NEW C"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				z := &zone{answers: map[string]answer{}}
				for list, a := range tt.answers {
					z.answers["9.100.51.198."+list] = a
				}
				g := newGateWith(t, sites+tt.config, z, &Caches{})
				if d := took(func() { g.visit(stranger) }); d != tt.took {
					t.Errorf("took %v, want %v", d, tt.took)
				}
				time.Sleep(time.Minute)
				g.expect(t, tt.name, append([]string{"CONNECT"}, tt.log...)...)
			})
		})
	}
}

// TestSharedScore: connections of one client that overlap ask once.
func TestSharedScore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, "postscreen_dnsbl_sites = bl.test wl.test*-1\npostscreen_dnsbl_action = drop\n")
		g.zone.answers["9.100.51.198.bl.test"] = answer{addrs: "127.0.0.2", after: 2 * time.Second}
		for range 5 {
			// goroutine: one connection; ends by itself.
			go g.visit(stranger)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if log := g.log.take(); g.zone.asked != 2 || strings.Count(log, "DNSBL rank 1") != 5 || strings.Count(log, "listed by") != 1 {
			t.Errorf("asked %d times, logged\n%s", g.zone.asked, log)
		}
		g.locked(func() {
			if len(g.lists.scorer.scores) != 0 || g.lists.scorer.working != 0 {
				t.Errorf("left over: %d scores, %d workers", len(g.lists.scorer.scores), g.lists.scorer.working)
			}
		})
	})
}

// TestLimits: too many from one client, too many at all, and stress.
func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, "postscreen_client_connection_count_limit = 2\npostscreen_pre_queue_limit = 10\n")
		crowd := func(n int, from string) {
			for i := range n {
				addr := from
				if from == "" {
					addr = "198.51.100." + strconv.Itoa(100+i)
				}
				// goroutine: one client; ends by itself.
				go g.visit(addr)
			}
			synctest.Wait()
		}
		crowd(3, stranger)
		if log := g.log.take(); strings.Count(log, "NOQUEUE: reject: CONNECT from ["+stranger+"]:4711: too many connections") != 1 {
			t.Errorf("three of one client:\n%s", log)
		}
		time.Sleep(time.Minute)
		g.log.take()
		crowd(12, "")
		log := g.log.take()
		if strings.Count(log, "all screening ports busy") != 3 || strings.Count(log, "entering STRESS mode with 9 connections") != 1 {
			t.Errorf("a crowd:\n%s", log)
		}
		if wait := g.current().GreetWait; wait != 2*time.Second {
			t.Errorf("under stress the greeting waits %v", wait)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if log := g.log.take(); !strings.Contains(log, "leaving STRESS mode with 7 connections") || strings.Count(log, "PASS NEW") != 9 {
			t.Errorf("after the crowd:\n%s", log)
		}
		if g.Clients() != 0 || g.checking != 0 || g.posting != 0 || len(g.clients) != 0 {
			t.Errorf("left over: %d clients, %d, %d, %d", g.Clients(), g.checking, g.posting, len(g.clients))
		}
	})
}

// TestBusyServer: only so many clients wait for smtpd.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, "postscreen_post_queue_limit = 5\npostscreen_client_connection_count_limit = 0\n")
		free, greet := make(chan struct{}), g.HandOff
		g.HandOff = func(ctx context.Context, h *Handover) error {
			<-free
			return greet(ctx, h)
		}
		heard := make(chan string, 8)
		for range 8 {
			// goroutine: a friend; ends when it is served or refused.
			go func() { heard <- g.visit("192.0.2.7") }()
			synctest.Wait()
		}
		for range 3 {
			if got := <-heard; got != "421 4.3.2 All server ports are busy\r\n" {
				t.Errorf("one too many heard %q", got)
			}
		}
		close(free)
		for range 5 {
			if got := <-heard; got != "220 smtpd\r\n" {
				t.Errorf("one that waited heard %q", got)
			}
		}
		if log := g.log.take(); strings.Count(log, "NOQUEUE: reject: CONNECT from [192.0.2.7]:4711: all server ports busy") != 3 {
			t.Errorf("logged\n%s", log)
		}
	})
}

// TestNoServer: a client that cannot be handed over is not left without a word.
func TestNoServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, "")
		g.refuse = errors.New("No such file or directory")
		out := g.visit(stranger, "EHLO a\r\n")
		if out != "220-mx.test ESMTP Postfix\r\n220 mx.test ESMTP Postfix\r\n421 4.3.2 No system resources\r\n" {
			t.Errorf("a new client heard %q", out)
		}
		g.expect(t, "new", "CONNECT", "PASS NEW C", "warning: cannot connect to service private/smtpd: No such file or directory", "PASS OLD C", "DISCONNECT C")
		if out := g.visit("192.0.2.7"); out != "421 4.3.2 All server ports are busy\r\n" {
			t.Errorf("a friend heard %q", out)
		}
	})
}

// TestUpstream: behind a load balancer the client is whom the balancer names.
func TestUpstream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, "postscreen_upstream_proxy_protocol = haproxy\npostscreen_greet_action = enforce\n")
		out := g.visit("203.0.113.1", "+PROXY TCP4 "+stranger+" 192.0.2.1 4711 25\r\n", "~10s")
		if out != "220-mx.test ESMTP Postfix\r\n220 smtpd\r\n" {
			t.Errorf("heard %q", out)
		}
		g.expect(t, "good", "CONNECT", "PASS NEW C")
		// The greeting test sees what comes behind the header at once.
		g.visit("203.0.113.1", "+PROXY TCP4 "+stranger+" 192.0.2.1 4711 25\r\nHELO x\r\n", "~10s")
		g.expect(t, "eager", "CONNECT", `PREGREET 8 after 0 from C: HELO x\r\n`, "HANGUP after 10 from C in tests after SMTP handshake", "DISCONNECT C")
		for in, log := range map[string]string{
			"+QUIT\r\n": `warning: haproxy read: short protocol header: QUIT\r\n`,
			"~10s":      "warning: haproxy read: time limit exceeded",
		} {
			if out := g.visit("203.0.113.1", in, "~10s"); out != "421 4.3.2 No system resources\r\n" {
				t.Errorf("%q: heard %q", in, out)
			}
			g.expect(t, in, log)
		}
	})
}
