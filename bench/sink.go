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
	"time"
)

// arrived is what a sink reports.
type arrived struct {
	Messages int
	// First and Last are the times of the first and the last message, in
	// nanoseconds since the epoch.
	First, Last int64
	// P50 and P99 are the times from the writing of a message to its arrival, in
	// milliseconds.
	P50, P99 float64
}

// sink takes mail and forgets it.
type sink struct {
	mu          sync.Mutex
	count       int
	first, last time.Time
	delays      []time.Duration
}

// runSink is the command "sink": it serves until its standard input ends, and
// answers each line on it with a report.
func runSink(args []string) error {
	f := flag.NewFlagSet("sink", flag.ContinueOnError)
	addr := f.String("listen", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	s := &sink{}
	// goroutine: ends with the process, when the standard input ends.
	go s.accept(l)
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := json.NewEncoder(os.Stdout).Encode(s.report(in.Text() == "reset")); err != nil {
			return err
		}
	}
	return in.Err()
}

// accept takes connections.
func (s *sink) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		// goroutine: ends with the connection.
		go func() {
			_ = s.serve(c) // a peer that goes away is no matter
			_ = c.Close()
		}()
	}
}

// report sums up, and begins anew when asked to.
func (s *sink) report(reset bool) arrived {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := arrived{Messages: s.count, First: s.first.UnixNano(), Last: s.last.UnixNano()}
	if len(s.delays) > 0 {
		sorted := append([]time.Duration(nil), s.delays...)
		sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
		a.P50 = float64(sorted[len(sorted)/2].Microseconds()) / 1000
		a.P99 = float64(sorted[len(sorted)*99/100].Microseconds()) / 1000
	}
	if reset {
		s.count, s.delays = 0, nil
	}
	return a
}

var endOfData = []byte("\r\n.\r\n")

// serve plays one session. Replies are collected and written when nothing more
// has come in, as a fast server does.
func (s *sink) serve(nc net.Conn) error {
	r := bufio.NewReaderSize(nc, 16<<10)
	w := bufio.NewWriterSize(nc, 1024)
	say := func(text string) error {
		if _, err := w.WriteString(text); err != nil {
			return err
		}
		if r.Buffered() > 0 {
			return nil
		}
		return w.Flush()
	}
	if err := say("220 sink.test ESMTP\r\n"); err != nil {
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		verb := ""
		if len(line) >= 4 {
			verb = string(bytes.ToUpper(line[:4]))
		}
		switch verb {
		case "EHLO":
			err = say("250-sink.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250 8BITMIME\r\n")
		case "DATA":
			if err = say("354 go on\r\n"); err != nil {
				return err
			}
			if err = w.Flush(); err != nil {
				return err
			}
			if err = s.data(r); err == nil {
				err = say("250 2.0.0 Ok\r\n")
			}
		case "QUIT":
			_ = say("221 2.0.0 Bye\r\n")
			return w.Flush()
		default:
			err = say("250 2.0.0 Ok\r\n")
		}
		if err != nil {
			return err
		}
	}
}

// data swallows a message up to its final dot and notes when it was sent.
func (s *sink) data(r *bufio.Reader) error {
	var sentAt int64
	header := true
	tail := make([]byte, 0, 8)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
		if header {
			if v, ok := bytes.CutPrefix(line, []byte("X-Sent: ")); ok {
				sentAt, _ = strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64) // not a number: no delay
			}
			header = len(line) > 2
		}
		tail = append(tail, line[max(0, len(line)-5):]...)
		tail = tail[max(0, len(tail)-5):]
		if bytes.Equal(tail, endOfData) {
			break
		}
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 {
		s.first = now
	}
	s.count++
	s.last = now
	if sentAt > 0 {
		s.delays = append(s.delays, now.Sub(time.Unix(0, sentAt)))
	}
	return nil
}

// ask sends a line to a sink process and reads its report.
func ask(in io.Writer, out *bufio.Reader, line string) (arrived, error) {
	var a arrived
	if _, err := io.WriteString(in, line+"\n"); err != nil {
		return a, err
	}
	text, err := out.ReadBytes('\n')
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(text, &a)
}
