package smtpd

import (
	"bufio"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"postroad/internal/access"
	"postroad/internal/mail"
)

// sinkhole is a cleanup room that keeps nothing.
type sinkhole struct{}

func (sinkhole) Begin(context.Context, *MessageOptions) (Message, error) { return drain{}, nil }

// drain is a message of the sinkhole.
type drain struct{}

func (drain) ID() mail.QueueID                     { return "3F1A2B4C5D" }
func (drain) SetSender(mail.Address, SenderParams) {}
func (drain) AddRecipient(mail.Recipient)          {}
func (drain) Header(string)                        {}
func (drain) Apply(access.Actions)                 {}
func (drain) Write(p []byte) (int, error)          { return len(p), nil }
func (drain) Abort()                               {}
func (drain) Objected() bool                       { return false }
func (drain) Finish(context.Context) mail.Status {
	return mail.Status{Code: 250, Enhanced: "2.0.0", Text: "Ok: queued as 3F1A2B4C5D"}
}

// listen serves srv on the loopback interface until the test ends.
func listen(tb testing.TB, srv *Server) net.Addr {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	// goroutine: the server; ends at the end of the test.
	go func() {
		defer close(ended)
		_ = srv.Serve(context.Background(), l)
	}()
	tb.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = srv.Shutdown(ctx)
		<-ended
	})
	return l.Addr()
}

// BenchmarkMessage sends messages of 4 KiB over one connection, MAIL, RCPT and
// DATA in one write. The time includes the client's.
func BenchmarkMessage(b *testing.B) {
	srv, _ := newServer(b, "mynetworks = 127.0.0.0/8\n")
	srv.Cleanup = sinkhole{}
	c, err := net.Dial("tcp", listen(b, srv).String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	expect := func(last string, n int) {
		for n > 0 {
			line, err := in.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if line[3] != ' ' {
				continue
			}
			if n--; string(line[:3]) != last && n == 0 {
				b.Fatalf("%s", line)
			}
		}
	}
	expect("220", 1)
	_, _ = io.WriteString(c, "EHLO client.test\r\n")
	expect("250", 1)
	envelope := []byte("MAIL FROM:<sender@client.test> SIZE=4096\r\nRCPT TO:<joe@mx.test>\r\nDATA\r\n")
	content := []byte("From: a\r\nTo: b\r\nSubject: c\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 56) + ".\r\n")
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(envelope); err != nil {
			b.Fatal(err)
		}
		expect("354", 3)
		if _, err := c.Write(content); err != nil {
			b.Fatal(err)
		}
		expect("250", 1)
	}
}

// BenchmarkIdleSession reports what a session that waits for a command costs in
// memory: heap and stack, the kernel's socket not counted.
func BenchmarkIdleSession(b *testing.B) {
	const sessions = 2000
	srv, _ := newServer(b, "mynetworks = 127.0.0.0/8\n")
	srv.Cleanup, srv.MaxSessions = sinkhole{}, 0
	addr := listen(b, srv).String()
	for b.Loop() {
		before := footprint()
		conns := make([]net.Conn, sessions)
		buf := make([]byte, 1024)
		for i := range conns {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			conns[i] = c
			for _, line := range []string{"", "EHLO client.test\r\n"} {
				_, _ = io.WriteString(c, line)
				if _, err := c.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(footprint()-before)/sessions, "B/session")
		for _, c := range conns {
			_ = c.Close()
		}
		for srv.Sessions() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// footprint is the memory in use for heap objects and stacks.
func footprint() int64 {
	var m runtime.MemStats
	for range 3 { // a stack shrinks by half at each collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
