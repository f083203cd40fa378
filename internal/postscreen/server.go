package postscreen

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"postroad/internal/event"
	"postroad/internal/postconf"
	"postroad/internal/sys"
	"postroad/internal/table"
	"postroad/internal/tlsmgr"
	"postroad/internal/wire"
)

// Server is the gate of one master.cf service in one generation of the
// configuration. Its fields are set before Serve and not changed after.
type Server struct {
	Settings *Settings
	// Service is the first column of master.cf.
	Service string
	// HandOff gives a connection to the SMTP server behind and returns when a
	// session has begun, or after an error, with which the connection stays ours.
	HandOff func(ctx context.Context, h *Handover) error
	// TLS is nil when it is not configured.
	TLS *tlsmgr.Server

	log, tlsLog *event.Logger
	cache       *Cache
	lists       lists
	rules       rules
	pool        wire.Pool

	mu      sync.Mutex
	clients map[netip.Addr]*clientInfo
	conns   map[*client]struct{}
	// checking are the clients here, posting those of them that wait for smtpd;
	// stressed is set between the two marks of checking.
	checking, posting int
	stressed          bool
	listener          net.Listener
	closing, drained  atomic.Bool
	serving           atomic.Int32
}

// Handover is a connection that has passed.
type Handover struct {
	Conn net.Conn
	// Read is what was read of it and not answered.
	Read []byte
	// Client and Server are its ends, which a proxy may have named.
	Client, Server netip.AddrPort
	// Wait bounds how long it may wait for a session.
	Wait time.Duration
}

// lists are what clients are looked up in.
type lists struct {
	access     *accessList
	interfaces *table.MatchList
	forbidden  *table.MatchList
	scorer     *scorer
	// discard finds EHLO keywords to leave out, footer text for a reply, filter
	// another command; nil finds nothing.
	discard, footer *table.Maps
	filter          table.Table
}

// rules are settings in the form in which they are used.
type rules struct {
	enabled set
	actions [checks]action
	deny    action
	// minTTL is the least time that any result is good for.
	ttl    [checks]time.Duration
	minTTL time.Duration
	mask   mask
	// allowed are the characters that the value of a name in a footer may have.
	allowed *postconf.Charset
	// stress are the settings under stress, of which the times count.
	stress *Settings
	// noTLSProxy tells that master.cf has no tlsproxy(8), which is how Postfix
	// turns TLS off here.
	noTLSProxy bool
	// tlsLog is how much is logged of TLS.
	tlsLog string
}

// clientInfo is what the connections of one client share.
type clientInfo struct {
	connections, passes int
	until               stamps
}

// ErrServerClosed is what Serve returns after Shutdown or Drain.
var ErrServerClosed = errors.New("postscreen: server closed")

const (
	acceptPause   = 50 * time.Millisecond
	handoverPause = 5 * time.Millisecond
	drainPause    = 200 * time.Millisecond
	// handoffWait is how long a client may wait for smtpd.
	handoffWait = 100 * time.Second
	// writeLimit bounds the writing of one reply: a client that does not read is
	// not waited for.
	writeLimit = time.Second
)

// deadliner is a listener whose Accept can be ended without closing it.
type deadliner interface{ SetDeadline(t time.Time) error }

// Serve accepts connections until the listener fails, Shutdown or Drain.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	if d, ok := l.(deadliner); ok {
		_ = d.SetDeadline(time.Time{}) // a drained server may have left one
	}
	s.serving.Add(1)
	defer s.serving.Add(-1)
	context.AfterFunc(ctx, s.hangUp)
	if s.cache != nil && s.Settings.CacheCleanup > 0 {
		cleaning, cancel := context.WithCancel(ctx)
		defer cancel()
		// goroutine: cleans the cache; ends with Serve.
		go s.cleanCache(cleaning)
	}
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			// goroutine: one client; ends with its connection or its handover.
			go s.ServeConn(ctx, conn)
			continue
		case s.closing.Load() || s.drained.Load() || ctx.Err() != nil:
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		}
		if d, ok := l.(deadliner); ok && errors.Is(err, os.ErrDeadlineExceeded) {
			// Meant for the server before this one, which drains.
			_ = d.SetDeadline(time.Time{})
			_ = sys.Pause(ctx, handoverPause)
			continue
		}
		s.log.Warnf("accept: %v", err)
		_ = sys.Pause(ctx, acceptPause)
	}
}

// cleanCache forgets clients that were not seen for long, now and then.
func (s *Server) cleanCache(ctx context.Context) {
	every := s.Settings.CacheCleanup
	for {
		s.cache.clean(every, time.Now(), func(t *stamps) bool {
			return t.todo(s.rules.enabled, time.Now().Add(-s.Settings.CacheRetention).Unix()) == 0
		})
		t := time.NewTimer(every)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// Shutdown stops accepting and hangs up on everybody who is not in a session yet.
func (s *Server) Shutdown(context.Context) error {
	s.closing.Store(true)
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	s.hangUp()
	if l == nil {
		return nil
	}
	return l.Close()
}

// Dismiss hangs up on the clients of a server that accepts no more.
func (s *Server) Dismiss(context.Context) error {
	s.closing.Store(true)
	s.hangUp()
	return nil
}

// hangUp closes all connections.
func (s *Server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.raw.Close()
	}
}

// Drain stops accepting and leaves the listener open, for the server of the next
// generation. It returns nil when all clients are gone, or else the error of ctx.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	s.drained.Store(true)
	tick := time.NewTicker(drainPause)
	defer tick.Stop()
	for {
		switch d, ok := l.(deadliner); {
		case s.serving.Load() > 0 && ok:
			// Again each time: the next server may clear it before Accept sees it.
			_ = d.SetDeadline(time.Unix(1, 0)) // a closed one accepts nothing either
		case s.Clients() == 0:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Clients is how many clients are here now.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// crowd is who is there when a client comes in, itself included: its connections,
// the clients in tests, and those that wait for smtpd.
type crowd struct{ own, testing, posting int }

// enter counts a client in.
func (s *Server) enter(c *client) crowd {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checking++
	if high := s.Settings.PreQueue * 9 / 10; !s.stressed && s.checking >= high {
		s.stressed = true
		s.log.Infof("entering STRESS mode with %d connections", s.checking)
	}
	addr := c.ends.Client.Addr()
	if c.info = s.clients[addr]; c.info == nil {
		if s.clients == nil {
			s.clients = map[netip.Addr]*clientInfo{}
		}
		c.info = &clientInfo{}
		s.clients[addr] = c.info
	}
	c.info.connections++
	return crowd{c.info.connections, s.checking - s.posting, s.posting}
}

// leave counts it out.
func (s *Server) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checking--
	if low := s.Settings.PreQueue * 7 / 10; s.stressed && s.checking <= low {
		s.stressed = false
		s.log.Infof("leaving STRESS mode with %d connections", s.checking)
	}
	if c.info.connections--; c.info.connections == 0 {
		delete(s.clients, c.ends.Client.Addr())
	}
}

// current are the settings whose times hold now.
func (s *Server) current() *Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stressed && s.rules.stress != nil {
		return s.rules.stress
	}
	return s.Settings
}
