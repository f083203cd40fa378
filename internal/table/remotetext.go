package table

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode/utf8"
)

// hostPort reads "host:port", "[address]:port" and "port", which is a port of
// this machine.
func hostPort(text string) (string, error) {
	host, port := "localhost", text
	if rest, bracketed := strings.CutPrefix(text, "["); bracketed {
		inner, after, found := strings.Cut(rest, "]")
		if !found {
			return "", fmt.Errorf("%s: missing \"]\"", text)
		}
		if after != "" && after[0] != ':' {
			return "", fmt.Errorf("%s: garbage after \"]\"", text)
		}
		if len(inner) > 5 && strings.EqualFold(inner[:5], "ipv6:") {
			inner = inner[5:]
		}
		host, port = inner, strings.TrimPrefix(after, ":")
	} else if i := strings.LastIndexByte(text, ':'); i >= 0 {
		if i > 0 {
			host = text[:i]
		}
		port = text[i+1:]
	}
	if host == "" {
		return "", fmt.Errorf("%s: missing host information", text)
	}
	if port == "" {
		return "", fmt.Errorf("%s: missing service information", text)
	}
	return net.JoinHostPort(host, port), nil
}

// readLine reads a line of at most limit bytes with its newline, and returns it
// without.
func (c *remoteConn) readLine(limit int) (string, error) {
	line, err := c.r.ReadSlice('\n')
	var long []byte
	for err == bufio.ErrBufferFull && len(long)+len(line) < limit {
		long = append(long, line...)
		line, err = c.r.ReadSlice('\n')
	}
	if len(long)+len(line) > limit || err == bufio.ErrBufferFull {
		return "", fmt.Errorf("text longer than %d", limit)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", err
	}
	if long != nil {
		line = append(long, line...)
	}
	return string(line[:len(line)-1]), nil
}

// unicodeOnly puts the UTF-8 rules of folding in front of a pattern table that
// a server answers: a key that is not UTF-8 is not asked for, and a value that
// is not UTF-8 is an error.
type unicodeOnly struct{ Table }

// Lookup implements Table.
func (u unicodeOnly) Lookup(ctx context.Context, key string) (string, bool, error) {
	if !utf8.ValidString(key) {
		return "", false, nil
	}
	value, ok, err := u.Table.Lookup(ctx, key)
	if ok && !utf8.ValidString(value) {
		return "", false, errNotUTF8
	}
	return value, ok, err
}

// remoteTable adds what tables with a server have in common.
func remoteTable(t Table, o *Options) Table {
	if o.UTF8 {
		return unicodeOnly{t}
	}
	return t
}

// printable makes text of a server fit for a log line.
func printable(s string, n int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, clip(s, n))
}
