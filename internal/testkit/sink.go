package testkit

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Sink is an SMTP or LMTP server that takes mail and misbehaves as its script
// says. A script has one rule a line:
//
//	VERB [/REGEXP/] [times=N] ACTION [; ACTION ...]
//	name HOST       the name in the greeting
//	lmtp            speak LMTP
//	tls             offer STARTTLS
//
// VERB is a command, or CONNECT for the greeting, or DOT for the end of the
// data. The pattern is matched with the whole command line. An action is a
// reply ("450 4.2.0 later", "\n" parts the lines), "close", "reset" (TCP
// reset) or "stall DURATION". The first rule that matches replaces the ordinary
// reply; times=N lets it hold N times only. A message is accepted unless the
// rules say otherwise.
type Sink struct {
	// Addr is where it listens.
	Addr string

	setup    *sinkSetup
	listener net.Listener
	tlsConf  *tls.Config
	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup

	mu       sync.Mutex
	take     func(SinkMessage)
	messages []SinkMessage
	sessions []*SinkSession
	conns    map[net.Conn]bool
}

// SinkMessage is a message that a Sink accepted.
type SinkMessage struct {
	// Session is the number of the session, from 1.
	Session int
	// Client is the address of the peer, without its port.
	Client string
	// Helo, Mail and Rcpts are the arguments as sent; Rcpts has the accepted ones.
	Helo, Mail string
	Rcpts      []string
	// Data is the message, not dot-stuffed, lines ended as they came.
	Data string
	// TLS tells whether the session was encrypted.
	TLS bool
	// When is the time of the end of the data.
	When time.Time
}

// SinkSession is what one peer said, accepted or not.
type SinkSession struct {
	Client   string
	Commands []string
}

// StartSink listens at addr ("" means a free port of 127.0.0.1; a path means a
// UNIX socket) and follows the script.
func StartSink(addr, script string) (*Sink, error) {
	network := "tcp"
	switch {
	case addr == "":
		addr = "127.0.0.1:0"
	case strings.HasPrefix(addr, "/"):
		network = "unix"
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return ServeSink(l, script)
}

// ServeSink follows the script on a listener that the caller has opened.
func ServeSink(l net.Listener, script string) (*Sink, error) {
	setup, err := parseSink(script)
	if err != nil {
		return nil, err
	}
	s := &Sink{Addr: l.Addr().String(), setup: setup, listener: l, conns: map[net.Conn]bool{}}
	if setup.tls {
		cert, err := SelfSigned(setup.name)
		if err != nil {
			return nil, err
		}
		s.tlsConf = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.done.Add(1)
	// goroutine: ends when Close closes the listener.
	go s.accept()
	return s, nil
}

// OnMessage has f called with each message from now on, in place of keeping it.
func (s *Sink) OnMessage(f func(SinkMessage)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take = f
}

// Messages returns the accepted messages in the order of their arrival.
func (s *Sink) Messages() []SinkMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]SinkMessage(nil), s.messages...)
}

// Sessions returns what each peer said, in the order of connection.
func (s *Sink) Sessions() []SinkSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]SinkSession, len(s.sessions))
	for i, x := range s.sessions {
		out[i] = SinkSession{Client: x.Client, Commands: append([]string(nil), x.Commands...)}
	}
	return out
}

// Close stops listening, ends the open sessions and waits for them.
func (s *Sink) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // the session sees it and ends
	}
	s.mu.Unlock()
	s.done.Wait()
	return err
}

// accept takes connections until the listener closes.
func (s *Sink) accept() {
	defer s.done.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = true
		rec := &SinkSession{Client: hostOf(conn.RemoteAddr())}
		s.sessions = append(s.sessions, rec)
		x := &sinkConn{sink: s, conn: conn, raw: conn, r: bufio.NewReader(conn), record: rec, number: len(s.sessions)}
		s.mu.Unlock()
		s.done.Add(1)
		// goroutine: ends with the connection, at the latest when Close closes it.
		go func() {
			defer s.done.Done()
			x.run()
			_ = x.conn.Close()
			s.mu.Lock()
			delete(s.conns, x.raw)
			s.mu.Unlock()
		}()
	}
}

