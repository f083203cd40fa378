package smtpd

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/mail"
)

// TestChunkAfterFailure sends chunks behind one that was refused: what remains of
// a message must not be taken for a message.
func TestChunkAfterFailure(t *testing.T) {
	t.Parallel()
	const hello, from, to = "EHLO client.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<joe@mx.test>\r\n"
	big := "BDAT 30\r\n" + strings.Repeat("x", 28) + "\r\n"
	tests := []struct {
		name, config string
		in           []string
		want         []string // replies from the first BDAT on
		queued       int
	}{
		{"too big", "message_size_limit = 20\n", []string{hello, from, to, big, "BDAT 3 LAST\r\nabc"},
			[]string{"552 5.3.4 Chunk exceeds message size limit", "551 5.0.0 Discarded 3 bytes after earlier error"}, 0},
		{"too big, pipelined", "message_size_limit = 20\n", []string{hello, from, to, big + "BDAT 3 LAST\r\nabc"},
			[]string{"552 5.3.4 Chunk exceeds message size limit", "551 5.0.0 Discarded 3 bytes after earlier error"}, 0},
		{"second too big", "message_size_limit = 20\n", []string{hello, from, to, "BDAT 3\r\nx\r\n", big, "BDAT 3 LAST\r\nabc"},
			[]string{"250 2.0.0 Ok: 3 bytes", "552 5.3.4 Chunk exceeds message size limit", "551 5.0.0 Discarded 3 bytes after earlier error"}, 0},
		{"null", "", []string{hello, from, to, "BDAT 0\r\n", "BDAT 3 LAST\r\nabc"},
			[]string{"551 5.7.1 Null BDAT request", "551 5.0.0 Discarded 3 bytes after earlier error"}, 0},
		{"the last chunk ends it", "", []string{hello, from, to, "BDAT 0\r\n", "BDAT 3 LAST\r\nabc", from, to, "BDAT 3 LAST\r\nabc"},
			[]string{"551 5.7.1 Null BDAT request", "551 5.0.0 Discarded 3 bytes after earlier error",
				"250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.0.0 Ok: 5 bytes queued as ID2"}, 1},
		{"RSET ends it", "", []string{hello, from, to, "BDAT 0\r\n", "RSET\r\n", from, to, "BDAT 3 LAST\r\nabc"},
			[]string{"551 5.7.1 Null BDAT request", "250 2.0.0 Ok", "250 2.1.0 Ok", "250 2.1.5 Ok", "250 2.0.0 Ok: 5 bytes queued as ID2"}, 1},
		{"no transaction", "", []string{hello, "BDAT 3\r\nabc", from, "BDAT 3 LAST\r\nabc", from},
			[]string{"503 5.5.1 Error: need RCPT command", "503 5.5.1 Error: MAIL after BDAT",
				"551 5.0.0 Discarded 3 bytes after earlier error", "250 2.1.0 Ok"}, 0},
		{"refused by a restriction", "smtpd_data_restrictions = reject\n", []string{hello, from, to, "BDAT 3\r\nabc", "BDAT 3 LAST\r\nabc"},
			[]string{"554 5.7.1 <DATA>: Data command rejected: Access denied", "551 5.0.0 Discarded 3 bytes after earlier error"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv, s := newServer(t, tt.config)
			out := converse(t, srv, tt.in...)
			if !strings.HasSuffix(out, "\r\n"+strings.Join(tt.want, "\r\n")+"\r\n") {
				t.Errorf("got\n%s\nwant at the end\n%s", out, strings.Join(tt.want, "\n"))
			}
			if len(s.done) != tt.queued {
				t.Errorf("queued %q, want %d", s.done, tt.queued)
			}
		})
	}
}

// TestConnectionRate counts connections that come one after the other.
func TestConnectionRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, key := NewRates(), rateKey{service: "smtp"}
		for n := 1; n <= 3; n++ {
			if _, rate := r.connect(key, time.Minute); rate != n {
				t.Errorf("connection %d: rate %d", n, rate)
			}
			r.disconnect(key)
		}
		time.Sleep(time.Minute)
		if active, rate := r.connect(key, time.Minute); active != 1 || rate != 1 {
			t.Errorf("a minute later: active %d rate %d", active, rate)
		}
		r.disconnect(key)
		time.Sleep(2 * time.Minute)
		r.connect(rateKey{service: "other"}, time.Minute)
		if len(r.clients) != 1 {
			t.Errorf("%d clients are kept", len(r.clients))
		}
	})
}

