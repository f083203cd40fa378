package policy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// server answers every request through a function and counts connections.
type server struct {
	path  string
	conns atomic.Int32
}

// serve starts a server. answer gets the number of the connection and of the
// request on it; the connection is closed after one that is not whole.
func serve(t testing.TB, answer func(conn, request int) string) *server {
	t.Helper()
	s := &server{path: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); done.Wait() })
	// goroutine: accepts until the listener is closed.
	done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n := int(s.conns.Add(1))
			// goroutine: one connection; ends when the client closes it.
			done.Go(func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				for request := 1; ; request++ {
					for {
						line, err := in.ReadString('\n')
						if err != nil {
							return
						}
						if line == "\n" {
							break
						}
					}
					text := answer(n, request)
					if _, err := conn.Write([]byte(text)); err != nil || !strings.Contains(text, "\n\n") {
						return
					}
				}
			})
		}
	})
	return s
}

// client makes a Client with a Config that a test has changed.
func client(t testing.TB, s *server, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Network: "unix", Address: s.path, Timeout: 10 * time.Second, MaxIdle: time.Minute, MaxTTL: time.Hour,
		TryLimit: 2, RetryDelay: time.Millisecond, DefaultAction: "DUNNO",
	}
	if change != nil {
		change(&cfg)
	}
	c := New(cfg, Options{MaxConns: 3, UTF8: true})
	t.Cleanup(c.Close)
	return c
}

// warnings collects what a Client complains about.
type warnings struct {
	mu    sync.Mutex
	lines []string
}

func (w *warnings) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func ask(t testing.TB, c *Client) (string, []string, error) {
	t.Helper()
	var w warnings
	action, err := c.Ask(t.Context(), []byte("request=x\n\n"), w.add)
	return action, w.lines, err
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*Config)
		conns  int32
	}{
		{"kept", nil, 1},
		{"request limit", func(c *Config) { c.RequestLimit = 2 }, 3},
		{"time to live", func(c *Config) { c.MaxTTL = 0 }, 5},
		{"idle", func(c *Config) { c.MaxIdle = 0 }, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(int, int) string { return "action=OK\n\n" })
			c := client(t, s, test.change)
			for range 5 {
				if action, lines, err := ask(t, c); action != "OK" || err != nil || len(lines) != 0 {
					t.Fatalf("%q, %v, %v", action, err, lines)
				}
			}
			if n := s.conns.Load(); n != test.conns {
				t.Errorf("%d connections, want %d", n, test.conns)
			}
		})
	}
}

// TestClosedConnection makes sure that a connection that the server has closed
// meanwhile, or on which it talks unasked, costs no attempt.
func TestClosedConnection(t *testing.T) {
	t.Parallel()
	s := serve(t, func(conn, request int) string {
		if conn == 1 && request == 1 {
			return "action=OK\n\nnobody=asked\n"
		}
		return "action=REJECT\n\n"
	})
	c := client(t, s, func(c *Config) { c.TryLimit = 1 })
	if action, _, err := ask(t, c); action != "OK" || err != nil {
		t.Fatal(action, err)
	}
	if !testkit.Poll(t.Context(), time.Millisecond, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.idle) == 1 && !c.idle[0].quiet()
	}) {
		t.Fatal("what the server said has not arrived")
	}
	if action, lines, err := ask(t, c); action != "REJECT" || err != nil || len(lines) != 0 {
		t.Errorf("%q, %v, %v", action, err, lines)
	}
	if n := s.conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestTries(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, first string
		limit       int
		action      string
		lines       []string
	}{
		{"closed", "", 2, "OK", nil},
		{"closed, one try", "", 1, "", []string{"problem talking to server X: Application error"}},
		{"no action", "x=y\n\n", 2, "OK", []string{"missing attribute action in input from X"}},
		{"no value", "action\n\n", 1, "", []string{"missing value for string attribute action from X", "problem talking to server X: Application error"}},
		{"cut", "action=OK\n", 2, "OK", []string{"premature end-of-input on X while reading input attribute name"}},
		{"too long", "action=" + strings.Repeat("x", maxLine) + "\n\n", 2, "OK", []string{"reply is too long from X"}},
		{"too much", strings.Repeat("a=b\n", maxReply) + "\n", 2, "OK", []string{"reply is too long from X"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(conn, _ int) string {
				if conn == 1 {
					return test.first
				}
				return "other=x\naction=OK\n\n"
			})
			c := client(t, s, func(c *Config) { c.TryLimit = test.limit })
			action, lines, err := ask(t, c)
			got := strings.ReplaceAll(strings.Join(lines, "\n"), s.path, "X")
			if action != test.action || (err == nil) != (test.action != "") || got != strings.Join(test.lines, "\n") {
				t.Errorf("%q, %v\n%s", action, err, got)
			}
		})
	}
}

