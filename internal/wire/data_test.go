package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// pieces is a stream that arrives in the pieces that a network might make of it.
type pieces struct{ rest [][]byte }

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.rest) > 0 && len(p.rest[0]) == 0 {
		p.rest = p.rest[1:]
	}
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[0])
	p.rest[0] = p.rest[0][n:]
	return n, nil
}

// split cuts s at the given places.
func split(s string, at ...int) *pieces {
	p := &pieces{}
	from := 0
	for _, i := range append(at, len(s)) {
		p.rest = append(p.rest, []byte(s[from:i]))
		from = i
	}
	return p
}

// single cuts s into single bytes.
func single(s string) *pieces {
	p := &pieces{}
	for i := range len(s) {
		p.rest = append(p.rest, []byte(s[i:i+1]))
	}
	return p
}

// readData reads content, and what is left behind it.
func readData(src io.Reader) (content string, rest string, bare bool, err error) {
	r := NewReader(src, nil)
	var d DataReader
	d.Start(r)
	var b strings.Builder
	for {
		p, e := d.Next()
		if errors.Is(e, io.EOF) {
			break
		}
		if e != nil {
			return b.String(), "", d.BareLF(), e
		}
		b.Write(p)
		if tail := b.Len() - strings.LastIndexByte(b.String(), '\n') - 1; d.Tail() != int64(tail) {
			return "", "", false, fmt.Errorf("tail %d of %q", d.Tail(), b.String())
		}
	}
	if d.Size() != int64(b.Len()) || d.Tail() != 0 {
		return "", "", false, fmt.Errorf("size %d, tail %d of %q", d.Size(), d.Tail(), b.String())
	}
	left := append([]byte(nil), r.Peek()...)
	more, _ := io.ReadAll(src)
	return b.String(), string(left) + string(more), d.BareLF(), nil
}

// TestDataReader reads content that arrives whole, cut in two at every place,
// and byte by byte.
func TestDataReader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*blockSize)
	tests := []struct {
		name, in, want, rest string
		bare                 bool
	}{
		{"empty", ".\r\n", "", "", false},
		{"line", "a\r\n.\r\n", "a\r\n", "", false},
		{"more behind", "a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n", false},
		{"stuffed", "..\r\n...a\r\n.b\r\n.\r\n", ".\r\n..a\r\nb\r\n", "", false},
		{"dot inside", "a.b\r\n .\r\n.\r\n", "a.b\r\n .\r\n", "", false},
		{"empty lines", "\r\n\r\n.\r\n", "\r\n\r\n", "", false},
		{"bare LF", "a\nb\n\nc\r\n.\r\n", "a\r\nb\r\n\r\nc\r\n", "", true},
		{"bare CR", "a\rb\r\r\n\rc\r\n.\r\n", "a\rb\r\r\n\rc\r\n", "", false},
		{"LF dot LF", "a\n.\nb\r\n.\r\n", "a\r\nb\r\n", "", true},
		{"LF dot CRLF", "a\n.\r\nb\r\n.\r\n", "a\r\nb\r\n", "", true},
		{"LF dot CRLF dot CRLF", "a\n.\r\n.\r\nb", "a\r\n", "b", true},
		{"CRLF dot LF", "a\r\n.\nb\r\n.\r\n", "a\r\nb\r\n", "", true},
		{"CRLF dot LF dot CRLF", "a\r\n.\n.\r\nb\r\n.\r\n", "a\r\nb\r\n", "", true},
		{"CRLF dot CR", "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", "", false},
		{"CRLF dot CR CRLF", "a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\r\nb\r\n", "", false},
		{"CR dot CR", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", "", false},
		{"CR dot CRLF", "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", "", false},
		{"CR CRLF dot CRLF", "a\r\r\n.\r\nb", "a\r\r\n", "b", false},
		{"NUL", "a\r\n\x00.\r\n.\x00\r\n.\r\n", "a\r\n\x00.\r\n\x00\r\n", "", false},
		{"stuffed bare", "..\n.a\n.\r\r\n.\r\n", ".\r\na\r\n\r\r\n", "", true},
		{"high bytes", "\x85.\xff\r\n.\r\n", "\x85.\xff\r\n", "", false},
		{"long line", long + "\r\n.\r\n", long + "\r\n", "", false},
		{"long line of dots", strings.Repeat(".", 2*blockSize) + "\r\n.\r\n", strings.Repeat(".", 2*blockSize-1) + "\r\n", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			check := func(how string, src io.Reader) {
				got, rest, bare, err := readData(src)
				if err != nil || got != tt.want || rest != tt.rest || bare != tt.bare {
					t.Fatalf("%s: got %.200q, rest %q, bare %v, %v; want %.200q, %q, %v", how, got, rest, bare, err, tt.want, tt.rest, tt.bare)
				}
			}
			check("whole", split(tt.in))
			check("by bytes", single(tt.in))
			if len(tt.in) < 200 {
				for i := range len(tt.in) {
					for j := i; j < len(tt.in); j++ {
						check(fmt.Sprintf("cut at %d and %d", i, j), split(tt.in, i, j))
					}
				}
			}
		})
	}
}

