package smtpd

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/sasl"
	"postroad/internal/sys"
	"postroad/internal/table"
	"postroad/internal/tlsmgr"
	"postroad/internal/wire"
)

// Server is the SMTP server of one master.cf service in one generation of the
// configuration. Its fields are set before Serve and not changed after.
type Server struct {
	// Settings are in force; Stress instead when all sessions that MaxSessions
	// allows are busy. A nil Stress is Settings.
	Settings, Stress *Settings
	// Service is the first column of master.cf, Tag the name in the log.
	Service, Tag string
	// MaxSessions is the process limit of the service; 0 means none.
	MaxSessions int

	Rooms
	Lists Lists
	// Scratch is where large messages wait for a filter; empty is the system's
	// directory for temporary files.
	Scratch string

	Log  event.Sink
	PIDs *event.PIDs
	// Master is the voice of master(8), or nil.
	Master *event.Logger

	mu       sync.Mutex
	sessions map[*session]struct{}
	listener net.Listener
	flow
	lacks lacks
	proxy *proxyFilter
	// refusals is nil when clients hear refusals as they are.
	refusals *refusals
	pool     wire.Pool
	slots    chan struct{}
	done     chan struct{}
	// waiting gives a connection to a goroutine that has ended a session.
	waiting chan net.Conn
	// draining is closed when drained is set.
	draining chan struct{}
}

// flow is what a server is doing.
type flow struct {
	closing, drained atomic.Bool
	// stressUntil is when stress ends, complained when the limit of sessions was
	// last complained of, both in seconds since 1970.
	stressUntil, complained atomic.Int64
	// serving is how many calls of Serve are under way, accepted how many
	// connections that it accepted are open.
	serving, accepted atomic.Int32
}

// Rooms are the parts of the mail system that sessions ask.
type Rooms struct {
	Access  Access
	Cleanup Cleanup
	// SASL and TLS are nil when not configured.
	SASL sasl.Server
	TLS  *tlsmgr.Server
	// Names finds client names; nil stands for smtpd_peername_lookup = no.
	Names Resolver
	// Rates counts per client over all services; nil counts nothing.
	Rates *Rates
	// Space tells whether the queue has room for a message; nil is yes.
	Space func() error
	// Senseless tells whether an address cannot be resolved because of its form,
	// as in user@@local.domain; nil is never.
	Senseless func(ctx context.Context, addr mail.Address) bool
	// Notices takes transcripts for the postmaster; nil has none.
	Notices Notices
	// Flush serves ETRN; nil refuses it.
	Flush Flusher
}

// Lists are the client lists of the settings; a nil one matches nobody.
type Lists struct {
	Xclient, Xforward, VERP HostMatcher
	RateExempt, AuthExempt  HostMatcher
	// Debug are the clients whose dialogue is logged.
	BareNewlineExempt, Debug HostMatcher
	// Commands finds other commands for those of clients; nil leaves all.
	Commands table.Table
	// DiscardEHLO finds EHLO keywords to leave out, by client address.
	DiscardEHLO Lookup
	// Filters are the mail filters.
	Filters Filters
	// Forbidden and Noop match command words.
	Forbidden, Noop func(word string) bool
}

// lacks is what the settings want and could not be set up: TLS, at a level that
// demands it or not.
type lacks struct{ tls, demanded bool }

