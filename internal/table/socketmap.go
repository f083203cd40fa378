package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Limits of socketmap:.
const (
	// socketmapReply is the default of socketmap_max_reply_size.
	socketmapReply = 100000
	// maxNetstringDigits bounds the length of a netstring's length.
	maxNetstringDigits = 10
)

// errNetstring is the cause when a reply is not a netstring.
var errNetstring = errors.New("netstring format error")

// socketmapErrors has the replies that mean an error, and Postfix's word for
// them.
var socketmapErrors = map[string]string{
	"TEMP":    "temporary",
	"TIMEOUT": "timeout",
	"PERM":    "permanent",
}

// socketmap is socketmap:inet:host:port:name or socketmap:unix:path:name.
type socketmap struct {
	name string
	// prefix is the name that the server knows the map by, with a space.
	prefix   string
	server   *remote
	maxReply int
}

// openSocketmap opens a socketmap: table. The server is not asked before the
// first lookup.
func openSocketmap(name string, o *Options) (Table, error) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 {
		return nil, errors.New("socketmap requires server:socketmap argument")
	}
	server, err := newRemote(name[:i], remoteTimeout, o)
	if err != nil {
		return nil, err
	}
	s := &socketmap{name: "socketmap:" + name, prefix: name[i+1:] + " ", server: server, maxReply: socketmapLimit(o)}
	return remoteTable(s, o), nil
}

// socketmapLimit is socketmap_max_reply_size.
func socketmapLimit(o *Options) int {
	if o.Param == nil {
		return socketmapReply
	}
	text, set := o.Param("socketmap_max_reply_size")
	if !set {
		return socketmapReply
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		o.warnf("bad value of socketmap_max_reply_size, using %d: %s", socketmapReply, clip(text, 100))
		return socketmapReply
	}
	return int(n)
}

// Lookup implements Table. A server that closes the connection is asked once
// more, so that its restart is not noticed.
func (s *socketmap) Lookup(ctx context.Context, key string) (value string, ok bool, err error) {
	var reply string
	ask := func(c *remoteConn) error {
		reply, err = s.ask(c, key)
		return err
	}
	err = s.server.do(ctx, ask)
	if err != nil && lost(err) {
		err = s.server.do(ctx, ask)
	}
	if err != nil {
		return "", false, err
	}
	return parseSocketmapReply(reply)
}

// ask sends one question and reads its answer.
func (s *socketmap) ask(c *remoteConn, key string) (string, error) {
	c.buf = strconv.AppendInt(c.buf[:0], int64(len(s.prefix)+len(key)), 10)
	c.buf = append(append(append(append(c.buf, ':'), s.prefix...), key...), ',')
	if _, err := c.Write(c.buf); err != nil {
		return "", err
	}
	reply, err := readNetstring(c.r, s.maxReply)
	if err != nil {
		return "", fmt.Errorf("read reply from %s: %w", s.server.address, err)
	}
	return reply, nil
}

// byteReader is what readNetstring reads from.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// readNetstring reads a netstring of at most limit bytes.
func readNetstring(r byteReader, limit int) (string, error) {
	size := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		if c == ':' {
			break
		}
		if !isDigit(c) {
			return "", errNetstring
		}
		size = size*10 + int(c-'0')
		if size > limit || digits == maxNetstringDigits {
			return "", fmt.Errorf("reply larger than %d bytes", limit)
		}
	}
	b := make([]byte, size+1)
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return "", err
	}
	if b[size] != ',' {
		return "", errNetstring
	}
	return string(b[:size]), nil
}

// parseSocketmapReply reads "OK data", "NOTFOUND", or one of the errors.
func parseSocketmapReply(reply string) (value string, ok bool, err error) {
	word, text, _ := strings.Cut(reply, " ")
	switch word {
	case "OK":
		if strings.IndexByte(text, 0) >= 0 {
			return "", false, errRemoteNUL
		}
		return text, true, nil
	case "NOTFOUND":
		return "", false, nil
	}
	class, known := socketmapErrors[word]
	if !known {
		return "", false, fmt.Errorf("socketmap server sent an unknown reply: %q", clip(reply, 100))
	}
	if text = trimSpace(text); text == "" {
		return "", false, fmt.Errorf("socketmap server %s error", class)
	}
	return "", false, fmt.Errorf("socketmap server %s error: %s", class, printable(text, 200))
}

// Kind implements Table.
func (s *socketmap) Kind() Kind { return Pattern }

// String implements Table.
func (s *socketmap) String() string { return s.name }

// Close implements Table.
func (s *socketmap) Close() error { return s.server.close() }
