package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postroad/internal/sys"
)

// Limits of tcp:.
const (
	// tcpReply is the longest reply with its newline.
	tcpReply = 4096
	// tcpTries is how often a server that is away is tried, tcpPause apart, so
	// that a restart of the server is not noticed.
	tcpTries = 10
	tcpPause = time.Second
	// tcpTime bounds all of them.
	tcpTime = remoteTimeout + tcpTries*tcpPause
)

// errTCPReply is the cause when a reply makes no sense.
var errTCPReply = errors.New("malformed reply")

// tcpTable is tcp:host:port: a server that answers "get key" lines.
type tcpTable struct {
	name   string
	server *remote
}

// openTCP opens tcp:host:port. The server is not asked before the first lookup.
func openTCP(name string, o *Options) (Table, error) {
	server, err := newRemote("inet:"+name, remoteTimeout, o)
	if err != nil {
		return nil, err
	}
	return remoteTable(&tcpTable{name: "tcp:" + name, server: server}, o), nil
}

// Lookup implements Table.
func (t *tcpTable) Lookup(ctx context.Context, key string) (value string, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tcpTime)
	defer cancel()
	for try := 1; ; try++ {
		err = t.server.do(ctx, func(c *remoteConn) error {
			value, ok, err = t.ask(c, key)
			return err
		})
		var connect *connectError
		if err == nil || try == tcpTries || errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &connect) && !lost(err) {
			break
		}
		if err := sys.Pause(ctx, tcpPause); err != nil {
			return "", false, err
		}
	}
	if err != nil {
		return "", false, err
	}
	return value, ok, nil
}

// ask sends one question and reads its answer.
func (t *tcpTable) ask(c *remoteConn, key string) (string, bool, error) {
	c.buf = append(appendHexQuoted(append(c.buf[:0], "get "...), key), '\n')
	if _, err := c.Write(c.buf); err != nil {
		return "", false, err
	}
	line, err := c.readLine(tcpReply)
	if err != nil {
		return "", false, fmt.Errorf("read reply from %s: %w", t.server.address, err)
	}
	return parseTCPReply(line)
}

// parseTCPReply reads "code SPACE text". Only the first digit of the code
// counts: 2 is found, 4 is an error, 5 is not found.
func parseTCPReply(line string) (value string, ok bool, err error) {
	if len(line) < 4 || !isDigit(line[0]) || !isDigit(line[1]) || !isDigit(line[2]) || !isSpace(line[3]) {
		return "", false, fmt.Errorf("%w: %q", errTCPReply, clip(line, 100))
	}
	text, good := hexUnquote(line[4:])
	if !good {
		return "", false, fmt.Errorf("%w: %q", errTCPReply, clip(line, 100))
	}
	switch line[0] {
	case '2':
		if strings.IndexByte(text, 0) >= 0 {
			return "", false, errRemoteNUL
		}
		return text, true, nil
	case '4':
		return "", false, fmt.Errorf("the server says: %s", printable(line, 200))
	case '5':
		return "", false, nil
	}
	return "", false, fmt.Errorf("bad status code: %q", clip(line, 100))
}

// isDigit tells whether c is a decimal digit.
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// appendHexQuoted appends s with %XX in place of "%", white space and what is
// not printable ASCII.
func appendHexQuoted(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// hexUnquote undoes appendHexQuoted; ok is false when a "%" is not followed by
// two hexadecimal digits.
func hexUnquote(s string) (text string, ok bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, low := hexValue(s[i+1]), hexValue(s[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		out = append(out, byte(high<<4|low))
		i += 2
	}
	return string(out), true
}

// hexValue is the value of a hexadecimal digit, -1 for anything else.
func hexValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Kind implements Table.
func (t *tcpTable) Kind() Kind { return Pattern }

// String implements Table.
func (t *tcpTable) String() string { return t.name }

// Close implements Table.
func (t *tcpTable) Close() error { return t.server.close() }
