package table

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipeEnd is a client's end of a pipe with the errors of a socket.
type pipeEnd struct {
	net.Conn
	open *atomic.Int32
}

// Write implements net.Conn.
func (p *pipeEnd) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	return n, socketError(err)
}

// SetDeadline implements net.Conn.
func (p *pipeEnd) SetDeadline(t time.Time) error { return socketError(p.Conn.SetDeadline(t)) }

// socketError makes the error of a closed pipe that of a closed socket.
func socketError(err error) error {
	if err == io.ErrClosedPipe {
		return syscall.EPIPE
	}
	return err
}

// Close implements net.Conn.
func (p *pipeEnd) Close() error {
	p.open.Add(-1)
	return p.Conn.Close()
}

// pipeServer gives a table connections whose other ends serve handles, one call
// per connection; nil refuses to connect. It checks that there are never too
// many of them.
func pipeServer(t *testing.T, s *remote, serve func(n int, c net.Conn)) *atomic.Int32 {
	var dials, open atomic.Int32
	s.dial = func(context.Context, string, string) (net.Conn, error) {
		n := int(dials.Add(1))
		if serve == nil {
			return nil, errors.New("connection refused")
		}
		if open.Add(1) > maxRemote {
			t.Errorf("%d connections at a time", open.Load())
		}
		ours, theirs := net.Pipe()
		// goroutine: ends when the table closes the connection.
		go func() {
			defer theirs.Close()
			serve(n, theirs)
		}()
		return &pipeEnd{ours, &open}, nil
	}
	return &dials
}

// inner returns the table behind its wrappers.
func inner[T Table](t *testing.T, tab Table) T {
	t.Helper()
	for {
		switch wrapped := tab.(type) {
		case T:
			return wrapped
		case unicodeOnly:
			tab = wrapped.Table
		case *folding:
			tab = wrapped.inner
		default:
			t.Fatalf("%T is not what the test wants", tab)
		}
	}
}

// tcpWith opens a tcp: table with a server for its connections.
func tcpWith(t *testing.T, serve func(n int, c net.Conn)) (Table, *atomic.Int32) {
	t.Helper()
	tab, err := Open("tcp:server.test:1", Options{UTF8: true})
	if err != nil {
		t.Fatal(err)
	}
	return tab, pipeServer(t, inner[*tcpTable](t, tab).server, serve)
}

// answers serves lines: reply gets the line and returns the bytes to send.
func answers(reply func(line string) string) func(int, net.Conn) {
	return func(_ int, c net.Conn) {
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := io.WriteString(c, reply(strings.TrimSuffix(line, "\n"))); err != nil {
				return
			}
		}
	}
}

// found, missing and failed are how a lookup can end in the tables of tests.
const (
	missing = "-"
	failed  = "!"
)

// outcome is the answer of a lookup as text.
func outcome(tab Table, key string) string {
	value, ok, err := tab.Lookup(context.Background(), key)
	switch {
	case err != nil:
		return failed + err.Error()
	case !ok:
		return missing
	}
	return value
}

// want compares an outcome: "!text" wants an error with that text in it.
func want(t *testing.T, what, got, wanted string) {
	t.Helper()
	if text, isError := strings.CutPrefix(wanted, failed); isError {
		if !strings.HasPrefix(got, failed) || !strings.Contains(got, text) {
			t.Errorf("%s gives %q, want an error with %q", what, got, text)
		}
	} else if got != wanted {
		t.Errorf("%s gives %q, want %q", what, got, wanted)
	}
}

// tcpReplies are replies and what they mean.
var tcpReplies = []struct{ reply, want string }{
	{"200 value\n", "value"},
	{"200 a%20b%25%0ac\n", "a b%\nc"},
	{"200 a b\n", "a b"},
	{"200 \n", ""},
	{"299\tvalue\n", "value"},
	{"200 value\r\n", "value\r"},
	{"200 %C3%bc\n", "ü"},
	{"200 " + strings.Repeat("x", 4091) + "\n", strings.Repeat("x", 4091)},
	{"200 " + strings.Repeat("x", 4092) + "\n", "!text longer than 4096"},
	{"500 not here\n", missing},
	{"511 x\n", missing},
	{"400 try later\n", "!try later"},
	{"450 try later\n", "!try later"},
	{"400 bad\x01\x1b[2J\n", "!bad??[2J"},
	{"500\n", "!malformed"},
	{"200\n", "!malformed"},
	{"200value\n", "!malformed"},
	{"\n", "!malformed"},
	{"20x value\n", "!malformed"},
	{"200 %\n", "!malformed"},
	{"200 %2\n", "!malformed"},
	{"200 %zz\n", "!malformed"},
	{"200 %00x\n", "!null byte"},
	{"200 %FF\n", "!UTF-8"},
	{"300 x\n", "!bad status"},
	{"000 x\n", "!bad status"},
	{"200 one\n200 two\n", "!more than one"},
	{"HTTP/1.1 400 Bad Request\r\n", "!malformed"},
	{strings.Repeat("garbage", 1000) + "\n", "!text longer"},
}

