package privdeliver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// SocketFD is the descriptor on which a process started for a user finds its
// socket.
const SocketFD = 3

// smallContent is the size up to which a message is read before the next
// question, so that several deliveries run side by side.
const smallContent = 256 << 10

// Main is the whole life of a process started for a user: it serves its socket
// until the worker closes it. args are what master says that root's process may
// touch. It returns the exit code.
func Main(args []string) int {
	var limits *Limits
	if os.Geteuid() == 0 || os.Getuid() == 0 {
		if len(args) != len(Limits{}.Args()) {
			fmt.Fprintln(os.Stderr, "privdeliver: fatal: refusing to run as root without limits")
			return 1
		}
		limits = &Limits{Spool: args[0], Mailbox: args[1], Forward: args[2]}
	}
	syscall.Umask(0o077) // what a command makes is the user's alone
	// Commands inherit this, as from Postfix: a write to a program that has gone, or
	// to a file that may not grow, is an error for them and not their end.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	f := os.NewFile(SocketFD, "socket")
	conn, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, "privdeliver: fatal: started by \"postfix start\" only")
		return 1
	}
	if err := Serve(conn, limits); err != nil {
		fmt.Fprintln(os.Stderr, "privdeliver: fatal:", err)
		return 1
	}
	return 0
}

// Serve answers questions until the other end closes. limits are nil for a
// process that has a user's rights.
func Serve(conn net.Conn, limits *Limits) error {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReaderSize(conn, bufferSize)
	var mu sync.Mutex
	var buf []byte // of the last answer, under mu
	var wg sync.WaitGroup
	defer wg.Wait()
	reply := func(id uint64, r Result) {
		mu.Lock()
		defer mu.Unlock()
		out, err := appendAnswer(buf[:0], &answer{ID: id, Result: r})
		if err != nil {
			out, _ = appendAnswer(buf[:0], &answer{ID: id, Result: Result{Class: Temporary, Text: err.Error()}})
		}
		buf = out
		_, _ = conn.Write(out) // a worker that is gone asks nothing more
	}
	for {
		q, err := readQuestion(in)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if q.Content && q.Request.Size > smallContent {
			body := io.LimitReader(in, q.Request.Size)
			reply(q.ID, limits.do(&q.Request, body))
			if _, err := io.Copy(io.Discard, body); err != nil {
				return err
			}
			continue
		}
		var body []byte
		if q.Content {
			body = make([]byte, q.Request.Size)
			if _, err := io.ReadFull(in, body); err != nil {
				return err
			}
		}
		// goroutine: one request; Serve waits for it.
		wg.Go(func() { reply(q.ID, limits.do(&q.Request, bytes.NewReader(body))) })
	}
}
