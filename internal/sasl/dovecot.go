package sasl

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of the conversation with Dovecot.
const (
	dovecotLine    = 16 << 10 // a line, as Dovecot itself bounds it
	dovecotLines   = 100      // lines of a handshake
	dovecotIdle    = 4        // connections kept for the next client
	dovecotTimeout = 30 * time.Second
)

// dovecot speaks version 1 of Dovecot's authentication protocol, as a client.
// An exchange has a connection for itself; idle ones are kept.
type dovecot struct {
	policy
	network, address, service string

	mu    sync.Mutex
	idle  []*dovecotConn
	mechs []mechanism
}

// dovecotConn is a connection after the handshake.
type dovecotConn struct {
	net.Conn
	r     *bufio.Reader
	mechs []mechanism
	id    uint32
}

func newDovecot(s *Settings, pol policy) (*dovecot, error) {
	d := &dovecot{policy: pol, service: s.Service}
	switch {
	case strings.HasPrefix(s.Path, "inet:"):
		addr := s.Path[len("inet:"):]
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("smtpd_sasl_path = %s: host:port expected", s.Path)
		}
		d.network, d.address = "tcp", net.JoinHostPort(host, port)
	default:
		path := strings.TrimPrefix(s.Path, "unix:")
		if path == "" {
			return nil, errors.New("smtpd_sasl_path: path of Dovecot's auth socket expected")
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.QueueDir, path)
		}
		d.network, d.address = "unix", path
	}
	return d, nil
}

// Mechanisms implements Server. The list of the last handshake will do.
func (d *dovecot) Mechanisms(ctx context.Context, tls bool) ([]string, error) {
	d.mu.Lock()
	mechs := d.mechs
	d.mu.Unlock()
	if mechs == nil {
		c, err := d.connect(ctx)
		if err != nil {
			return nil, &TemporaryError{Reason: "Connection lost to authentication server", Cause: err}
		}
		mechs = c.mechs
		d.put(c)
	}
	return d.names(mechs, tls), nil
}

