package smtpd

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/event/eventtest"
)

var update = flag.Bool("update", false, "write what the server says into the transcripts")

// journal is a log that keeps its lines.
type journal struct{ eventtest.Journal }

// take returns the lines so far, and forgets them.
func (j *journal) take() string { return strings.Join(j.Take(), "\n") }

// TestTranscriptFiles plays the conversations in testdata/transcripts. A
// conversation begins with "== name". Its lines:
//
//	# text       a remark
//	| a = b      a line of main.cf
//	@ address    where the client comes from; 198.51.100.9 when not said
//	C: text      the client sends a line
//	C+ "text"    the client sends bytes, written as a Go string
//	T: 10s       time passes
//	S: text      what the server says then; "S. closed" when it hangs up
//	Q: text      what is in the queue at the end
//	L: text      what is in the log at the end
//
// With -update the lines S, Q and L are written anew.
func TestTranscriptFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			for i, text := range strings.Split("\n"+string(data), "\n== ") {
				if i == 0 {
					out.WriteString(strings.TrimPrefix(text, "\n"))
					if text != "" {
						out.WriteByte('\n')
					}
					continue
				}
				got := play(t, text)
				out.WriteString("== " + got + "\n")
				if want := strings.TrimRight(text, "\n") + "\n"; got != want && !*update {
					t.Errorf("%s: got\n%s\nwant\n%s", strings.SplitN(text, "\n", 2)[0], got, want)
				}
			}
			if *update {
				if err := os.WriteFile(file, bytes.TrimRight(out.Bytes(), "\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// script is a conversation without what the server says.
type script struct {
	head, config, peer string
	steps              []string
}

// parseScript reads a conversation.
func parseScript(text string) script {
	s := script{peer: "198.51.100.9"}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	s.head = lines[0] + "\n"
	for _, line := range lines[1:] {
		switch {
		case line == "" || line[0] == 'S' || line[0] == 'Q' || line[0] == 'L':
		case line[0] == '#' && len(s.steps) == 0:
			s.head += line + "\n"
		case line[0] == '|':
			s.head += line + "\n"
			s.config += line[2:] + "\n"
		case line[0] == '@':
			s.head += line + "\n"
			s.peer = line[2:]
		default:
			s.steps = append(s.steps, line)
		}
	}
	return s
}

// placed gives a connection addresses.
type placed struct {
	net.Conn
	remote, local net.Addr
}

func (p placed) RemoteAddr() net.Addr { return p.remote }
func (p placed) LocalAddr() net.Addr  { return p.local }

// play plays a conversation and returns it with what the server says.
func play(t *testing.T, text string) string {
	t.Helper()
	sc := parseScript(text)
	srv, queue := newServer(t, sc.config)
	log := &journal{}
	srv.Log, srv.Rates = log, NewRates()
	var out strings.Builder
	out.WriteString(sc.head)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		conn := placed{theirs, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(sc.peer), 1025)),
			net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:25"))}
		done := make(chan struct{})
		// goroutine: the session; ends with the connection.
		go func() {
			defer close(done)
			srv.ServeConn(context.Background(), conn)
		}()
		heard := listenTo(ours)
		say := func() {
			synctest.Wait()
			for _, line := range heard.take() {
				out.WriteString(line + "\n")
			}
		}
		say()
		for _, step := range sc.steps {
			out.WriteString(step + "\n")
			send(t, ours, step)
			say()
		}
		heard.deaf = true // what follows is our own hanging up
		_ = ours.Close()
		<-done
		say()
	})
	for _, q := range queue.done {
		out.WriteString("Q: " + q + "\n")
	}
	for _, l := range log.Lines() {
		out.WriteString("L: " + l + "\n")
	}
	return out.String()
}

// send does one step of the client.
func send(t *testing.T, c net.Conn, step string) {
	t.Helper()
	kind, arg, _ := strings.Cut(step, " ")
	if kind == "#" {
		return
	}
	var text string
	switch kind {
	case "C:":
		text = arg + "\r\n"
	case "C+":
		// "text"*n repeats it.
		quoted, times, _ := strings.Cut(arg, "*")
		s, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		n := 1
		if times != "" {
			if n, err = strconv.Atoi(times); err != nil {
				t.Fatalf("%s: %v", step, err)
			}
		}
		text = strings.Repeat(s, n)
	case "T:":
		d, err := time.ParseDuration(arg)
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		time.Sleep(d) // in the time of the test only
		return
	default:
		t.Fatalf("what is %q?", step)
	}
	// A server that has hung up takes nothing; that it has shows in its lines.
	_, _ = c.Write([]byte(text))
}

// ear hears what the server says.
type ear struct {
	mu     sync.Mutex
	text   []byte
	closed bool
	// deaf is set when the end of the connection is no news.
	deaf bool
}

func listenTo(c net.Conn) *ear {
	e := &ear{}
	// goroutine: reads until the connection is closed.
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			e.mu.Lock()
			e.text = append(e.text, b[:n]...)
			if err != nil {
				e.closed = true
			}
			e.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return e
}

// take returns the lines heard since the last time.
func (e *ear) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	if len(e.text) > 0 {
		for _, l := range strings.Split(strings.TrimSuffix(string(e.text), "\r\n"), "\r\n") {
			lines = append(lines, fmt.Sprintf("S: %s", l))
		}
	}
	if e.closed && !e.deaf {
		lines = append(lines, "S. closed")
		e.closed = false
	}
	e.text = nil
	return lines
}
