package postscreen

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// everything turns all tests on.
const everything = "postscreen_pipelining_enable = yes\npostscreen_non_smtp_command_enable = yes\npostscreen_bare_newline_enable = yes\n" +
	"postscreen_dnsbl_sites = bl.test\n"

// FuzzClient lets a client say anything, too early, in time, or in pieces: it is
// gone after a bounded time, no recipient is ever accepted, and nothing that it
// said before it was handed over is lost.
func FuzzClient(f *testing.F) {
	for _, s := range []string{
		"", "EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n", "HELO a\nMAIL FROM:<>\nRCPT TO:<\"x\\\">\n",
		"GET / HTTP/1.0\r\n\r\n", "BDAT 100 LAST\r\n", "STARTTLS\r\n\x16\x03\x01", "\x00\xff\r\n", "MAIL FROM:<@a,@b:c@d>\r\n", strings.Repeat("x", 5000),
		"EHLO\r\nVRFY x\r\nETRN\r\nRSET\r\nNOOP\r\nAUTH PLAIN\r\nXCLIENT\r\n",
	} {
		f.Add(s, uint8(0), uint8(0))
		f.Add(s, uint8(3), uint8(1))
		f.Add(s, uint8(7), uint8(2))
	}
	f.Fuzz(func(t *testing.T, said string, wait, how uint8) {
		synctest.Test(t, func(t *testing.T) {
			config := everything
			for _, param := range []string{"greet", "pipelining", "non_smtp_command", "bare_newline"} {
				config += "postscreen_" + param + "_action = " + []string{"ignore", "enforce", "drop"}[how%3] + "\n"
			}
			g := newGate(t, config)
			pieces := []string{"~" + strconv.Itoa(int(wait%10)) + "s", "+" + said}
			if how&4 != 0 && len(said) > 1 {
				pieces = []string{"~" + strconv.Itoa(int(wait%10)) + "s", "+" + said[:len(said)/2], "~1s", "+" + said[len(said)/2:]}
			}
			var out string
			d := took(func() { out = g.visit(stranger, append(pieces, "~1h")...) })
			if d > 3*time.Hour {
				t.Fatalf("%q keeps the connection for %v", said, d)
			}
			if strings.Contains(out, "250 2.1.5") || strings.Contains(out, "354") {
				t.Fatalf("%q: mail was accepted:\n%s", said, out)
			}
			if g.Clients() != 0 || g.checking != 0 || len(g.clients) != 0 {
				t.Fatalf("%q: left over %d %d %d", said, g.Clients(), g.checking, len(g.clients))
			}
			if len(g.passed) == 1 && !strings.HasPrefix(said, string(g.passed[0].Read)) {
				t.Fatalf("%q: %q was handed over", said, g.passed[0].Read)
			}
		})
	})
}

// serveLoopback runs a gate on the loopback.
func serveLoopback(t *testing.T, g *gate) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	// goroutine: the server; ends with Shutdown.
	go func() {
		defer close(ended)
		_ = g.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		_ = g.Shutdown(ctx)
		<-ended
	})
	return l.Addr().String()
}

// dialFrom connects from an address of the loopback.
func dialFrom(i int, to string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+i>>16), byte(i>>8), byte(i))}, Timeout: 10 * time.Second}
	return d.Dial("tcp4", to)
}