// rule returns the actions of the first rule that holds, and uses it up.
func (s *Sink) rule(verb, line string) []sinkAction {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.setup.rules {
		if r.verb != verb || r.left == 0 || r.match != nil && !r.match.MatchString(line) {
			continue
		}
		if r.left > 0 {
			r.left--
		}
		return r.actions
	}
	return nil
}

// hostOf is the address without its port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// sinkConn is one session.
type sinkConn struct {
	sink   *Sink
	conn   net.Conn
	raw    net.Conn
	r      *bufio.Reader
	record *SinkSession
	number int
	tls    bool
	helo   string
	mail   string
	rcpts  []string
}

// errSinkEnd ends a session from within.
var errSinkEnd = fmt.Errorf("end of session")

// run plays the server's part until the peer quits or a rule ends it.
func (c *sinkConn) run() {
	greeting := "220 " + c.sink.setup.name + " ESMTP"
	if c.sink.setup.lmtp {
		greeting = "220 " + c.sink.setup.name + " LMTP"
	}
	if _, err := c.answer("CONNECT", "", greeting); err != nil {
		return
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		c.sink.mu.Lock()
		c.record.Commands = append(c.record.Commands, line)
		c.sink.mu.Unlock()
		if err := c.command(line); err != nil {
			return
		}
	}
}

// command answers one line.
func (c *sinkConn) command(line string) error {
	verb, arg, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "EHLO", "LHLO", "HELO":
		c.helo = arg
		_, err := c.answer(verb, line, c.greet(verb))
		return err
	case "MAIL":
		ok, err := c.answer(verb, line, "250 2.1.0 Ok")
		if ok {
			c.mail, c.rcpts = arg, nil
		}
		return err
	case "RCPT":
		ok, err := c.answer(verb, line, "250 2.1.5 Ok")
		if ok {
			c.rcpts = append(c.rcpts, arg)
		}
		return err
	case "DATA":
		return c.data(line)
	case "STARTTLS":
		return c.startTLS(line)
	case "RSET":
		c.mail, c.rcpts = "", nil
		_, err := c.answer(verb, line, "250 2.0.0 Ok")
		return err
	case "QUIT":
		_, err := c.answer(verb, line, "221 2.0.0 Bye")
		if err == nil {
			err = errSinkEnd
		}
		return err
	case "NOOP", "XFORWARD", "AUTH":
		_, err := c.answer(verb, line, "250 2.0.0 Ok")
		return err
	}
	_, err := c.answer(verb, line, "500 5.5.2 Error: command not recognized")
	return err
}

// greet is the reply to EHLO, LHLO or HELO.
func (c *sinkConn) greet(verb string) string {
	if verb == "HELO" {
		return "250 " + c.sink.setup.name
	}
	words := []string{c.sink.setup.name, "PIPELINING", "SIZE 10240000"}
	if c.sink.tlsConf != nil && !c.tls {
		words = append(words, "STARTTLS")
	}
	words = append(words, "ENHANCEDSTATUSCODES", "8BITMIME", "DSN")
	var b strings.Builder
	for i, w := range words {
		sep := "-"
		if i == len(words)-1 {
			sep = " "
		}
		b.WriteString("250" + sep + w)
		if i < len(words)-1 {
			b.WriteString("\r\n")
		}
	}
	return b.String()
}