func TestTCPReplies(t *testing.T) {
	for _, test := range tcpReplies {
		tab, _ := tcpWith(t, answers(func(line string) string { return test.reply }))
		want(t, fmt.Sprintf("%.50q", test.reply), outcome(tab, "key"), test.want)
		tab.Close()
	}
}

func TestTCPRequest(t *testing.T) {
	var lines []string
	tab, dials := tcpWith(t, answers(func(line string) string {
		lines = append(lines, line)
		return "500 no\n"
	}))
	defer tab.Close()
	for _, key := range []string{"plain@example.com", "a b%c\td", "ü\x00\n", "UPPER", "\xff"} {
		want(t, key, outcome(tab, key), missing)
	}
	wanted := "get plain@example.com|get a%20b%25c%09d|get %C3%BC%00%0A|get UPPER"
	if got := strings.Join(lines, "|"); got != wanted {
		t.Errorf("requests are %q, want %q", got, wanted)
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections for one client", dials.Load())
	}
}

// TestTCPSplit sends a reply byte by byte.
func TestTCPSplit(t *testing.T) {
	tab, _ := tcpWith(t, func(_ int, c net.Conn) {
		for r := bufio.NewReader(c); ; {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
			for _, b := range []byte("200 slow%20value\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
		}
	})
	defer tab.Close()
	for range 3 {
		want(t, "split reply", outcome(tab, "key"), "slow value")
	}
}

func TestTCPTime(t *testing.T) {
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tab, dials := tcpWith(t, func(_ int, c net.Conn) { io.Copy(io.Discard, c) })
			defer tab.Close()
			start := time.Now()
			want(t, "a server that hangs", outcome(tab, "key"), "!no reply from server.test:1 in time")
			if d := time.Since(start); d != remoteTimeout || dials.Load() != 1 {
				t.Errorf("%v and %d connections", d, dials.Load())
			}
		})
	})
	t.Run("drips", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tab, _ := tcpWith(t, func(_ int, c net.Conn) {
				bufio.NewReader(c).ReadString('\n')
				for {
					time.Sleep(time.Second)
					if _, err := c.Write([]byte("2")); err != nil {
						return
					}
				}
			})
			defer tab.Close()
			start := time.Now()
			want(t, "a server that drips", outcome(tab, "key"), "!in time")
			if d := time.Since(start); d != remoteTimeout {
				t.Errorf("after %v", d)
			}
			time.Sleep(2 * time.Second) // until the server has noticed
		})
	})
	t.Run("away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tab, dials := tcpWith(t, nil)
			defer tab.Close()
			start := time.Now()
			want(t, "no server", outcome(tab, "key"), "!connection refused")
			if d := time.Since(start); d != (tcpTries-1)*tcpPause || dials.Load() != tcpTries {
				t.Errorf("%v and %d attempts", d, dials.Load())
			}
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tab, _ := tcpWith(t, func(_ int, c net.Conn) { io.Copy(io.Discard, c) })
			defer tab.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			if _, ok, err := tab.Lookup(ctx, "key"); ok || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a lookup without time gives %v, %v", ok, err)
			}
		})
	})
}

