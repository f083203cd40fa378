package table

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of the connections to one lookup server.
const (
	// maxRemote bounds the lookups that one server works on at a time; the
	// others wait for their turn, within their time.
	maxRemote = 32
	// remoteIdle is how long a connection stays open without work, and
	// remoteAge how long it is used at all, so that a server that is moved to
	// another address is left within that time.
	remoteIdle = 10 * time.Second
	remoteAge  = 100 * time.Second
	// remoteTimeout bounds one question and its answer.
	remoteTimeout = 100 * time.Second
	// remoteBuffer is the size of a connection's read buffer.
	remoteBuffer = 4096
)

// Errors of the conversation with a lookup server.
var (
	errRemoteGarbage = errors.New("the server sent more than one reply")
	errRemoteNUL     = errors.New("the reply contains a null byte")
)

// connectError marks a failure to connect.
type connectError struct {
	server string
	cause  error
}

// Error implements error.
func (e *connectError) Error() string {
	return fmt.Sprintf("connect to %s: %v", e.server, Reason(e.cause))
}

// Unwrap returns the cause.
func (e *connectError) Unwrap() error { return e.cause }

// dialer connects as net.Dialer does.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// remote is a lookup server and the connections to it.
type remote struct {
	// network and address are as for net.Dial.
	network, address string
	dial             dialer
	// open makes a connection that is ready for questions.
	open func(ctx context.Context) (*remoteConn, error)
	// wait bounds the time for a free connection, timeout that and the
	// conversation.
	wait, timeout time.Duration
	// maxIdle and maxAge are remoteIdle and remoteAge or what takes their place.
	maxIdle, maxAge time.Duration
	// slots has one element per connection in use.
	slots chan struct{}

	mu     sync.Mutex
	idle   []*remoteConn
	sweep  *time.Timer
	closed bool
}

// remoteConn is one connection.
type remoteConn struct {
	net.Conn
	r *bufio.Reader
	// buf is where a request is put together.
	buf []byte
	// serial is the number of the last request, where the protocol has numbers.
	serial     int
	born, used time.Time
}

// newRemoteConn begins to use a connection.
func newRemoteConn(conn net.Conn) *remoteConn {
	return &remoteConn{Conn: conn, r: bufio.NewReaderSize(conn, remoteBuffer), born: time.Now()}
}

// newRemote returns the server that a text like "inet:host:port" or
// "unix:path" names.
func newRemote(text string, timeout time.Duration, o *Options) (*remote, error) {
	kind, where, _ := strings.Cut(text, ":")
	s := &remote{
		wait: timeout, timeout: timeout, maxIdle: remoteIdle, maxAge: remoteAge,
		dial: new(net.Dialer).DialContext, slots: make(chan struct{}, maxRemote),
	}
	s.open = s.connect
	switch {
	case kind == "" || where == "":
		return nil, fmt.Errorf("need transport:endpoint instead of \"%s\"", text)
	case kind == "inet":
		s.network = "tcp"
		address, err := hostPort(where)
		s.address = address
		return s, err
	case kind == "unix" || kind == "local":
		s.network, s.address = "unix", o.path(where)
		return s, nil
	}
	return nil, fmt.Errorf("invalid transport name: %s in service: %s", kind, text)
}

// connect makes a connection to the one address of the server.
func (s *remote) connect(ctx context.Context) (*remoteConn, error) {
	conn, err := s.dial(ctx, s.network, s.address)
	if err != nil {
		return nil, &connectError{s.address, err}
	}
	return newRemoteConn(conn), nil
}

// do has one conversation with the server, within its time. A connection that
// was kept from an earlier one may have been closed by the server meanwhile,
// which says nothing about the server: then it is done again on a new one.
func (s *remote) do(ctx context.Context, talk func(*remoteConn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer func() { <-s.slots }()
	if c := s.take(); c != nil {
		err := s.talk(ctx, c, talk)
		if err == nil || !lost(err) {
			return err
		}
		s.drop()
	}
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	return s.talk(ctx, c, talk)
}

// enter waits until the server has a connection to spare.
func (s *remote) enter(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("all %d connections to %s are busy: %w", cap(s.slots), s.address, ctx.Err())
	}
}

// talk has a conversation on c, and keeps or closes c after it. When the time is
// over, the connection is closed under the conversation.
func (s *remote) talk(ctx context.Context, c *remoteConn, talk func(*remoteConn) error) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	err := talk(c)
	if err == nil && c.r.Buffered() > 0 {
		err = errRemoteGarbage
	}
	switch {
	case !stop():
		err = ctx.Err()
	case err == nil:
		s.keep(c)
		return nil
	}
	c.Close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.DeadlineExceeded
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no reply from %s in time: %w", s.address, err)
	}
	return err
}

// lost tells whether err is that of a connection that the other side closed.
func lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// take returns the connection that was used last, nil when there is none that
// is fit for use.
func (s *remote) take() *remoteConn {
	for {
		s.mu.Lock()
		n := len(s.idle)
		if n == 0 {
			s.mu.Unlock()
			return nil
		}
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		if now := time.Now(); now.Sub(c.used) < s.maxIdle && now.Sub(c.born) < s.maxAge && quiet(c.Conn) {
			return c
		}
		c.Close()
	}
}

// quiet tells whether nothing has come in on a connection without work: no end,
// and no reply to a question that nobody asked. Below TLS there may be data that
// is none of the protocol above it, like session tickets.
func quiet(conn net.Conn) bool {
	var encrypted bool
	if layer, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn, encrypted = layer.NetConn(), true
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	clean := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		clean = err == syscall.EAGAIN || err == syscall.EINTR || err == nil && n > 0 && encrypted
		return true
	})
	return err == nil && clean
}

// keep puts a connection aside for the next conversation.
func (s *remote) keep(c *remoteConn) {
	c.used = time.Now()
	if c.SetDeadline(time.Time{}) != nil {
		c.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return
	}
	s.idle = append(s.idle, c)
	if s.sweep == nil {
		s.sweep = time.AfterFunc(s.maxIdle, s.expire)
	}
}

// expire closes the connections that had no work for long. The oldest ones are
// first in the list because the last one is always taken first.
func (s *remote) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, n := time.Now(), 0
	for n < len(s.idle) && now.Sub(s.idle[n].used) >= s.maxIdle {
		s.idle[n].Close()
		n++
	}
	s.idle = append(s.idle[:0], s.idle[n:]...)
	s.sweep = nil
	if len(s.idle) > 0 && !s.closed {
		s.sweep = time.AfterFunc(s.idle[0].used.Add(s.maxIdle).Sub(now), s.expire)
	}
}

// drop closes the connections without work.
func (s *remote) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.idle {
		c.Close()
	}
	s.idle = s.idle[:0]
}

// close closes what is open. A lookup that is under way ends first.
func (s *remote) close() error {
	s.drop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.sweep != nil {
		s.sweep.Stop()
	}
	return nil
}
