package sasl

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Bounds of the conversation with Dovecot.
const (
	dovecotLine  = 16 << 10 // a line, as Dovecot itself bounds it
	dovecotLines = 100      // lines of a handshake
	dovecotIdle  = 4        // connections kept for the next client
	// dovecotGreeting is for connecting and the handshake, dovecotTimeout for an
	// answer: Dovecot slows clients down that fail.
	dovecotGreeting = 10 * time.Second
	dovecotTimeout  = 30 * time.Second
)

// dovecot speaks version 1 of Dovecot's authentication protocol, as a client.
// An exchange has a connection for itself; idle ones are kept.
type dovecot struct {
	policy
	network, address, service string
	// path is the address as it is set.
	path string

	mu    sync.Mutex
	idle  []*dovecotConn
	mechs []mechanism
}

// newDovecot makes the server of smtpd_sasl_type = dovecot.
func newDovecot(s *Settings, pol policy, _ *Deps) (Server, error) {
	d := &dovecot{policy: pol, service: s.Service, path: s.Path}
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
			return nil, d.unreachable(err)
		}
		mechs = c.mechs
		d.put(c)
	}
	return d.names(ctx, mechs, tls), nil
}

// unreachable is the error when there is no connection.
func (d *dovecot) unreachable(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = fmt.Errorf("SASL: Connect to Dovecot auth socket '%s' failed: %w", d.path, systemReason(err))
	} else {
		err = fmt.Errorf("SASL: %w", err)
	}
	return &TemporaryError{Reason: "Can't connect to authentication server", Cause: err}
}

// connect makes a connection and does the handshake.
func (d *dovecot) connect(ctx context.Context) (*dovecotConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dovecotGreeting)
	defer cancel()
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	nc, err := dialer.DialContext(ctx, d.network, d.address)
	if err != nil {
		return nil, err
	}
	c := newDovecotConn(nc)
	if err := c.handshake(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	d.mu.Lock()
	d.mechs = c.mechs
	d.mu.Unlock()
	return c, nil
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
	if _, err := d.find(ctx, mechs, r.Mechanism, hasTLS(r.Session)); err != nil {
		return nil, err
	}
	return &dovecotExchange{srv: d, request: d.authLine(r.Mechanism, r)}, nil
}

// authLine is the request behind its number. The response must come last.
func (d *dovecot) authLine(mech string, r *Request) string {
	var b strings.Builder
	b.WriteString(mech + "\tservice=" + escape(d.service) + "\tnologin")
	if s := r.Session; s != nil {
		if s.Server.IsValid() {
			b.WriteString("\tlip=" + s.Server.Addr().Unmap().String())
		}
		if s.Client.Addr.IsValid() {
			b.WriteString("\trip=" + s.Client.AddrString())
		}
		if s.Server.IsValid() && s.Client.Addr.IsValid() {
			fmt.Fprintf(&b, "\tlport=%d\trport=%d", s.Server.Port(), s.Client.Port)
		}
		if s.TLS != nil {
			b.WriteString("\tsecured")
		}
	}
	switch {
	case !r.HasInitial:
	case len(r.Initial) == 0:
		b.WriteString("\tresp==") // nothing would be no initial response
	default:
		b.WriteString("\tresp=" + base64.StdEncoding.EncodeToString(r.Initial))
	}
	return b.String()
}

// escape keeps what separates fields and lines out of a value.
func escape(s string) string {
	return strings.NewReplacer("\t", " ", "\n", " ", "\r", " ", "\x00", " ").Replace(s)
}

// dovecotExchange is one authentication by Dovecot.
type dovecotExchange struct {
	srv     *dovecot
	conn    *dovecotConn
	id      string
	request string
	// user is what Dovecot said, as in Postfix: never what the client said.
	user  string
	steps int
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
		if answer, err = x.start(ctx); x.conn == nil && err != nil {
			return nil, false, x.srv.unreachable(err)
		}
	} else {
		answer, err = x.ask(ctx, "CONT\t"+x.id+"\t"+base64.StdEncoding.EncodeToString(response)+"\n")
	}
	if err != nil {
		x.Close()
		return nil, false, x.lost(err)
	}
	return x.answer(answer)
}

// lost is the error when the connection broke. That the server closed it says
// nothing, so that it is not logged.
func (x *dovecotExchange) lost(err error) error {
	e := &TemporaryError{Reason: "Connection lost to authentication server"}
	if !errors.Is(err, io.EOF) {
		e.Cause = fmt.Errorf("SASL: %w", systemReason(err))
	}
	return e
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
		if err == nil || !reused || errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, err
		}
		x.Close()
	}
}

// dovecotReplies are the answers to a request.
var dovecotReplies = [...]string{"OK", "CONT", "FAIL"}

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
		fields := strings.SplitN(answer, "\t", 3)
		if len(fields) >= 2 && fields[1] == x.id && slices.Contains(dovecotReplies[:], fields[0]) {
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
			return nil, false, x.odd("missing Dovecot server CONT reply field")
		}
		challenge, err := base64.StdEncoding.DecodeString(rest[0])
		if err != nil {
			return nil, false, x.odd("Dovecot server CONT reply is not in base64")
		}
		return challenge, false, nil
	case "OK":
		if x.user, _, _ = params(rest); x.user == "" {
			return nil, false, x.odd("missing Dovecot server OK username field")
		}
		x.release()
		return nil, true, nil
	case "FAIL":
		x.release()
		user, reason, temporary := params(rest)
		x.user = user
		if temporary {
			return nil, false, &TemporaryError{Reason: reason}
		}
		return nil, false, &AuthError{Reason: reason, Decided: true}
	}
	return nil, false, x.odd("unexpected Dovecot server reply")
}

// odd is the error for an answer that cannot be understood: the connection is of
// no more use.
func (x *dovecotExchange) odd(what string) error {
	x.Close()
	return &TemporaryError{Reason: "Authentication backend error", Cause: errors.New(what)}
}

// release gives the connection back for the next exchange.
func (x *dovecotExchange) release() {
	if x.conn != nil {
		x.srv.put(x.conn)
		x.conn = nil
	}
}

// params reads the parameters of OK and FAIL. Texts are made fit for a log.
func params(fields []string) (user, reason string, temporary bool) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "user":
			user = printable(value)
		case "reason":
			reason = printable(value)
		case "temp":
			temporary = true
		case "code":
			temporary = temporary || value == "temp_fail"
		}
	}
	return user, reason, temporary
}

// printable replaces control characters and what is no UTF-8, byte by byte.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