// TestQueueDirectory finds a relative socket where Postfix does.
func TestQueueDirectory(t *testing.T) {
	t.Parallel()
	s := serve(t, func(int, int) string { return "action=OK\n\n" })
	dir, name := filepath.Split(s.path)
	c := New(Config{Network: "unix", Address: name, Timeout: 10 * time.Second, TryLimit: 1, MaxIdle: time.Minute}, Options{QueueDir: dir})
	t.Cleanup(c.Close)
	if action, lines, err := ask(t, c); action != "OK" || err != nil {
		t.Errorf("%q, %v, %v", action, lines, err)
	}
}

// TestPath: only relative sockets begin in the queue directory.
func TestPath(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ network, address, want string }{
		{"unix", "private/policy", "/spool/private/policy"}, {"unix", "/run/policy", "/run/policy"}, {"tcp", "localhost:1", "localhost:1"},
	} {
		if c := New(Config{Network: test.network, Address: test.address}, Options{QueueDir: "/spool"}); c.path != test.want {
			t.Errorf("%s: %s, want %s", test.address, c.path, test.want)
		}
	}
}

// TestPasses: what happens when a server restarts is no news the first time.
func TestPasses(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		syscall.EPIPE: true, syscall.ENOENT: true, syscall.ECONNRESET: true, io.EOF: true, errNoAction: true,
		syscall.ECONNREFUSED: false, syscall.EACCES: false, os.ErrDeadlineExceeded: false,
	} {
		if got := passes(&net.OpError{Op: "read", Err: err}); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}

// TestActionUTF8: with smtputf8_enable an action is UTF-8 or none.
func TestActionUTF8(t *testing.T) {
	t.Parallel()
	s := serve(t, func(int, int) string { return "action=REJECT \xff\n\n" })
	c := client(t, s, func(c *Config) { c.Spec = "unix:x" })
	_, lines, err := ask(t, c)
	if want := "malformed UTF-8 in policy server unix:x response: \"REJECT \xff\""; !errors.Is(err, ErrNoAnswer) || strings.Join(lines, "\n") != want {
		t.Errorf("%v, %q", err, lines)
	}
	c.utf8 = false
	if action, lines, err := ask(t, c); action != "REJECT \xff" || err != nil || len(lines) != 0 {
		t.Errorf("%q, %v, %v", action, lines, err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	c := client(t, &server{path: "/nowhere/socket"}, nil)
	_, lines, err := ask(t, c)
	want := "connect to /nowhere/socket: No such file or directory\nconnect to /nowhere/socket: No such file or directory\n" +
		"problem talking to server /nowhere/socket: No such file or directory"
	if got := strings.Join(lines, "\n"); !errors.Is(err, ErrNoAnswer) || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := serve(t, func(int, int) string { <-release; return "" })
	c := client(t, s, func(c *Config) { c.Timeout = 20 * time.Millisecond })
	_, lines, err := ask(t, c)
	close(release)
	const once = "timeout on X while reading input attribute name\nproblem talking to server X: Connection timed out"
	want := once + "\n" + once
	if got := strings.ReplaceAll(strings.Join(lines, "\n"), s.path, "X"); err == nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestClientGone makes sure that nobody waits for a server on behalf of a
// client that has left.
func TestClientGone(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	asked := make(chan struct{}, 1)
	s := serve(t, func(int, int) string { asked <- struct{}{}; <-release; return "" })
	c := client(t, s, func(c *Config) { c.TryLimit = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	// goroutine: takes the client away; ends at once after that.
	go func() { <-asked; cancel() }()
	var w warnings
	_, err := c.Ask(ctx, []byte("\n"), w.add)
	close(release)
	if !errors.Is(err, context.Canceled) || len(w.lines) != 0 {
		t.Errorf("%v %v", err, w.lines)
	}
}

// TestManyAtOnce keeps the number of connections within its bound.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, func(int, int) string { return "action=DUNNO\n\n" })
	c := client(t, s, nil)
	var wg sync.WaitGroup
	for range 20 {
		// goroutine: asks some times and ends.
		wg.Go(func() {
			for range 20 {
				if action, lines, err := ask(t, c); action != "DUNNO" || err != nil || len(lines) != 0 {
					t.Errorf("%q %v %v", action, err, lines)
				}
			}
		})
	}
	wg.Wait()
	if n := s.conns.Load(); n > 3 {
		t.Errorf("%d connections", n)
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	s := serve(t, func(int, int) string { return "action=OK\n\n" })
	c := client(t, s, func(c *Config) { c.MaxIdle = time.Millisecond })
	if _, _, err := ask(t, c); err != nil {
		t.Fatal(err)
	}
	if !testkit.Poll(t.Context(), time.Millisecond, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.idle) == 0 && c.reap == nil }) {
		t.Error("an idle connection is kept")
	}
}

func BenchmarkAsk(b *testing.B) {
	s := serve(b, func(int, int) string { return "action=DUNNO\n\n" })
	c := client(b, s, nil)
	request := []byte("request=smtpd_access_policy\nsender=a@b\n\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Ask(b.Context(), request, b.Logf); err != nil {
			b.Fatal(err)
		}
	}
}
