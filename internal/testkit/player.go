package testkit

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Reply is one reply of an SMTP server: its lines without their line ends.
type Reply struct {
	Lines []string
}

// Code is the three digits of the last line, or nothing.
func (r Reply) Code() string {
	if len(r.Lines) == 0 {
		return ""
	}
	last := r.Lines[len(r.Lines)-1]
	if len(last) < 3 {
		return last
	}
	return last[:3]
}

// String is the reply as it came, lines parted by a line feed.
func (r Reply) String() string { return strings.Join(r.Lines, "\n") }

// Player is an SMTP client that does exactly what it is told: it neither waits
// for replies nor corrects its caller.
type Player struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration
}

// NewPlayer plays over conn; every read and write is limited by timeout.
func NewPlayer(conn net.Conn, timeout time.Duration) *Player {
	return &Player{conn: conn, r: bufio.NewReader(conn), timeout: timeout}
}

// Send writes one command line and its CRLF.
func (p *Player) Send(line string) error { return p.SendRaw(line + "\r\n") }

// SendRaw writes bytes as they are, in one write.
func (p *Player) SendRaw(s string) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return err
	}
	_, err := io.WriteString(p.conn, s)
	return err
}

// SendData writes a message: every line ended by CRLF, leading dots doubled
// (RFC 5321 4.5.2), and the final dot.
func (p *Player) SendData(text string) error {
	return p.SendRaw(DotStuff(text) + ".\r\n")
}

// DotStuff gives text in the form that DATA sends, without the final dot.
func DotStuff(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, ".") {
			b.WriteByte('.')
		}
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

// Read takes one whole reply. At the end of the connection it returns what it
// has together with io.EOF.
func (p *Player) Read() (Reply, error) {
	var r Reply
	for {
		if err := p.conn.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
			return r, err
		}
		line, err := p.r.ReadString('\n')
		if line != "" {
			r.Lines = append(r.Lines, strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			return r, err
		}
		if len(line) < 4 || line[3] != '-' {
			return r, nil
		}
		if len(r.Lines) > 1000 {
			return r, errors.New("a reply of more than 1000 lines")
		}
	}
}

// Do sends a command and reads its reply.
func (p *Player) Do(line string) (Reply, error) {
	if err := p.Send(line); err != nil {
		return Reply{}, err
	}
	return p.Read()
}

// StartTLS runs the client side of a handshake on the open connection.
func (p *Player) StartTLS(c *tls.Config) (tls.ConnectionState, error) {
	t := tls.Client(p.conn, c)
	if err := t.SetDeadline(time.Now().Add(p.timeout)); err != nil {
		return tls.ConnectionState{}, err
	}
	if err := t.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	p.conn = t
	p.r = bufio.NewReader(t)
	return t.ConnectionState(), nil
}

// Close ends the connection.
func (p *Player) Close() error { return p.conn.Close() }

// Reset ends the connection with a TCP reset, as a crashing peer does.
func (p *Player) Reset() error {
	if t, ok := p.conn.(*net.TCPConn); ok {
		if err := t.SetLinger(0); err != nil {
			return err
		}
	}
	return p.conn.Close()
}

// Expect is Do for callers that know the code they want.
func (p *Player) Expect(line, code string) (Reply, error) {
	r, err := p.Do(line)
	if err != nil {
		return r, fmt.Errorf("%s: %w", line, err)
	}
	if r.Code() != code {
		return r, fmt.Errorf("%s: got %q", line, r.String())
	}
	return r, nil
}
