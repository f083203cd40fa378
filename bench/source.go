package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sent is what a source reports.
type sent struct {
	Accepted, Failed int
	Seconds          float64
	// P50 and P99 are the times from the connection to the final 250, in
	// milliseconds.
	P50, P99 float64
	// FirstError is the first failure, for the reader.
	FirstError string
}

// source sends messages as fast as it may.
type source struct {
	addr, from, rcpt string
	reuse            bool
	users            int
	left             atomic.Int64
	body             []byte
	mu               sync.Mutex
	times            []time.Duration
	failed           int
	firstErr         string
}

// runSource is the command "source".
func runSource(args []string) error {
	f := flag.NewFlagSet("source", flag.ContinueOnError)
	s := &source{}
	var conns, messages, size int
	f.StringVar(&s.addr, "to", "", "")
	f.StringVar(&s.from, "from", "198.51.100.9", "")
	f.StringVar(&s.rcpt, "rcpt", "someone@remote.test", "with %d for the user")
	f.IntVar(&s.users, "users", 1, "")
	f.IntVar(&conns, "conns", 1, "")
	f.IntVar(&messages, "messages", 1, "")
	f.IntVar(&size, "size", 4096, "")
	f.BoolVar(&s.reuse, "reuse", false, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	s.left.Store(int64(messages))
	s.body = filler(size)
	began := time.Now()
	var wg sync.WaitGroup
	for range conns {
		wg.Add(1)
		// goroutine: ends when no message is left to send.
		go func() {
			defer wg.Done()
			s.work()
		}()
	}
	wg.Wait()
	return json.NewEncoder(os.Stdout).Encode(s.report(time.Since(began)))
}

// filler is a body of about size bytes in lines of 72.
func filler(size int) []byte {
	line := bytes.Repeat([]byte("0123456789abcdef"), 5)[:70]
	var b bytes.Buffer
	b.Grow(size)
	for b.Len() < size-300 {
		b.Write(line)
		b.WriteString("\r\n")
	}
	b.WriteString("end\r\n.\r\n")
	return b.Bytes()
}

// report sums up.
func (s *source) report(d time.Duration) sent {
	sort.Slice(s.times, func(i, j int) bool { return s.times[i] < s.times[j] })
	at := func(q float64) float64 {
		if len(s.times) == 0 {
			return 0
		}
		i := min(len(s.times)-1, int(q*float64(len(s.times))))
		return float64(s.times[i].Microseconds()) / 1000
	}
	return sent{Accepted: len(s.times), Failed: s.failed, Seconds: d.Seconds(), P50: at(0.5), P99: at(0.99), FirstError: s.firstErr}
}

// work sends until nothing is left. A failed message is tried again as a new
// one, so that all that were asked for are accepted in the end.
func (s *source) work() {
	var c *conn
	for {
		n := s.left.Add(-1)
		if n < 0 {
			break
		}
		began := time.Now()
		var err error
		if c == nil {
			c, err = dial(s.from, s.addr)
		}
		if err == nil {
			err = c.send(s, int(n))
		}
		if err == nil && !s.reuse {
			c.quit()
			c = nil
		}
		s.mu.Lock()
		if err == nil {
			s.times = append(s.times, time.Since(began))
		} else {
			s.failed++
			if s.firstErr == "" {
				s.firstErr = err.Error()
			}
		}
		giveUp := s.failed > 2000
		s.mu.Unlock()
		if err != nil {
			if c != nil {
				c.quit()
				c = nil
			}
			if giveUp {
				return
			}
			s.left.Add(1)
		}
	}
	if c != nil {
		c.quit()
	}
}

// conn is a client's connection.
type conn struct {
	net.Conn
	r   *bufio.Reader
	out []byte
}

// dial connects and greets.
func dial(from, addr string) (*conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 60 * time.Second}
	d.SetMultipathTCP(false)
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, r: bufio.NewReaderSize(nc, 2048)}
	if err := c.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return nil, err
	}
	if err := c.reply('2'); err != nil {
		c.quit()
		return nil, err
	}
	if _, err := io.WriteString(c, "EHLO client.test\r\n"); err != nil {
		c.quit()
		return nil, err
	}
	if err := c.reply('2'); err != nil {
		c.quit()
		return nil, err
	}
	return c, nil
}

// send sends one message: the envelope in one write, then the content.
func (c *conn) send(s *source, n int) error {
	rcpt := s.rcpt
	if s.users > 1 {
		rcpt = fmt.Sprintf(s.rcpt, n%s.users)
	}
	c.out = append(c.out[:0], "MAIL FROM:<sender@client.test>\r\nRCPT TO:<"...)
	c.out = append(c.out, rcpt...)
	c.out = append(c.out, ">\r\nDATA\r\n"...)
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	for _, want := range []byte("223") {
		if err := c.reply(want); err != nil {
			return err
		}
	}
	c.out = append(c.out[:0], "From: <sender@client.test>\r\nTo: <someone@remote.test>\r\nSubject: load\r\nX-Sent: "...)
	c.out = strconv.AppendInt(c.out, time.Now().UnixNano(), 10)
	c.out = append(c.out, "\r\nMessage-Id: <"...)
	c.out = strconv.AppendInt(c.out, int64(n), 10)
	c.out = append(c.out, "@client.test>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n"...)
	bufs := net.Buffers{c.out, s.body}
	if _, err := bufs.WriteTo(c.Conn); err != nil {
		return err
	}
	return c.reply('2')
}

// reply reads one reply, which has to begin with want.
func (c *conn) reply(want byte) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 || line[0] != want {
			return fmt.Errorf("reply %q", line)
		}
		if line[3] != '-' {
			return nil
		}
	}
}

// quit ends the connection as a polite client does.
func (c *conn) quit() {
	_, _ = io.WriteString(c, "QUIT\r\n") // the message is accepted already
	_ = c.Close()
}
