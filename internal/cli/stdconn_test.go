package cli

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// talk reads all of a stdConn and gives the answers of a server that accepts DATA
// when data is set.
func talk(t *testing.T, in string, data bool) string {
	t.Helper()
	var out bytes.Buffer
	c := newStdConn(strings.NewReader(in), &out)
	defer c.Close()
	var got strings.Builder
	buf := make([]byte, 8192)
	for {
		n, err := c.Read(buf)
		if errors.Is(err, io.EOF) {
			return got.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		got.Write(buf[:n])
		reply := "250 2.0.0 Ok\r\n"
		switch {
		case strings.EqualFold(string(buf[:n]), "DATA\r\n") && data:
			reply = "354 go on\r\n"
		case strings.EqualFold(string(buf[:n]), "DATA\r\n"):
			reply = "503 5.5.1 no\r\n"
		}
		if _, err := c.Write([]byte(reply)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStdConnLineEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
		data           bool
	}{
		{"lf", "EHLO x\nQUIT\n", "EHLO x\r\nQUIT\r\n", true},
		{"crlf", "EHLO x\r\nQUIT\r\n", "EHLO x\r\nQUIT\r\n", true},
		{"no end", "QUIT", "QUIT", true},
		{"chunk", "BDAT 4 LAST\na\nb\nQUIT\n", "BDAT 4 LAST\r\na\nb\nQUIT\r\n", true},
		{"chunk within a line", "bdat 2\nabRSET\n", "bdat 2\r\nabRSET\r\n", true},
		{"empty chunk", "BDAT 0 LAST\nQUIT\n", "BDAT 0 LAST\r\nQUIT\r\n", true},
		{"bad chunk", "BDAT x\nQUIT\n", "BDAT x\r\nQUIT\r\n", true},
		{"BDAT in content", "DATA\nBDAT 9\nab\n.\nBDAT 3\na\nb", "DATA\r\nBDAT 9\r\nab\r\n.\r\nBDAT 3\r\na\nb", true},
		{"BDAT after refused DATA", "DATA\nBDAT 3\na\nbQUIT\n", "DATA\r\nBDAT 3\r\na\nbQUIT\r\n", false},
		{"long line", strings.Repeat("x", 3*pieceSize) + "\nQUIT\n", strings.Repeat("x", 3*pieceSize) + "\r\nQUIT\r\n", true},
		{"CR inside", "a\rb\n", "a\rb\r\n", true},
	} {
		if got := talk(t, tt.in, tt.data); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestStdConnDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, w := io.Pipe()
		c := newStdConn(in, io.Discard)
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if _, err := c.Read(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		w.Close() // lets the reader end
	})
}

// FuzzStdConn: whatever comes in, nothing but line ends changes.
func FuzzStdConn(f *testing.F) {
	f.Add("EHLO x\nDATA\n.\nBDAT 3\na\nb")
	f.Add("BDAT 99999999999999999999\n\r\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		got := talk(t, in, true)
		strip := strings.NewReplacer("\r", "", "\n", "")
		if strip.Replace(got) != strip.Replace(in) {
			t.Errorf("%q became %q", in, got)
		}
		if strings.Count(got, "\n") != strings.Count(in, "\n") {
			t.Errorf("lines: %q became %q", in, got)
		}
	})
}