// DemandsTLS tells whether no mail is taken without TLS. A server that should have
// TLS and could not set it up takes none at all.
func (s *Server) DemandsTLS() bool {
	return s.lacks.demanded || s.TLS != nil && s.TLS.Level >= tlsmgr.LevelEncrypt
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("smtpd: server closed")

// acceptPause is the wait after a failure to accept, such as too many files.
const acceptPause = 50 * time.Millisecond

// Serve accepts connections until the listener fails or Shutdown. While all
// sessions are taken it accepts none: clients wait in the kernel's queue.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.mu.Lock()
	s.listener = l
	s.prepare()
	s.mu.Unlock()
	if s.closing.Load() {
		return ErrServerClosed
	}
	if d, ok := l.(deadliner); ok {
		_ = d.SetDeadline(time.Time{}) // a drained server may have left one
	}
	s.serving.Add(1)
	defer s.serving.Add(-1)
	for {
		if err := s.slot(ctx); err != nil {
			return err
		}
		if s.drained.Load() {
			s.free()
			return ErrServerClosed
		}
		conn, err := l.Accept()
		if err != nil {
			s.free()
			if s.drained.Load() || s.closing.Load() || ctx.Err() != nil {
				return ErrServerClosed
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			if d, ok := l.(deadliner); ok && errors.Is(err, os.ErrDeadlineExceeded) {
				// Meant for the server before this one, which drains.
				_ = d.SetDeadline(time.Time{})
				if sys.Pause(ctx, handoverPause) != nil {
					return ErrServerClosed
				}
				continue
			}
			s.logger(0).Warnf("accept: %v", err)
			if sys.Pause(ctx, acceptPause) != nil {
				return ErrServerClosed
			}
			continue
		}
		s.taken()
		s.accepted.Add(1)
		select {
		case s.waiting <- conn:
		default:
			// goroutine: sessions, one after the other; ends with the last, see work.
			go s.work(ctx, conn)
		}
	}
}

// workerIdle is how long a goroutine waits for another session.
const workerIdle = time.Second

// work serves a connection, and then others that come soon: the stack of a
// goroutine grows with its first session, which costs one in twenty of all cycles
// when every session does it again.
func (s *Server) work(ctx context.Context, conn net.Conn) {
	timer := time.NewTimer(workerIdle)
	defer timer.Stop()
	for {
		s.serveSlot(ctx, conn)
		timer.Reset(workerIdle)
		select {
		case conn = <-s.waiting:
		case <-timer.C:
			return
		case <-s.done:
			return
		case <-s.draining:
			return
		}
	}
}

// serveSlot serves a connection that has a slot.
func (s *Server) serveSlot(ctx context.Context, conn net.Conn) {
	defer s.accepted.Add(-1)
	defer s.free()
	s.ServeConn(ctx, conn)
}

// prepare makes what the first session needs; the caller holds the lock.
func (s *Server) prepare() {
	if s.sessions == nil {
		s.sessions = make(map[*session]struct{})
		s.done = make(chan struct{})
		s.draining = make(chan struct{})
		s.waiting = make(chan net.Conn)
		if s.MaxSessions > 0 {
			s.slots = make(chan struct{}, s.MaxSessions)
		}
	}
}

// slot waits until a session may begin.
func (s *Server) slot(ctx context.Context) error {
	if s.slots == nil {
		return nil
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ErrServerClosed
	case <-s.done:
		return ErrServerClosed
	case <-s.draining:
		return ErrServerClosed
	}
	return nil
}

// taken takes note that the session of a slot begins: with the last one there is
// stress. A slot in which nobody has come yet is not one that is missed.
func (s *Server) taken() {
	if s.slots != nil && len(s.slots) == cap(s.slots) {
		s.full(time.Now())
	}
}

// stressTime is how long stress lasts after the last session was taken.
const stressTime = 1000 * time.Second

// full turns stress on, and complains now and then, as Postfix's master does when
// the last process is taken.
func (s *Server) full(now time.Time) {
	at := now.Unix()
	s.stressUntil.Store(at + int64(stressTime.Seconds()))
	last := s.complained.Load()
	if at-last <= int64(stressTime.Seconds()) && last != 0 || !s.complained.CompareAndSwap(last, at) || s.Master == nil {
		return
	}
	port := s.Service
	if n, err := postconf.LookupPort(port); err == nil {
		port = strconv.Itoa(n)
	}
	s.Master.Warnf("service \"%s\" (%s) has reached its process limit \"%d\": new clients may experience noticeable delays", s.Service, port, cap(s.slots))
	s.Master.Warnf("to avoid this condition, increase the process count in master.cf or reduce the service time per client")
	s.Master.Warnf("see https://www.postfix.org/STRESS_README.html for examples of stress-adapting configuration settings")
}

func (s *Server) free() {
	if s.slots != nil {
		<-s.slots
	}
}

// settings are those in force for a session that begins now.
func (s *Server) settings() *Settings {
	if s.Stress != nil && time.Now().Unix() < s.stressUntil.Load() {
		return s.Stress
	}
	return s.Settings
}

// ServeConn serves one connection and closes it.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) { s.serveConn(ctx, conn, nil) }

// serveConn serves a connection, from postscreen when h is not nil.
func (s *Server) serveConn(ctx context.Context, conn net.Conn, h *Handover) {
	pid := 0
	if s.PIDs != nil {
		pid = s.PIDs.Next()
	}
	ses := newSession(s, conn, s.logger(pid))
	ses.serial.pid = pid
	s.mu.Lock()
	s.prepare()
	s.sessions[ses] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.sessions, ses)
		last := s.closing.Load() && len(s.sessions) == 0
		if last {
			s.closeDone()
		}
		s.mu.Unlock()
	}()
	ses.run(ctx, h)
}