// connect makes a connection and does the handshake.
func (d *dovecot) connect(ctx context.Context) (*dovecotConn, error) {
	dialer := net.Dialer{Timeout: dovecotTimeout}
	dialer.SetMultipathTCP(false)
	nc, err := dialer.DialContext(ctx, d.network, d.address)
	if err != nil {
		return nil, err
	}
	c := &dovecotConn{Conn: nc, r: bufio.NewReaderSize(nc, 1024), id: rand.Uint32N(1 << 30)}
	if err := c.handshake(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	d.mu.Lock()
	d.mechs = c.mechs
	d.mu.Unlock()
	return c, nil
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

// get takes an idle connection, or makes one.
func (d *dovecot) get(ctx context.Context) (c *dovecotConn, reused bool, err error) {
	d.mu.Lock()
	if n := len(d.idle); n > 0 {
		c = d.idle[n-1]
		d.idle = d.idle[:n-1]
	}
	d.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	c, err = d.connect(ctx)
	return c, false, err
}

// put gives a connection back that has no exchange under way.
func (d *dovecot) put(c *dovecotConn) {
	d.mu.Lock()
	keep := len(d.idle) < dovecotIdle
	if keep {
		d.idle = append(d.idle, c)
	}
	d.mu.Unlock()
	if !keep {
		_ = c.Close()
	}
}

// Begin implements Server.
func (d *dovecot) Begin(ctx context.Context, r *Request) (Exchange, error) {
	if _, err := d.Mechanisms(ctx, hasTLS(r.Session)); err != nil {
		return nil, err
	}
	d.mu.Lock()
	mechs := d.mechs
	d.mu.Unlock()
	m, err := d.find(mechs, r.Mechanism, hasTLS(r.Session))
	if err != nil {
		return nil, err
	}
	x := &dovecotExchange{srv: d, request: d.authLine(m.name, r), user: initialUser(m.name, r.Initial), mech: m.name}
	return x, nil
}

// authLine is the request behind its number. The response must come last.
func (d *dovecot) authLine(mech string, r *Request) string {
	var b strings.Builder
	b.WriteString(mech + "\tservice=" + escape(d.service) + "\tnologin")
	if s := r.Session; s != nil {
		if s.Server.IsValid() {
			b.WriteString("\tlip=" + s.Server.Addr().Unmap().String())
			b.WriteString("\tlport=" + strconv.Itoa(int(s.Server.Port())))
		}
		if s.Client.Addr.IsValid() {
			b.WriteString("\trip=" + s.Client.AddrString())
			b.WriteString("\trport=" + strconv.Itoa(int(s.Client.Port)))
		}
		if s.TLS != nil {
			b.WriteString("\tsecured")
		}
	}
	if r.HasInitial {
		b.WriteString("\tresp=" + base64.StdEncoding.EncodeToString(r.Initial))
	}
	return b.String()
}

// escape keeps what separates fields and lines out of a value.
func escape(s string) string {
	return strings.NewReplacer("\t", " ", "\n", " ", "\r", " ", "\x00", " ").Replace(s)
}

// initialUser finds the login name in an initial response, for the log.
func initialUser(mech string, initial []byte) string {
	switch mech {
	case "PLAIN":
		if parts := strings.Split(string(initial), "\x00"); len(parts) == 3 {
			return parts[1]
		}
	case "LOGIN":
		return string(initial)
	}
	return ""
}

// dovecotExchange is one authentication by Dovecot.
type dovecotExchange struct {
	srv     *dovecot
	conn    *dovecotConn
	id      string
	mech    string
	request string
	user    string
	steps   int
}

// Username implements Exchange.
func (x *dovecotExchange) Username() string { return x.user }

// Close implements Exchange. A connection in the middle of an exchange is of no
// more use.
func (x *dovecotExchange) Close() {
	if x.conn != nil {
		_ = x.conn.Close()
		x.conn = nil
	}
}

// Next implements Exchange.
func (x *dovecotExchange) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	var answer string
	var err error
	if x.steps++; x.steps == 1 {
		answer, err = x.start(ctx)
	} else {
		if x.mech == "LOGIN" && x.user == "" {
			x.user = string(response)
		}
		if x.mech == "PLAIN" && x.user == "" {
			x.user = initialUser(x.mech, response)
		}
		answer, err = x.ask(ctx, "CONT\t"+x.id+"\t"+base64.StdEncoding.EncodeToString(response)+"\n")
	}
	if err != nil {
		x.Close()
		return nil, false, &TemporaryError{Reason: "Connection lost to authentication server", Cause: err}
	}
	return x.answer(answer)
}

// start sends the request. A kept connection may have been closed by a restart
// of Dovecot, so that the first failure is not the last.
func (x *dovecotExchange) start(ctx context.Context) (string, error) {
	for {
		c, reused, err := x.srv.get(ctx)
		if err != nil {
			return "", err
		}
		c.id++
		x.conn, x.id = c, strconv.FormatUint(uint64(c.id), 10)
		answer, err := x.ask(ctx, "AUTH\t"+x.id+"\t"+x.request+"\n")
		if err == nil || !reused {
			return answer, err
		}
		x.Close()
	}
}

// ask sends a line and waits for the answer to it.
func (x *dovecotExchange) ask(ctx context.Context, line string) (string, error) {
	if x.conn == nil {
		return "", io.ErrClosedPipe
	}
	x.conn.limit(ctx)
	if _, err := io.WriteString(x.conn, line); err != nil {
		return "", err
	}
	for range dovecotLines {
		answer, err := x.conn.line()
		if err != nil {
			return "", err
		}
		// Answers to other requests, and lines of no interest, are passed over.
		if fields := strings.SplitN(answer, "\t", 3); len(fields) >= 2 && fields[1] == x.id {
			return answer, nil
		}
	}
	return "", errors.New("no answer from authentication server")
}

// answer interprets what Dovecot said.
func (x *dovecotExchange) answer(line string) ([]byte, bool, error) {
	fields := strings.Split(line, "\t")
	rest := fields[min(2, len(fields)):]
	switch fields[0] {
	case "CONT":
		if len(rest) == 0 {
			return nil, false, nil
		}
		challenge, err := base64.StdEncoding.DecodeString(rest[0])
		if err != nil {
			x.Close()
			return nil, false, &TemporaryError{Reason: "Malformed answer of authentication server"}
		}
		return challenge, false, nil
	case "OK":
		x.release()
		user, _, _ := params(rest)
		if user == "" {
			return nil, false, &TemporaryError{Reason: "Authentication server did not tell the user"}
		}
		x.user = user
		return nil, true, nil
	case "FAIL":
		x.release()
		user, reason, temporary := params(rest)
		if user != "" {
			x.user = user
		}
		if temporary {
			if reason == "" {
				reason = "Temporary authentication failure"
			}
			return nil, false, &TemporaryError{Reason: reason}
		}
		return nil, false, &AuthError{Reason: reason}
	}
	x.Close()
	return nil, false, &TemporaryError{Reason: "Malformed answer of authentication server"}
}

// release gives the connection back for the next exchange.
func (x *dovecotExchange) release() {
	if x.conn != nil {
		x.srv.put(x.conn)
		x.conn = nil
	}
}

// params reads the parameters of OK and FAIL.
func params(fields []string) (user, reason string, temporary bool) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "user":
			user = value
		case "reason":
			reason = value
		case "temp":
			temporary = true
		}
	}
	return user, reason, temporary
}