// TestMemory measures what a client that waits costs.
func TestMemory(t *testing.T) {
	const n = 3000
	g := newGate(t, "postscreen_pre_queue_limit = 100000\npostscreen_greet_wait = 1h\nstress =\n"+everything)
	g.rules.stress = nil
	to := serveLoopback(t, g)
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		c, err := dialFrom(i, to)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil { // "220-"
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / n
	t.Logf("%d bytes for each of %d clients, both ends", each, g.Clients())
	if each > 24<<10 {
		t.Errorf("a client that waits costs %d bytes", each)
	}
}

// TestFlood sends ten thousand clients at once: those beyond the limits are turned
// away, memory does not grow with them, and who is well-behaved comes through.
func TestFlood(t *testing.T) {
	const n, workers = 10_000, 100
	g := newGate(t, "postscreen_pre_queue_limit = 100\npostscreen_greet_wait = 1s\npostscreen_client_connection_count_limit = 3\n"+
		"postscreen_access_list = inline:{127.1.255.255=permit}\n"+everything)
	to := serveLoopback(t, g)
	var busy, served, most atomic.Int64
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		// goroutine: some of the clients; ends when all have been.
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > n {
					return
				}
				c, err := dialFrom(i%5000, to)
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					_, _ = io.WriteString(c, "EHLO me.first\r\n")
				}
				buf := make([]byte, 200)
				_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
				k, _ := c.Read(buf)
				switch {
				case strings.HasPrefix(string(buf[:k]), "421 4.3.2 All screening ports are busy"):
					busy.Add(1)
				case strings.HasPrefix(string(buf[:k]), "220-"):
					served.Add(1)
				default:
					t.Errorf("client %d heard %q", i, buf[:k])
				}
				most.Store(max(most.Load(), int64(g.Clients())))
				_ = c.Close()
			}
		})
	}
	friend := make(chan error, 1)
	// goroutine: the well-behaved client; ends with its answer.
	go func() {
		c, err := dialFrom(0xffff, to)
		if err == nil {
			buf := make([]byte, 100)
			var k int
			if k, err = c.Read(buf); err == nil && string(buf[:k]) != "220 smtpd\r\n" {
				err = fmt.Errorf("heard %q", buf[:k])
			}
			_ = c.Close()
		}
		friend <- err
	}()
	wg.Wait()
	if err := <-friend; err != nil {
		t.Errorf("a friend: %v", err)
	}
	t.Logf("%d busy, %d served, at most %d at a time", busy.Load(), served.Load(), most.Load())
	if busy.Load()+served.Load() != n || most.Load() > 2*workers {
		t.Errorf("%d busy and %d served of %d, at most %d at a time", busy.Load(), served.Load(), n, most.Load())
	}
	for g.Clients() > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	g.locked(func() {
		if g.checking != 0 || len(g.clients) != 0 || len(g.lists.scorer.scores) != 0 {
			t.Errorf("left over: %d clients, %d addresses, %d scores", g.checking, len(g.clients), len(g.lists.scorer.scores))
		}
	})
}

// locked looks at a gate with its locks held.
func (g *gate) locked(look func()) {
	g.Server.mu.Lock()
	defer g.Server.mu.Unlock()
	g.lists.scorer.mu.Lock()
	defer g.lists.scorer.mu.Unlock()
	look()
}

// TestDrain hands a listener to the next server while clients are in tests.
func TestDrain(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	old, next := newGate(t, "postscreen_greet_wait = 1s\n"), newGate(t, "postscreen_greet_wait = 1s\n")
	ended := make(chan error, 2)
	// goroutine: the old server; ends with Drain.
	go func() { ended <- old.Serve(t.Context(), l) }()
	c, err := dialFrom(1, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if k, err := c.Read(buf); err != nil || !strings.HasPrefix(string(buf[:k]), "220-") {
		t.Fatalf("heard %q, %v", buf[:k], err)
	}
	// goroutine: the next server; ends with Shutdown.
	go func() { ended <- next.Serve(t.Context(), l) }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := old.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if k, err := c.Read(buf); err != nil || string(buf[:k]) != "220 smtpd\r\n" {
		t.Errorf("the client of the old server heard %q, %v", buf[:k], err)
	}
	if d, err := dialFrom(2, l.Addr().String()); err != nil {
		t.Error(err)
	} else if k, err := d.Read(buf); err != nil || !strings.HasPrefix(string(buf[:k]), "220-") || next.Clients() != 1 {
		t.Errorf("the client of the next server heard %q, %v", buf[:k], err)
	}
	if err := next.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	<-ended
	<-ended
}

// TestManyLookups bounds the questions that are under way.
func TestManyLookups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		s := &scorer{timeout: time.Minute, limit: 5, resolver: slow{&now, &most}, log: nil}
		for i := range 3 {
			s.sites = append(s.sites, &site{domain: strconv.Itoa(i) + ".test", rules: []siteRule{{weight: 1}}})
		}
		var all []*score
		for i := range 20 {
			all = append(all, s.request(t.Context(), netip.AddrFrom4([4]byte{127, 0, 0, byte(i)})))
		}
		for _, sc := range all {
			<-sc.done
			if total, _, _ := s.result(sc); total != 3 {
				t.Errorf("%v: %d", sc.addr, total)
			}
			s.release(sc)
		}
		synctest.Wait()
		if most.Load() != 5 || len(s.scores) != 0 || s.working != 0 {
			t.Errorf("at most %d, left over %d, %d", most.Load(), len(s.scores), s.working)
		}
	})
}
