package smtpd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// exchange sends a text at once, waits until the session has had its say, and
// returns that, and the log.
func exchange(t *testing.T, srv *Server, text string) (said, log string) {
	t.Helper()
	j := &journal{}
	srv.Log = j
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	// goroutine: the session; ends when the client is gone.
	go func() {
		defer close(done)
		srv.ServeConn(context.Background(), theirs)
	}()
	var out strings.Builder
	// goroutine: what the server says; ends with the connection.
	go func() { _, _ = io.Copy(&out, ours) }()
	_, _ = io.WriteString(ours, text)
	time.Sleep(time.Minute)
	_ = ours.Close()
	<-done
	synctest.Wait()
	return out.String(), j.take()
}

// TestUpstreamProxy: who the proxy says the client is, and what becomes of those
// that nobody vouches for. All of it was seen of Postfix 3.11.6.
func TestUpstreamProxy(t *testing.T) {
	t.Parallel()
	const header = "PROXY TCP4 203.0.113.5 192.0.2.1 4711 25\r\n"
	lost := "421 4.3.0 mx.test Server local error\r\n"
	stranger := "connect from unknown[unknown]\ndisconnect from unknown[unknown] commands=0/0"
	tests := []struct{ name, in, said, log string }{
		{"good", header, "220 mx.test ESMTP Postfix\r\n",
			"connect from unknown[203.0.113.5]\nNOQUEUE: lost connection after CONNECT from unknown[203.0.113.5]\ndisconnect from unknown[203.0.113.5] commands=0/0"},
		{"too eager", header + "EHLO x\r\n", "554 5.5.0 Error: SMTP protocol synchronization\r\n",
			`connect from unknown[203.0.113.5]` + "\n" + `improper command pipelining after CONNECT from unknown[203.0.113.5]: EHLO x\r\n` +
				"\ndisconnect from unknown[203.0.113.5] commands=0/0"},
		{"unknown", "PROXY UNKNOWN\r\n", lost, `warning: haproxy read: bad or missing protocol type: PROXY UNKNOWN\r\n` + "\n" + stranger},
		{"cut short", "PROXY TCP4 203.0.113.5", lost, "warning: haproxy read: missing protocol header terminator: PROXY TCP4 203.0.113.5\n" + stranger},
		{"silent", "", lost, "warning: haproxy read: timeout error\n" + stranger},
		{"no proxy", "EHLO client.test.example\r\n", lost, `warning: haproxy read: unrecognized protocol header: EHLO client.test.example\r\n` + "\n" + stranger},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, _ := newServer(t, "smtpd_upstream_proxy_protocol = haproxy\n")
				said, log := exchange(t, srv, tt.in)
				if said != tt.said || log != tt.log {
					t.Errorf("said %q\nlogged\n%s\nwant %q\n%s", said, log, tt.said, tt.log)
				}
			})
		})
	}
}

// TestTake serves a connection that somebody else accepted, with what was read
// of it already, as soon as a session is free.
func TestTake(t *testing.T) {
	t.Parallel()
	srv, _ := newServer(t, "")
	j := &journal{}
	srv.Log, srv.MaxSessions = j, 1
	hand := func() (*bufio.Reader, net.Conn, *Handover) {
		ours, theirs := net.Pipe()
		return bufio.NewReader(ours), ours, &Handover{
			Conn: theirs, Read: []byte("EHLO early.test\r\n"),
			Client: netip.MustParseAddrPort("203.0.113.5:4711"), Server: netip.MustParseAddrPort("192.0.2.1:25"),
		}
	}
	in, ours, h := hand()
	if err := srv.Take(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if line, _ := in.ReadString('\n'); !strings.HasPrefix(line, "220 ") {
		t.Fatalf("the client hears %q", line)
	}
	if line, _ := in.ReadString('\n'); line != "250-mx.test\r\n" {
		t.Fatalf("what was read before is answered by %q", line)
	}
	_, other, h := hand()
	h.Wait = 20 * time.Millisecond
	if err := srv.Take(t.Context(), h); !errors.Is(err, ErrServerClosed) {
		t.Errorf("no session is free, and Take returns %v", err)
	}
	_ = other.Close()
	_ = ours.Close()
	for srv.Sessions() > 0 {
		time.Sleep(time.Millisecond)
	}
	if got := j.take(); !strings.HasPrefix(got, "connect from unknown[203.0.113.5]") {
		t.Errorf("logged %q", got)
	}
}