// data takes a message.
func (c *sinkConn) data(line string) error {
	if len(c.rcpts) == 0 {
		_, err := c.answer("DATA", line, "554 5.5.1 Error: no valid recipients")
		return err
	}
	ok, err := c.answer("DATA", line, "354 End data with <CR><LF>.<CR><LF>")
	if err != nil || !ok {
		return err
	}
	text, err := readDot(c.r)
	if err != nil {
		return err
	}
	m := SinkMessage{Session: c.number, Client: c.record.Client, Helo: c.helo, Mail: c.mail, Data: text, TLS: c.tls}
	// A message is there for the test before its sender hears of it.
	if !c.sink.setup.lmtp {
		m.Rcpts = c.rcpts
		return c.decide("DOT", "", "250 2.0.0 Ok: queued as SINK", func(ok bool) { c.keep(m, ok) })
	}
	// LMTP answers once for every recipient (RFC 2033 4.2).
	left := len(c.rcpts)
	for _, r := range c.rcpts {
		err = c.decide("DOT", r, "250 2.0.0 "+r+" Ok", func(ok bool) {
			if ok {
				m.Rcpts = append(m.Rcpts, r)
			}
			if left--; left == 0 {
				c.keep(m, len(m.Rcpts) > 0)
			}
		})
		if err != nil {
			break
		}
	}
	if left > 0 {
		c.keep(m, len(m.Rcpts) > 0)
	}
	return err
}

// keep records a message that was accepted.
func (c *sinkConn) keep(m SinkMessage, ok bool) {
	c.mail, c.rcpts = "", nil
	if !ok {
		return
	}
	m.When = time.Now()
	c.sink.mu.Lock()
	take := c.sink.take
	if take == nil {
		c.sink.messages = append(c.sink.messages, m)
	}
	c.sink.mu.Unlock()
	if take != nil {
		take(m)
	}
}

// startTLS runs the server side of a handshake.
func (c *sinkConn) startTLS(line string) error {
	if c.sink.tlsConf == nil {
		_, err := c.answer("STARTTLS", line, "500 5.5.2 Error: command not recognized")
		return err
	}
	ok, err := c.answer("STARTTLS", line, "220 2.0.0 Ready to start TLS")
	if err != nil || !ok {
		return err
	}
	t := tls.Server(c.conn, c.sink.tlsConf)
	if err := t.HandshakeContext(c.sink.ctx); err != nil {
		return err
	}
	c.conn, c.r, c.tls = t, bufio.NewReader(t), true
	return nil
}

// answer sends the reply of the matching rule, or the ordinary one, and tells
// whether it was positive.
func (c *sinkConn) answer(verb, line, ordinary string) (positive bool, err error) {
	err = c.decide(verb, line, ordinary, func(ok bool) { positive = ok })
	return positive, err
}

// decide is answer for who must know before a reply is sent whether it is positive.
func (c *sinkConn) decide(verb, line, ordinary string, reply func(positive bool)) error {
	actions := c.sink.rule(verb, line)
	if actions == nil {
		actions = []sinkAction{{kind: "reply", text: ordinary + "\r\n"}}
	}
	for _, a := range actions {
		switch a.kind {
		case "reply":
			reply(a.text[0] == '2' || a.text[0] == '3')
			if _, err := io.WriteString(c.conn, a.text); err != nil {
				return err
			}
		case "stall":
			Pause(c.sink.ctx, a.delay)
			if c.sink.ctx.Err() != nil {
				return errSinkEnd
			}
		case "reset":
			if t, ok := c.raw.(*net.TCPConn); ok {
				_ = t.SetLinger(0) // without it the peer sees an orderly end
			}
			return errSinkEnd
		case "close":
			return errSinkEnd
		}
	}
	return nil
}

// readDot reads DATA up to CRLF "." CRLF exactly (RFC 5321 4.1.1.4) and undoes
// the dot-stuffing of lines that follow a CRLF.
func readDot(r *bufio.Reader) (string, error) {
	var b strings.Builder
	start := true
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if start && line == ".\r\n" {
			return b.String(), nil
		}
		if start && strings.HasPrefix(line, ".") {
			line = line[1:]
		}
		b.WriteString(line)
		start = strings.HasSuffix(line, "\r\n")
		if b.Len() > 64<<20 {
			return "", fmt.Errorf("message of more than 64 MiB")
		}
	}
}
