package sasl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"
)

// dovecotConn is a connection after the handshake.
type dovecotConn struct {
	net.Conn
	r     *bufio.Reader
	mechs []mechanism
	id    uint32
}

func newDovecotConn(c net.Conn) *dovecotConn {
	return &dovecotConn{Conn: c, r: bufio.NewReaderSize(c, 1024), id: rand.Uint32N(1 << 30)}
}

// handshake exchanges versions and reads the mechanisms.
func (c *dovecotConn) handshake(ctx context.Context) error {
	c.limit(ctx)
	// Dovecot wants a number of its own from every connection. The numbers are
	// above those of processes, which other clients of Dovecot use.
	pid := 1<<23 + rand.IntN(1<<30)
	if _, err := fmt.Fprintf(c, "VERSION\t1\t1\nCPID\t%d\n", pid); err != nil {
		return err
	}
	version := false
	for range dovecotLines {
		line, err := c.line()
		if err != nil {
			return err
		}
		word, rest, _ := strings.Cut(line, "\t")
		switch word {
		case "VERSION":
			major, _, _ := strings.Cut(rest, "\t")
			if major != "1" {
				return errors.New("authentication server speaks protocol version " + strconv.Quote(major) + ", want 1")
			}
			version = true
		case "MECH":
			if m, ok := parseMech(rest); ok {
				c.mechs = append(c.mechs, m)
			}
		case "DONE":
			if !version {
				return errors.New("authentication server did not tell its protocol version")
			}
			if len(c.mechs) == 0 {
				return errors.New("authentication server has no mechanism")
			}
			return nil
		}
	}
	return errors.New("handshake of authentication server does not end")
}

// parseMech reads the parameters of a MECH line.
func parseMech(s string) (mechanism, bool) {
	fields := strings.Split(s, "\t")
	m := mechanism{name: strings.ToUpper(fields[0])}
	for _, f := range fields[1:] {
		switch f {
		case "private":
			return m, false // not to be announced
		case "plaintext":
			m.props |= propPlaintext
		case "active":
			m.props |= propActive
		case "dictionary":
			m.props |= propDictionary
		case "anonymous":
			m.props |= propAnonymous
		case "forward-secrecy":
			m.props |= propForwardSecrecy
		case "mutual-auth":
			m.props |= propMutual
		}
	}
	return m, m.name != "" && !strings.ContainsAny(m.name, " \r")
}

// line reads one bounded line.
func (c *dovecotConn) line() (string, error) {
	var b []byte
	for {
		part, err := c.r.ReadSlice('\n')
		b = append(b, part...)
		if len(b) > dovecotLine {
			return "", errors.New("line of authentication server is too long")
		}
		if err == nil {
			return string(b[:len(b)-1]), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}

// limit sets the time limit for the next step.
func (c *dovecotConn) limit(ctx context.Context) {
	deadline := time.Now().Add(dovecotTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	// An error shows at the next read or write.
	_ = c.SetDeadline(deadline)
}
