package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/wire"
)

// session is one client connection.
type session struct {
	srv *Server
	set *Settings
	ctx context.Context
	log *event.Logger

	// raw is the network connection, conn what is spoken over: raw or TLS.
	raw, conn net.Conn
	r         *wire.Reader
	w         *wire.Writer

	peer   mail.Session
	access *access.Checker
	req    access.Request
	tx     transaction

	// where is the command or stage for the log, reason why the session ends
	// otherwise than by QUIT.
	where, reason string
	counts        counts
	errors, junk  int
	code          int
	denied        string
	mask          ehloMask
	flags         sessionFlags

	// deadline is the end of the current request under smtpd_per_request_deadline.
	deadline time.Time
	// waiting is set while the session waits for a command.
	waiting atomic.Bool
}

// sessionFlags are small facts about a session.
type sessionFlags struct {
	// hangup ends the session after the current reply; quiet without a reply.
	hangup bool
	// pipelined is set once the client has talked out of turn.
	pipelined bool
	// trusted clients are not counted: XCLIENT hosts and rateExempt.
	xclient, xforward, rateExempt  bool
	authExempt, bareLF, bareExempt bool
	verp, rated                    bool
}

// errShutdown wakes a session that waits for a command.
var errShutdown = errors.New("smtpd: shutting down")

func newSession(srv *Server, conn net.Conn, log *event.Logger) *session {
	s := &session{srv: srv, set: srv.settings(), log: log, raw: conn, conn: conn, where: "CONNECT"}
	s.r = wire.NewReader(conn, &srv.pool)
	s.r.BeforeRead(s.beforeRead)
	s.w = wire.NewWriter(conn, &srv.pool)
	s.peer = mail.Session{Service: srv.Service, Connected: time.Now()}
	s.peer.Client = mail.Peer{Name: "unknown", ReverseName: "unknown",
		NameStatus: mail.NameUnknown, ReverseStatus: mail.NameUnknown}
	s.peer.Client.Addr, s.peer.Client.Port = addrPort(conn.RemoteAddr())
	a, p := addrPort(conn.LocalAddr())
	s.peer.Server = netip.AddrPortFrom(a, p)
	s.req.Session = &s.peer
	s.req.Pipelined = func() bool { return s.r.Buffered() > 0 }
	return s
}

// addrPort takes a network address apart; a socket of the local machine has
// the loopback address, as in Postfix.
func addrPort(a net.Addr) (netip.Addr, uint16) {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return ap.Addr().Unmap(), ap.Port()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0
}

// client is how the log names the client.
func (s *session) client() string {
	c := s.peer.Client.String()
	if s.set.PortLogging {
		c = fmt.Sprintf("%s:%d", c, s.peer.Client.Port)
	}
	return c
}

// run is the whole session.
func (s *session) run(ctx context.Context) {
	s.ctx = ctx
	defer s.close()
	defer s.contain()
	s.lookupName()
	s.log.Emit(&event.Connect{Client: s.client(), Service: s.srv.Service})
	defer s.farewell()
	defer s.contain()
	if s.srv.Access != nil {
		s.access = s.srv.Access.Begin()
	}
	s.classify()
	if !s.open() {
		return
	}
	for s.step() {
	}
}

// contain turns a panic into the end of this session alone.
func (s *session) contain() {
	v := recover()
	if v == nil {
		return
	}
	s.log.Errorf("panic in session with %s: %v: %s", s.client(), v, debug.Stack())
	s.abort()
	s.deadline = time.Time{}
	s.reply(421, "4.3.0", s.set.Hostname+" Server local error")
	_ = s.w.Flush() // the client may be gone too
}

// step serves one command; false ends the session.
func (s *session) step() bool {
	if s.flags.hangup {
		return s.finish()
	}
	if s.errors >= s.set.HardErrorLimit {
		s.reason = "too many errors"
		s.reply(421, "4.7.0", s.set.Hostname+" Error: too many errors")
		return s.finish()
	}
	line, err := s.readLine(s.set.LineLimit)
	if err != nil {
		return s.readFailed(err)
	}
	s.dispatch(line)
	return !s.flags.hangup || s.finish()
}

// finish sends what is left to say; it returns false.
func (s *session) finish() bool {
	_ = s.w.Flush() // nothing more to say to a client that is gone
	return false
}