// TestDrain hands a listener from one server to the next, in either order.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		serve := func(banner string) (*Server, chan error) {
			srv, _ := newServer(t, "smtpd_banner = "+banner+"\n")
			ended := make(chan error, 1)
			// goroutine: the server; ends when it is drained or shut down.
			go func() { ended <- srv.Serve(t.Context(), l) }()
			return srv, ended
		}
		old, oldEnded := serve("old")
		if got := greeting(t, l); got != "220 old" {
			t.Fatalf("greeting %q", got)
		}
		var next *Server
		if !late {
			next, _ = serve("next")
			// Both accept now; the next one has cleared the deadline.
			for got := ""; got != "220 next"; {
				got = greeting(t, l)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := old.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-oldEnded:
			if !errors.Is(err, ErrServerClosed) {
				t.Errorf("late %v: Serve returned %v", late, err)
			}
		default:
			t.Errorf("late %v: the old server still accepts", late)
		}
		if late {
			next, _ = serve("next")
		}
		for range 3 {
			if got := greeting(t, l); got != "220 next" {
				t.Errorf("late %v: greeting %q", late, got)
			}
		}
		_ = next.Shutdown(ctx)
	}
}

// TestDrainBusy drains a server whose sessions are all taken.
func TestDrainBusy(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	srv, _ := newServer(t, "")
	srv.MaxSessions = 1
	ended := make(chan error, 1)
	// goroutine: the server; ends when it is drained.
	go func() { ended <- srv.Serve(t.Context(), l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	talk(t, c, "", "220 mx.test ESMTP Postfix")
	drained := make(chan error, 1)
	// goroutine: drains; ends with the session.
	go func() { drained <- srv.Drain(t.Context()) }()
	if err := <-ended; !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve returned %v", err)
	}
	talk(t, c, "NOOP", "250 2.0.0 Ok")
	select {
	case err := <-drained:
		t.Errorf("Drain returned %v before the session ended", err)
	default:
	}
	talk(t, c, "QUIT", "221 2.0.0 Bye")
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestDismiss sends off the sessions of a drained server and leaves its listener
// to the next one.
func TestDismiss(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	old, _ := newServer(t, "")
	ended := make(chan error, 1)
	// goroutine: the server; ends when it is drained.
	go func() { ended <- old.Serve(t.Context(), l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	talk(t, c, "", "220 mx.test ESMTP Postfix")
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := old.Drain(short); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain returned %v", err)
	}
	if err := old.Dismiss(t.Context()); err != nil {
		t.Error(err)
	}
	talk(t, c, "", "421 4.3.2 mx.test Service shutting down")
	next, _ := newServer(t, "")
	// goroutine: the next server; ends with Shutdown.
	go func() { _ = next.Serve(t.Context(), l) }()
	<-ended
	if got := greeting(t, l); got != "220 mx.test ESMTP Postfix" {
		t.Errorf("the next server says %q", got)
	}
	if err := next.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// greeting connects and returns the first line.
func greeting(t *testing.T, l net.Listener) string {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Errorf("no greeting: %v", err)
	}
	_, _ = io.WriteString(c, "QUIT\r\n")
	return strings.TrimSpace(line)
}

// certificate writes a key with a certificate and returns the file.
func certificate(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.test"}, DNSNames: []string{"mx.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	file := filepath.Join(t.TempDir(), "chain.pem")
	if err := os.WriteFile(file, chain, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestStartTLSInjection sends commands behind STARTTLS in the clear; they must
// never be served as if they had come through TLS.
func TestStartTLSInjection(t *testing.T) {
	t.Parallel()
	config := "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = " + certificate(t) + "\n"
	for _, forbid := range []string{"yes", "no"} {
		srv, s := newServer(t, config+"smtpd_forbid_unauth_pipelining = "+forbid+"\n")
		out := converse(t, srv, "EHLO c.test\r\n",
			"STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@b.test>\r\nRCPT TO:<joe@mx.test>\r\nBDAT 3 LAST\r\nabc")
		want := "554 5.5.0 Error: SMTP protocol synchronization\r\n"
		if !strings.Contains(out, "250-STARTTLS\r\n") || !strings.HasSuffix(out, want) || len(s.done) != 0 {
			t.Errorf("forbid %s: queued %q, got\n%s", forbid, s.done, out)
		}
	}
}

// TestTLS greets, begins TLS and greets again, with STARTTLS and without.
func TestTLS(t *testing.T) {
	t.Parallel()
	config := "smtpd_tls_security_level = encrypt\nsmtpd_tls_chain_files = " + certificate(t) + "\n"
	for _, wrapper := range []bool{false, true} {
		more := ""
		if wrapper {
			more = "smtpd_tls_wrappermode = yes\n"
		}
		srv, _ := newServer(t, config+more)
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		// goroutine: the session; ends with the connection.
		go func() {
			defer close(done)
			srv.ServeConn(context.Background(), theirs)
		}()
		_ = ours.SetDeadline(time.Now().Add(10 * time.Second))
		secure := tls.Client(ours, &tls.Config{InsecureSkipVerify: true}) // it is the certificate of this test
		if !wrapper {
			talk(t, ours, "", "220 mx.test ESMTP Postfix")
			talk(t, ours, "EHLO c.test", "250 CHUNKING")
			talk(t, ours, "MAIL FROM:<a@b.test>", "530 5.7.0 Must issue a STARTTLS command first")
			talk(t, ours, "STARTTLS", "220 2.0.0 Ready to start TLS")
		} else {
			talk(t, secure, "", "220 mx.test ESMTP Postfix")
		}
		talk(t, secure, "EHLO c.test", "250 REQUIRETLS")
		talk(t, secure, "STARTTLS", "554 5.5.1 Error: TLS already active")
		talk(t, secure, "MAIL FROM:<a@b.test> REQUIRETLS=x", "555 5.5.4 Unsupported option: REQUIRETLS=x")
		talk(t, secure, "MAIL FROM:<a@b.test> requiretls REQUIRETLS", "250 2.1.0 Ok")
		talk(t, secure, "QUIT", "221 2.0.0 Bye")
		_ = ours.Close()
		<-done
	}
}

// talk sends a line and checks the last line of the answer.
func talk(t *testing.T, c net.Conn, line, want string) {
	t.Helper()
	if line != "" {
		if _, err := io.WriteString(c, line+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	in := bufio.NewReader(c)
	for {
		got, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if len(got) > 3 && got[3] == ' ' {
			if strings.TrimSpace(got) != want {
				t.Fatalf("%s: got %q, want %q", line, got, want)
			}
			return
		}
	}
}

// bomb is a cleanup room that panics at the end of a message.
type bomb struct{ spool }

type charge struct{ *letter }

func (b *bomb) Begin(ctx context.Context, o *MessageOptions) (Message, error) {
	m, err := b.spool.Begin(ctx, o)
	return charge{m.(*letter)}, err
}

func (charge) Objected() bool                     { return false }
func (charge) Finish(context.Context) mail.Status { panic("boom") }

func TestPanic(t *testing.T) {
	t.Parallel()
	srv, _ := newServer(t, "")
	srv.Cleanup = &bomb{}
	out := converse(t, srv, "EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "RCPT TO:<joe@mx.test>\r\n", "DATA\r\n", ".\r\n")
	if !strings.HasSuffix(out, "\r\n421 4.3.0 mx.test Server local error\r\n") || srv.Sessions() != 0 {
		t.Errorf("%d sessions, got\n%s", srv.Sessions(), out)
	}
}

// TestTimes runs sessions against the clock.
func TestTimes(t *testing.T) {
	t.Parallel()
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv, _ := newServer(t, "smtpd_timeout = 300s\n")
			ours, theirs := net.Pipe()
			// goroutine: the session; ends with the connection.
			go srv.ServeConn(context.Background(), theirs)
			began := time.Now()
			out, _ := io.ReadAll(ours)
			if want := "220 mx.test ESMTP Postfix\r\n421 4.4.2 mx.test Error: timeout exceeded\r\n"; string(out) != want {
				t.Errorf("got %q", out)
			}
			if d := time.Since(began); d != 300*time.Second {
				t.Errorf("after %v", d)
			}
			synctest.Wait()
		})
	})
	// A slow message lives as long as it is faster than smtpd_min_data_rate, and
	// not much longer when it is not.
	for _, tt := range []struct {
		name string
		rate int
		want string
	}{{"fast enough", 600, "250 2.0.0 Ok: queued as ID1"}, {"too slow", 100, "421 4.4.2 mx.test Error: timeout exceeded"}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, _ := newServer(t, "smtpd_timeout = 10s\nsmtpd_per_request_deadline = yes\nsmtpd_min_data_rate = 500\n")
				ours, theirs := net.Pipe()
				// goroutine: the session; ends with the connection.
				go srv.ServeConn(context.Background(), theirs)
				talk(t, ours, "", "220 mx.test ESMTP Postfix")
				talk(t, ours, "EHLO c.test", "250 CHUNKING")
				talk(t, ours, "MAIL FROM:<a@b.test>", "250 2.1.0 Ok")
				talk(t, ours, "RCPT TO:<joe@mx.test>", "250 2.1.5 Ok")
				talk(t, ours, "DATA", "354 End data with <CR><LF>.<CR><LF>")
				written := make(chan struct{})
				defer func() {
					_ = ours.Close()
					<-written
				}()
				// goroutine: the content; ends with the minute or the connection.
				go func() {
					defer close(written)
					for range 60 {
						time.Sleep(time.Second)
						if _, err := io.WriteString(ours, strings.Repeat("x", tt.rate-2)+"\r\n"); err != nil {
							return
						}
					}
					_, _ = io.WriteString(ours, ".\r\n")
				}()
				talk(t, ours, "", tt.want)
			})
		})
	}
}
