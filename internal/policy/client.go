package policy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"postroad/internal/sys"
)

// Client asks one policy server. It is safe for concurrent use.
type Client struct {
	cfg Config
	// path is the address to connect to.
	path string
	// slots bounds the connections in use.
	slots chan struct{}
	// utf8 refuses actions that are no UTF-8.
	utf8 bool

	mu   sync.Mutex
	idle []*conn // the one used last is the last one
	reap *time.Timer
}

// conn is one connection.
type conn struct {
	net.Conn
	raw      syscall.RawConn
	in       *bufio.Reader
	opened   time.Time
	released time.Time
	requests int
}

// Options say how a Client behaves beside what a Config tells.
type Options struct {
	// QueueDir is where relative paths of sockets begin.
	QueueDir string
	// MaxConns bounds the connections at a time.
	MaxConns int
	// UTF8 refuses actions that are no UTF-8 (smtputf8_enable).
	UTF8 bool
}

// New returns a Client; nothing is connected yet.
func New(cfg Config, opt Options) *Client {
	c := &Client{cfg: cfg, path: cfg.Address, utf8: opt.UTF8, slots: make(chan struct{}, max(opt.MaxConns, 1))}
	if cfg.Network == "unix" && !filepath.IsAbs(c.path) {
		c.path = filepath.Join(opt.QueueDir, c.path)
	}
	return c
}

// Config is what the Client was made of.
func (c *Client) Config() *Config { return &c.cfg }

// ErrNoAnswer says that the server has not answered; the log has the reasons.
var ErrNoAnswer = errors.New("the policy server does not answer")

// Warn writes a warning to the log.
type Warn func(format string, args ...any)

// Ask sends a request until there is an answer, and returns the action. The
// warnings are those of Postfix.
func (c *Client) Ask(ctx context.Context, request []byte, warn Warn) (string, error) {
	for try := 1; ; try++ {
		action, err := c.once(ctx, request, warn)
		if err == nil {
			if c.utf8 && !utf8.ValidString(action) {
				warn("malformed UTF-8 in policy server %s response: \"%s\"", c.cfg.Spec, action)
				return "", ErrNoAnswer
			}
			return action, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		last := try >= c.cfg.TryLimit
		if last || !passes(err) {
			warn("problem talking to server %s: %s", c.cfg.Address, reason(err))
		}
		if last {
			return "", ErrNoAnswer
		}
		if err := sys.Pause(ctx, c.cfg.RetryDelay); err != nil {
			return "", err
		}
	}
}

// passes tells whether an error is worth a warning only when it comes again: a
// server that restarts closes its connections, and its socket is away for a
// moment.
func passes(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno == syscall.EPIPE || errno == syscall.ENOENT || errno == syscall.ECONNRESET
	}
	return !isTimeout(err)
}

// once sends a request one time.
func (c *Client) once(ctx context.Context, request []byte, warn Warn) (string, error) {
	wait := time.NewTimer(c.cfg.Timeout)
	defer wait.Stop()
	select {
	case c.slots <- struct{}{}:
	case <-wait.C:
		return "", os.ErrDeadlineExceeded
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-c.slots }()
	k, err := c.connection(ctx)
	if err != nil {
		warn("connect to %s: %s", c.cfg.Address, reason(err))
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = k.Close() })
	action, err := k.exchange(request, c.cfg.Timeout)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = k.Close()
		c.explain(err, warn)
		return "", err
	}
	c.release(k)
	return action, nil
}

// explain says what was wrong with a reply.
func (c *Client) explain(err error, warn Warn) {
	switch {
	case err == errPremature:
		warn("premature end-of-input on %s while reading input attribute name", c.cfg.Address)
	case err == errNoAction, err == errNoValue, err == errTooLong:
		warn("%v from %s", err, c.cfg.Address)
	case isTimeout(err):
		warn("timeout on %s while reading input attribute name", c.cfg.Address)
	}
}

func (k *conn) exchange(request []byte, timeout time.Duration) (string, error) {
	if err := k.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := k.Write(request); err != nil {
		return "", err
	}
	k.requests++
	return readReply(k.in)
}

// connection takes a kept connection, or makes one.
func (c *Client) connection(ctx context.Context) (*conn, error) {
	for {
		k := c.take()
		if k == nil {
			return c.dial(ctx)
		}
		if time.Since(k.opened) < c.cfg.MaxTTL && time.Since(k.released) < c.cfg.MaxIdle && k.quiet() {
			return k, nil
		}
		_ = k.Close()
	}
}

func (c *Client) take() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return nil
	}
	k := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return k
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	d := net.Dialer{Timeout: c.cfg.Timeout}
	d.SetMultipathTCP(false)
	nc, err := d.DialContext(ctx, c.cfg.Network, c.path)
	if err != nil {
		return nil, err
	}
	k := &conn{Conn: nc, in: bufio.NewReaderSize(nc, 1<<10), opened: time.Now()}
	if sc, ok := nc.(syscall.Conn); ok {
		k.raw, err = sc.SyscallConn()
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return k, nil
}

// quiet tells that the server has neither closed the connection nor sent
// something that nobody asked for.
func (k *conn) quiet() bool {
	if k.in.Buffered() > 0 {
		return false
	}
	if k.raw == nil {
		return true
	}
	silent := false
	err := k.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		silent = err == unix.EAGAIN
		return true
	})
	return err == nil && silent
}

// release keeps a connection for the next request.
func (c *Client) release(k *conn) {
	if c.cfg.RequestLimit > 0 && k.requests >= c.cfg.RequestLimit {
		_ = k.Close()
		return
	}
	k.released = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, k)
	if c.reap == nil {
		c.reap = time.AfterFunc(c.cfg.MaxIdle, c.expire)
	}
}

// expire closes what has not been used for long.
func (c *Client) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, kept := time.Now(), c.idle[:0]
	for _, k := range c.idle {
		if now.Sub(k.released) >= c.cfg.MaxIdle || now.Sub(k.opened) >= c.cfg.MaxTTL {
			_ = k.Close()
			continue
		}
		kept = append(kept, k)
	}
	clear(c.idle[len(kept):])
	c.idle, c.reap = kept, nil
	if len(kept) > 0 {
		c.reap = time.AfterFunc(c.cfg.MaxIdle-now.Sub(kept[0].released), c.expire)
	}
}

// Close closes the connections that nobody uses.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.idle {
		_ = k.Close()
	}
	c.idle = nil
	if c.reap != nil {
		c.reap.Stop()
		c.reap = nil
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// reason words an error; for a server that does not answer as it should the C
// library has no word.
func reason(err error) string {
	switch err {
	case io.EOF, errPremature, errNoAction, errNoValue:
		return "Application error"
	}
	return sys.Reason(err)
}