// TestTCPRecovery: a server that went away is asked again, at once where only a
// kept connection was lost.
func TestTCPRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab, dials := tcpWith(t, func(n int, c net.Conn) {
			r := bufio.NewReader(c)
			for range n { // the first connection answers once, the second twice
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				fmt.Fprintf(c, "200 from%d\n", n)
			}
		})
		defer tab.Close()
		start := time.Now()
		for i, wanted := range []string{"from1", "from2", "from2", "from3"} {
			want(t, fmt.Sprint("lookup ", i), outcome(tab, "key"), wanted)
		}
		if time.Since(start) != 0 {
			t.Errorf("took %v", time.Since(start))
		}
		// Connections without work are closed, and a new one is opened.
		time.Sleep(2 * remoteIdle)
		synctest.Wait()
		if n := len(inner[*tcpTable](t, tab).server.idle); n != 0 {
			t.Errorf("%d connections are still open", n)
		}
		want(t, "after a pause", outcome(tab, "key"), "from4")
		if dials.Load() != 4 {
			t.Errorf("%d connections", dials.Load())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		tab, _ := tcpWith(t, func(n int, c net.Conn) {
			if n < 4 {
				return // accepts and hangs up
			}
			answers(func(string) string { return "500 no\n" })(n, c)
		})
		defer tab.Close()
		start := time.Now()
		want(t, "a server that hangs up three times", outcome(tab, "key"), missing)
		if d := time.Since(start); d != 3*tcpPause {
			t.Errorf("took %v", d)
		}
	})
}

// TestRemoteBound: more lookups than connections wait for their turn, and give
// up when their time is over.
func TestRemoteBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab, _ := tcpWith(t, answers(func(string) string {
			time.Sleep(40 * time.Second)
			return "200 late\n"
		}))
		defer tab.Close()
		results := make(chan string)
		for range 4 * maxRemote {
			// goroutine: ends when the lookup has its answer.
			go func() { results <- outcome(tab, "key") }()
		}
		good := 0
		for range 4 * maxRemote {
			if r := <-results; r == "late" {
				good++
			} else if !strings.HasPrefix(r, failed) {
				t.Errorf("a lookup gives %q", r)
			}
		}
		time.Sleep(time.Minute) // until the servers have noticed
		if good != 2*maxRemote {
			t.Errorf("%d of %d lookups answered", good, 4*maxRemote)
		}
	})
}

// TestRemoteStray: what comes in on a connection without work is no answer.
func TestRemoteStray(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stray := make(chan net.Conn, 1)
	// goroutine: ends when the listener is closed.
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, "500 no\n")
			select {
			case stray <- c:
			default:
			}
		}
	}()
	tab, err := Open("tcp:"+l.Addr().String(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	want(t, "the first key", outcome(tab, "a"), missing)
	c := <-stray
	io.WriteString(c, "200 stray\n")
	s := inner[*tcpTable](t, tab).server
	for quiet(s.idle[0].Conn) {
		runtime.Gosched()
	}
	want(t, "the second key", outcome(tab, "b"), missing)
}

func TestHostPort(t *testing.T) {
	tests := []struct{ text, want string }{
		{"host:25", "host:25"},
		{":25", "localhost:25"},
		{"25", "localhost:25"},
		{"[::1]:25", "[::1]:25"},
		{"[ipv6:::1]:25", "[::1]:25"},
		{"[192.0.2.1]:smtp", "192.0.2.1:smtp"},
		{"::1:25", "[::1]:25"},
		{"host:", "!missing service"},
		{"[::1]", "!missing service"},
		{"[]:25", "!missing host"},
		{"[::1", "!missing \"]\""},
		{"[::1]25", "!garbage"},
		{"", "!missing service"},
	}
	for _, test := range tests {
		got, err := hostPort(test.text)
		if err != nil {
			got = failed + err.Error()
		}
		want(t, test.text, got, test.want)
	}
}

func FuzzTCPReply(f *testing.F) {
	for _, test := range tcpReplies {
		f.Add(strings.TrimSuffix(test.reply, "\n"))
	}
	f.Fuzz(func(t *testing.T, line string) {
		value, ok, err := parseTCPReply(line)
		if ok && (err != nil || line[0] != '2') || value != "" && !ok {
			t.Errorf("%q gives %q, %v, %v", line, value, ok, err)
		}
		if !ok && err == nil && line[0] != '5' {
			t.Errorf("%q means not found", line)
		}
	})
}

func FuzzHexQuote(f *testing.F) {
	f.Add("a b%ü\x00")
	f.Fuzz(func(t *testing.T, s string) {
		quoted := string(appendHexQuoted(nil, s))
		if strings.ContainsAny(quoted, " \n\x00") {
			t.Errorf("%q becomes %q", s, quoted)
		}
		if back, ok := hexUnquote(quoted); !ok || back != s {
			t.Errorf("%q comes back as %q", s, back)
		}
		hexUnquote(s)
	})
}