func (s *Server) logger(pid int) *event.Logger {
	return event.NewLogger(s.Log, s.Tag, pid)
}

// closeDone wakes those who wait for the end; the caller holds the lock.
func (s *Server) closeDone() {
	select {
	case <-s.done:
	default:
		close(s.done)
	}
}

// Sessions is the number of sessions under way.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Shutdown stops accepting, ends idle sessions with 421, and waits for the
// others until ctx ends; then it closes their connections. A message whose
// content has been accepted is answered for.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	s.closing.Store(true) // Accept may fail from now on
	var err error
	if l != nil {
		err = l.Close()
	}
	return errors.Join(err, s.Dismiss(ctx))
}

// Dismiss ends the sessions of a server that accepts no more: they hear 421 (RFC
// 5321 3.8) before their next command, and are cut off when ctx ends first. It
// returns nil when they are over and a drained server has left its listener.
func (s *Server) Dismiss(ctx context.Context) error {
	s.mu.Lock()
	s.prepare()
	s.closing.Store(true)
	for ses := range s.sessions {
		ses.wake()
	}
	if len(s.sessions) == 0 {
		s.closeDone()
	}
	s.mu.Unlock()
	over := s.leave(ctx)
	if over == nil {
		select {
		case <-s.done:
			return nil
		case <-ctx.Done():
			over = ctx.Err()
		}
	}
	s.mu.Lock()
	for ses := range s.sessions {
		ses.kill()
	}
	s.mu.Unlock()
	return over
}

// leave makes the Serve of a drained server return. The server of the next
// generation clears the deadline that wakes it, perhaps before it is seen: so it
// is set until Serve is gone.
func (s *Server) leave(ctx context.Context) error {
	s.mu.Lock()
	d, ok := s.listener.(deadliner)
	s.mu.Unlock()
	if !ok || !s.drained.Load() {
		return nil // Shutdown has closed the listener
	}
	for s.serving.Load() > 0 {
		_ = d.SetDeadline(time.Unix(1, 0)) // a closed one accepts nothing either
		if sys.Pause(ctx, handoverPause) != nil {
			return ctx.Err()
		}
	}
	return nil
}

// deadliner is a listener whose Accept can be ended without closing it.
type deadliner interface{ SetDeadline(t time.Time) error }

// Drain stops accepting and leaves the listener open, for the server of the next
// generation, which may have begun to serve it. Sessions end by themselves. Drain
// returns nil when Serve has returned and all have ended, or else the error of
// ctx; it cuts nobody off.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.prepare()
	l := s.listener
	if !s.drained.Swap(true) {
		close(s.draining)
	}
	s.mu.Unlock()
	tick := time.NewTicker(drainPause)
	defer tick.Stop()
	for {
		switch d, ok := l.(deadliner); {
		case s.serving.Load() > 0 && ok:
			// Again each time: the next server may clear it before Accept sees it.
			_ = d.SetDeadline(time.Unix(1, 0)) // a closed one accepts nothing either
		case s.accepted.Load() == 0 && s.Sessions() == 0:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// handoverPause lets the server that drains see the deadline before the next one
// clears it again.
const handoverPause = 5 * time.Millisecond

// drainPause is how often a drained server looks whether its sessions ended.
const drainPause = 200 * time.Millisecond
