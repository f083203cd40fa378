package cli

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pieceSize bounds what one Read of a stdConn returns: a line, or a piece of one.
const pieceSize = 4096

// stdConn makes a connection of the standard streams. It gives one line at a time,
// so that the session never sees that a file holds all commands at once, and makes
// the line ends those of SMTP: files and terminals have line feeds. The chunks of
// BDAT are counted in bytes and stay as they are (RFC 3030).
type stdConn struct {
	out    io.Writer
	pieces <-chan []byte
	// rest is what is left of the current piece.
	rest []byte
	// chunk is how many bytes of a BDAT chunk are to come. inData tells that content
	// is read up to a dot, toldData that DATA was the last command. midLine tells
	// that the last piece was not the end of a line.
	chunk            int64
	inData, toldData bool
	midLine          bool

	mu       sync.Mutex
	deadline time.Time
	closed   chan struct{}
	once     sync.Once
}

// newStdConn returns the connection over in and out.
func newStdConn(in io.Reader, out io.Writer) *stdConn {
	pieces := make(chan []byte)
	c := &stdConn{out: out, pieces: pieces, closed: make(chan struct{})}
	// goroutine: reads the input; ends with it, or at the latest when the connection
	// is closed and a line comes. The process ends with the session.
	go func() {
		defer close(pieces)
		r := bufio.NewReaderSize(in, pieceSize)
		for {
			piece, err := r.ReadSlice('\n')
			if len(piece) > 0 {
				select {
				case pieces <- append([]byte(nil), piece...):
				case <-c.closed:
					return
				}
			}
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return
			}
		}
	}()
	return c
}

// Read implements net.Conn.
func (c *stdConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		piece, err := c.next()
		if err != nil {
			return 0, err
		}
		c.rest = c.convert(piece)
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// next waits for a piece.
func (c *stdConn) next() ([]byte, error) {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case piece, ok := <-c.pieces:
		if !ok {
			return nil, io.EOF
		}
		return piece, nil
	case <-expired:
		return nil, os.ErrDeadlineExceeded
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

// convert gives a piece the line end of SMTP and keeps track of what it is.
func (c *stdConn) convert(piece []byte) []byte {
	if c.chunk > 0 {
		raw := min(c.chunk, int64(len(piece)))
		c.chunk -= raw
		if raw == int64(len(piece)) {
			return piece
		}
		// The chunk ends within this line; a command follows.
		return append(piece[:raw:raw], c.convert(piece[raw:])...)
	}
	begin := !c.midLine
	c.midLine = piece[len(piece)-1] != '\n'
	if c.midLine {
		return piece
	}
	line := strings.TrimSuffix(string(piece[:len(piece)-1]), "\r")
	if begin {
		c.follow(line)
	}
	return append([]byte(line), '\r', '\n')
}

// follow notes what a whole line means for those after it.
func (c *stdConn) follow(line string) {
	if c.inData {
		c.inData = line != "."
		return
	}
	words := strings.Fields(line)
	c.toldData = len(words) == 1 && strings.EqualFold(words[0], "DATA")
	if len(words) > 1 && strings.EqualFold(words[0], "BDAT") {
		if n, err := strconv.ParseInt(words[1], 10, 64); err == nil && n > 0 {
			c.chunk = n
		}
	}
}

// Write implements net.Conn. The reply to DATA tells whether content follows.
func (c *stdConn) Write(p []byte) (int, error) {
	if c.toldData {
		c.toldData = false
		c.inData = len(p) > 0 && p[0] == '3'
	}
	return c.out.Write(p)
}

// Close implements net.Conn; the streams stay open.
func (c *stdConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// LocalAddr implements net.Conn.
func (*stdConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25} }

// RemoteAddr implements net.Conn: the address that Postfix gives to a local session.
func (*stdConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// SetDeadline implements net.Conn.
func (c *stdConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *stdConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	c.mu.Unlock()
	return nil
}

// SetWriteDeadline implements net.Conn. Whoever does not read the replies waits for
// himself only.
func (*stdConn) SetWriteDeadline(time.Time) error { return nil }
