package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestLine(t *testing.T) {
	t.Parallel()
	const limit = 10
	tests := []struct {
		in   string
		want []string // lines, or the errors that stand for them
	}{
		{"a\r\nb\r\n", []string{"a", "b", "EOF"}},
		{"a\n\r\n\n", []string{"a bare", "", " bare", "EOF"}},
		{"a\r\r\n", []string{"a\r", "EOF"}},
		{"a\rb\r\n", []string{"a\rb", "EOF"}},
		{"\x00\r\n", []string{"\x00", "EOF"}},
		{"a", []string{"unexpected EOF"}},
		{"0123456789\r\nx\r\n", []string{"0123456789", "x", "EOF"}},
		{"0123456789a\r\nx\r\n", []string{"wire: line too long", "x", "EOF"}},
		{strings.Repeat("x", 3*blockSize) + "\r\ny\r\n", []string{"wire: line too long", "y", "EOF"}},
		{strings.Repeat("x", 2*maxDiscard), []string{"wire: endless line"}},
	}
	for _, tt := range tests {
		for how, src := range map[string]io.Reader{"whole": split(tt.in), "by bytes": single(tt.in)} {
			r := NewReader(src, nil)
			for i, want := range tt.want {
				line, bare, err := r.Line(limit)
				got := string(line)
				if bare && err == nil {
					got += " bare"
				}
				if err != nil {
					got = err.Error()
				}
				if got != want {
					t.Fatalf("%.30q %s: line %d is %q, want %q", tt.in, how, i, got, want)
				}
			}
		}
	}
}

// TestLongLine reads lines that are longer than the buffer and allowed.
func TestLongLine(t *testing.T) {
	t.Parallel()
	for n := blockSize - 3; n <= 2*blockSize+3; n++ {
		in := strings.Repeat("a", n) + "\r\nb\r\n"
		r := NewReader(split(in), nil)
		line, _, err := r.Line(3 * blockSize)
		if len(line) != n || err != nil {
			t.Fatalf("%d bytes: got %d, %v", n, len(line), err)
		}
		if line, _, err := r.Line(10); string(line) != "b" || err != nil {
			t.Fatalf("behind %d bytes: %q, %v", n, line, err)
		}
	}
}

// TestSocket reads from a socket: nothing is held while it waits, and what the
// kernel has is seen.
func TestSocket(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := NewReader(s, NewPool())
	if r.Pending() || r.buf != nil {
		t.Error("something is pending before anything was sent")
	}
	_ = s.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, _, err := r.Line(100); !errors.Is(err, os.ErrDeadlineExceeded) || r.buf != nil {
		t.Errorf("waiting: %v, buffer %v", err, r.buf != nil)
	}
	_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "hello\r\nagain\r\n")
	if line, _, err := r.Line(100); string(line) != "hello" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if !r.Pending() || r.Buffered() != 7 {
		t.Errorf("%d bytes are buffered", r.Buffered())
	}
	if line, _, err := r.Line(100); string(line) != "again" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = io.WriteString(c, "x")
	for !r.Pending() { // until the kernel has delivered it
		time.Sleep(time.Millisecond)
	}
	r.Reset(s)
	if r.Buffered() != 0 {
		t.Error("bytes survive a reset")
	}
	_ = c.Close()
	if _, _, err := r.Line(100); !errors.Is(err, io.EOF) {
		t.Errorf("closed: %v", err)
	}
}

// TestBeforeRead ends a read by an error of its hook.
func TestBeforeRead(t *testing.T) {
	t.Parallel()
	r := NewReader(strings.NewReader("a\r\nb\r\n"), nil)
	calls := 0
	stop := errors.New("stop")
	r.BeforeRead(func() error {
		if calls++; calls > 1 {
			return stop
		}
		return nil
	})
	for _, want := range []string{"a", "b"} {
		if line, _, err := r.Line(10); string(line) != want || err != nil {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if _, _, err := r.Line(10); !errors.Is(err, stop) || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// TestVerb splits commands.
func TestVerb(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"": {}, "  ": {}, "NOOP": {"NOOP"}, "  noop  ": {"noop"}, "MAIL FROM:<a>": {"MAIL", "FROM:<a>"},
		"EHLO\t a b ": {"EHLO", "a b"},
	} {
		if verb, args := Verb([]byte(in)); string(verb) != want[0] || string(args) != want[1] {
			t.Errorf("Verb(%q) = %q, %q", in, verb, args)
		}
	}
}

// FuzzLine reads lines of any stream and puts them together again.
func FuzzLine(f *testing.F) {
	f.Add("EHLO a\r\nMAIL FROM:<a@b>\nx", uint16(5))
	f.Fuzz(func(t *testing.T, in string, limit uint16) {
		r := NewReader(split(in, len(in)/2), NewPool())
		for range len(in) + 2 {
			line, _, err := r.Line(int(limit))
			if err != nil && !errors.Is(err, ErrLineTooLong) {
				return
			}
			if len(line) > int(limit) {
				t.Fatalf("a line of %d bytes under a limit of %d", len(line), limit)
			}
			Verb(line)
		}
		t.Fatal("the stream does not end")
	})
}