// TestDataReaderBoundary moves an end, a false end and stuffing over the
// boundary of the buffer.
func TestDataReaderBoundary(t *testing.T) {
	t.Parallel()
	for n := blockSize - 12; n < blockSize+12; n++ {
		fill := strings.Repeat("y", n)
		for _, tail := range []struct{ in, want string }{
			{"\r\n.\r\n", "\r\n"}, {"\r\n..\r\n.\r\n", "\r\n.\r\n"}, {"\n.\r\nz\r\n.\r\n", "\r\nz\r\n"},
			{"\r\n.\rz\r\n.\r\n", "\r\n\rz\r\n"}, {"\r\r\n.\r\n", "\r\r\n"},
		} {
			got, _, _, err := readData(split(fill + tail.in))
			if err != nil || got != fill+tail.want {
				t.Fatalf("%d bytes before %q: got ...%q, %v", n, tail.in, got[max(0, len(got)-20):], err)
			}
		}
	}
}

// TestDataReaderCut ends the stream too early, at every place.
func TestDataReaderCut(t *testing.T) {
	t.Parallel()
	const in = "a\r\n..b\n.\r\r\n.\r\n"
	for i := range len(in) {
		for _, src := range []io.Reader{split(in[:i]), single(in[:i])} {
			if _, _, _, err := readData(src); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut after %q: %v", in[:i], err)
			}
		}
	}
}

// plainData is DataReader as one would write it line by line.
func plainData(in string) (content string, rest string, done bool) {
	var b strings.Builder
	std := true // the line before ended in CRLF
	for in != "" {
		i := strings.IndexByte(in, '\n')
		if i < 0 {
			return "", "", false
		}
		line, crlf := strings.CutSuffix(in[:i], "\r")
		in = in[i+1:]
		if line == "." {
			if std && crlf {
				return b.String(), in, true
			}
			std = crlf
			continue
		}
		b.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
		std = crlf
	}
	return "", "", false
}

// FuzzDataReader compares DataReader with plainData, for two ways to cut the
// stream, and checks that the result is clean.
func FuzzDataReader(f *testing.F) {
	for _, s := range []string{".\r\n", "a\r\n..b\n.\n.\r\r\n\r.\r\n.\r\n", "\n.\r\n.\r\nx", "\r\n\r\n.\r\n", "..\r\n.\r\n"} {
		f.Add(s, uint16(3))
	}
	f.Fuzz(func(t *testing.T, in string, at uint16) {
		want, rest, done := plainData(in)
		cut := min(int(at), len(in))
		for _, src := range []io.Reader{split(in, cut), single(in)} {
			got, left, _, err := readData(src)
			if done != (err == nil) {
				t.Fatalf("%q: done %v, but %v", in, done, err)
			}
			if err == nil && (got != want || left != rest) {
				t.Fatalf("%q: got %q rest %q, want %q rest %q", in, got, left, want, rest)
			}
			if strings.Contains(strings.ReplaceAll(got, "\r\n", ""), "\n") {
				t.Fatalf("%q: a bare LF in %q", in, got)
			}
		}
		if !done {
			return
		}
		// What is written again is read again as the same, with nothing left over.
		var b bytes.Buffer
		w := NewDotWriter(&b)
		if _, err := io.WriteString(w, want); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, left, _, err := readData(split(b.String())); err != nil || got != want || left != "" {
			t.Fatalf("%q written as %q, read as %q, rest %q, %v", want, b.String(), got, left, err)
		}
	})
}

// TestRoom: content from a socket is read into large buffers, commands and what comes
// through TLS are not, and who waits for what a dot will be holds a small one.
func TestRoom(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := NewReader(conn, NewPool())
	expect := func(what string, large bool) {
		t.Helper()
		if (r.large != nil) != large {
			t.Errorf("%s: a large buffer %t", what, r.large != nil)
		}
	}
	send := func(text string) {
		t.Helper()
		if _, err := io.WriteString(client, text); err != nil {
			t.Fatal(err)
		}
	}
	send("DATA\r\n")
	if _, _, err := r.Line(100); err != nil {
		t.Fatal(err)
	}
	expect("a command", false)
	var d DataReader
	d.Start(r)
	send("x\r\n")
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	expect("content", true)
	send(".")
	if err := r.need(1); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	expect("a lone dot", false)
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	send("\r\nBDAT 9000 LAST\r\n")
	if _, err := d.Next(); err != io.EOF || r.content {
		t.Fatal(err, r.content)
	}
	if _, _, err := r.Line(100); err != nil {
		t.Fatal(err)
	}
	var c ChunkReader
	c.Start(r)
	c.Chunk(9000)
	send(strings.Repeat("y", 100))
	if _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
	expect("a chunk", true)
	send(strings.Repeat("y", 8900) + "QUIT\r\n")
	for err == nil {
		_, err = c.Next()
	}
	if _, _, err := r.Line(100); err != nil {
		t.Fatal(err)
	}
	if r.content {
		t.Error("the chunk is over")
	}
	c.Chunk(5)
	send("12345")
	if _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
	expect("a small chunk", false)
	// What is no socket holds its buffer while it waits.
	r.Reset(strings.NewReader("z"))
	d.Start(r)
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	expect("content through TLS", false)
}