// readLine waits for a line.
func (s *session) readLine(limit int) ([]byte, error) {
	s.startRequest()
	s.waiting.Store(true)
	line, bare, err := s.r.Line(limit)
	s.waiting.Store(false)
	if err == nil && bare {
		s.noteBareLF()
	}
	return line, err
}

// startRequest begins the time of a request.
func (s *session) startRequest() {
	if s.set.RequestDeadline {
		s.deadline = time.Now().Add(s.set.Timeout)
	}
}

// beforeRead is called before a read that may wait: replies go out, the time
// limit is set.
func (s *session) beforeRead() error {
	if err := s.flush(); err != nil {
		return err
	}
	d := s.deadline
	if !s.set.RequestDeadline {
		d = time.Now().Add(s.set.Timeout)
	}
	if err := s.conn.SetReadDeadline(d); err != nil {
		return err
	}
	if s.waiting.Load() && s.srv.closing.Load() {
		return errShutdown
	}
	return nil
}

// flush writes the replies collected so far.
func (s *session) flush() error {
	if s.w.Buffered() == 0 {
		return nil
	}
	d := s.deadline
	if !s.set.RequestDeadline || time.Until(d) < time.Second {
		d = time.Now().Add(s.set.Timeout)
	}
	if err := s.conn.SetWriteDeadline(d); err != nil {
		return err
	}
	return s.w.Flush()
}

// readFailed ends the session for a read error; it returns whether to go on.
func (s *session) readFailed(err error) bool {
	switch {
	case errors.Is(err, wire.ErrLineTooLong):
		s.reply(500, "5.5.2", "Error: line too long")
		s.errors++
		return true
	case errors.Is(err, errShutdown), s.srv.closing.Load() && errors.Is(err, os.ErrDeadlineExceeded):
		s.reason = "shutdown"
		s.reply(421, "4.3.2", s.set.Hostname+" Service shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.reason = "timeout"
		s.deadline = time.Time{}
		s.reply(421, "4.4.2", s.set.Hostname+" Error: timeout exceeded")
	default:
		s.reason = "lost connection"
	}
	s.code = max(s.code, 400) // whatever was asked did not succeed
	s.flags.hangup = true
	s.deadline = time.Now().Add(time.Second)
	_ = s.conn.SetWriteDeadline(s.deadline) // shows at the write
	return s.finish()
}

// reply collects a reply. 421 and 521 end the session (RFC 5321 3.8, RFC 7504).
func (s *session) reply(code int, enhanced, text string) {
	if s.set.SoftBounce && code/100 == 5 {
		code -= 100
		if enhanced != "" {
			enhanced = "4" + enhanced[1:]
		}
	}
	if s.errors >= s.set.SoftErrorLimit {
		if s.flush() == nil {
			sleep(s.ctx, s.set.ErrorSleep)
		}
	}
	s.code = code
	if code == 421 || code == 521 {
		s.flags.hangup = true
	}
	_ = s.w.Reply(code, enhanced, text) // the first error stays and shows at Flush
}

// status replies with a status of another room.
func (s *session) status(st mail.Status) { s.reply(st.Code, st.Enhanced, st.Text) }

// wake ends the wait for a command.
func (s *session) wake() {
	if s.waiting.Load() {
		_ = s.raw.SetReadDeadline(time.Unix(1, 0)) // a closed one is awake
	}
}

// kill closes the connection under the session.
func (s *session) kill() { _ = s.raw.Close() }

// farewell ends the transaction and logs the end of the session.
func (s *session) farewell() {
	s.logEnd()
	s.abort()
	if s.flags.rated {
		s.srv.Rates.disconnect(s.rateKey())
	}
	e := &event.Disconnect{Client: s.client(), Service: s.srv.Service, Counts: s.counts.list()}
	if s.flags.bareLF {
		e.Note = "bare_lf"
	}
	s.log.Emit(e)
}

// logEnd logs an end otherwise than by QUIT.
func (s *session) logEnd() {
	if s.reason == "" || s.reason == "shutdown" {
		return
	}
	e := &event.SessionEnded{ID: s.tx.id, Reason: s.reason, After: s.where, Client: s.client(), Bytes: -1}
	if s.where == "DATA" || s.where == "BDAT" {
		e.Bytes = s.tx.bytes
	}
	s.log.Emit(e)
}

// close releases everything.
func (s *session) close() {
	s.r.Release()
	s.w.Release()
	_ = s.conn.Close() // TLS tells the client; nothing to do when it cannot
	_ = s.raw.Close()
}
