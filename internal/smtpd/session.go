package smtpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"postroad/internal/access"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/sys"
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
	// refused is the last refusal of access control.
	refused mail.Status
	req     access.Request
	tx      transaction
	// filters are the mail filters of the session.
	filters filtering

	// where is the command or stage for the log, reason why the session ends
	// otherwise than by QUIT.
	where, reason string
	counts        counts
	errors, junk  int
	// line is the current command when a filter may want it, code the reply to it.
	line  string
	code  int
	mask  ehloMask
	flags sessionFlags
	// name is how the log names the client; rated is the key it is counted by.
	name  string
	rated rateKey
	// login is the name of the last failed login.
	login  string
	serial serial

	// deadline is the end of the current request under smtpd_per_request_deadline.
	deadline time.Time
	chat     chat
	// waiting is set while the session waits for a command.
	waiting atomic.Bool
}

// serial tells the transactions of all sessions apart.
type serial struct {
	// pid is the number of the session in the log, mails counts its transactions.
	pid, mails int
}

// sessionFlags are small facts about a session.
type sessionFlags struct {
	// hangup ends the session after the current reply.
	hangup bool
	// failed tells that the current command is an error whatever the reply.
	failed bool
	// pipelined is set once the client has talked out of turn, denied when it
	// was turned away at the greeting.
	pipelined, denied bool
	// xclient, xforward and verp clients may use these commands; exempt ones
	// are not counted, need no AUTH, may send bare line feeds.
	xclient, xforward, verp            bool
	rateExempt, authExempt, bareExempt bool
	// debug tells that the dialogue is logged.
	debug bool
	// bareLF is set when a bare line feed is to be noted; rated when the
	// connection is counted; handed when postscreen has seen the client.
	bareLF, rated, handed bool
}

// errShutdown wakes a session that waits for a command.
var errShutdown = errors.New("smtpd: shutting down")

func newSession(srv *Server, conn net.Conn, log *event.Logger) *session {
	s := &session{srv: srv, set: srv.settings(), log: log, raw: conn, conn: conn, where: "CONNECT"}
	s.r = wire.NewReader(conn, &srv.pool)
	s.r.BeforeRead(s.beforeRead)
	s.w = wire.NewWriter(conn, &srv.pool)
	s.chat.wanted = wantedClasses(s.set.NotifyClasses)
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
	if s.name == "" {
		s.name = s.peer.Client.String()
		if s.set.PortLogging {
			s.name += ":" + strconv.Itoa(int(s.peer.Client.Port))
		}
	}
	return s.name
}

// run is the whole session.
func (s *session) run(ctx context.Context, h *Handover) {
	s.ctx = ctx
	defer s.close()
	defer s.contain()
	known := s.identify(h)
	s.lookupName()
	s.name = ""
	s.log.Emit(&event.Connect{Client: s.client(), Service: s.srv.Service})
	defer s.farewell()
	defer s.contain()
	if s.srv.Access != nil {
		s.access = s.srv.Access.Begin()
	}
	if !known {
		s.reply(421, "4.3.0", s.set.Hostname+" Server local error")
		s.finish()
		s.chat.forget() // nobody has said anything yet
		return
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
	s.errors = 0 // no delay now
	s.reply(421, "4.3.0", s.set.Hostname+" Server local error")
	s.finish()
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
	if errors.Is(err, wire.ErrLineTooLong) || errors.Is(err, wire.ErrNoResync) {
		return s.tooLong()
	}
	if err != nil {
		return s.readFailed(err)
	}
	s.chat.heard(line)
	if s.flags.debug {
		s.debug("<", withoutSecret(line))
	}
	s.dispatch(line)
	return !s.flags.hangup || s.finish()
}

// lastWords is how long a client that is about to be left may take to listen.
const lastWords = time.Second

// finish sends what is left to say; it returns false.
func (s *session) finish() bool {
	// An error means that the client is gone already.
	if s.w.Buffered() > 0 && s.conn.SetWriteDeadline(time.Now().Add(lastWords)) == nil {
		_ = s.w.Flush()
	}
	return false
}

// readLine waits for a line.
func (s *session) readLine(limit int) ([]byte, error) {
	s.startRequest()
	s.waiting.Store(true)
	line, bare, err := s.r.Line(limit)
	s.waiting.Store(false)
	if err == nil && bare {
		s.bareLF()
	}
	return line, err
}

// startRequest begins the time of a request.
func (s *session) startRequest() {
	if s.set.RequestDeadline {
		s.deadline = time.Now().Add(s.set.Timeout)
	}
}

// extend gives a request under a deadline the time that n bytes of content take
// at smtpd_min_data_rate, up to the time limit of a request.
func (s *session) extend(n int) {
	if !s.set.RequestDeadline || s.set.MinDataRate <= 0 {
		return
	}
	d := s.deadline.Add(time.Duration(n) * time.Second / time.Duration(s.set.MinDataRate))
	if limit := time.Now().Add(s.set.Timeout); d.After(limit) {
		d = limit
	}
	s.deadline = d
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

// tooLong ends the session of a client that sends an overlong line: whatever
// follows was perhaps meant as part of it.
func (s *session) tooLong() bool {
	s.log.Warnf("%s: request longer than %d", s.client(), s.set.LineLimit)
	s.reply(500, "5.5.2", "Error: line too long")
	s.flags.hangup = true
	return s.finish()
}

// readFailed ends the session for a read error; it returns false.
func (s *session) readFailed(err error) bool {
	s.flags.hangup, s.flags.failed = true, true // whatever was asked did not succeed
	switch {
	case errors.Is(err, errShutdown), s.srv.closing.Load() && errors.Is(err, os.ErrDeadlineExceeded):
		s.reason = "shutdown"
		s.reply(421, "4.3.2", s.set.Hostname+" Service shutting down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.reason = "timeout"
		s.reply(421, "4.4.2", s.set.Hostname+" Error: timeout exceeded")
	default:
		s.reason = "lost connection"
	}
	return s.finish()
}

// reply collects a reply. 421 and 521 end the session (RFC 5321 3.8, RFC 7504).
func (s *session) reply(code int, enhanced, text string) {
	if s.errors >= s.set.SoftErrorLimit {
		if s.flush() == nil {
			_ = sys.Pause(s.ctx, s.set.ErrorSleep) // the next read fails
		}
	}
	if s.srv.refusals != nil && code >= 400 {
		s.refuse(code, enhanced, text)
		return
	}
	if s.set.SoftBounce && code/100 == 5 {
		code -= 100
		if enhanced != "" {
			enhanced = "4" + enhanced[1:]
		}
	}
	s.said(code)
	s.chat.said(code, enhanced, text)
	if s.flags.debug {
		for line := range strings.SplitSeq(inLines(code, enhanced, text), "\r\n") {
			s.debug(">", []byte(line))
		}
	}
	_ = s.w.Reply(code, enhanced, text) // the first error stays and shows at Flush
}

// said notes the code of a reply.
func (s *session) said(code int) {
	s.code = code
	if code == 421 || code == 521 {
		s.flags.hangup = true
	}
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
	s.endFilters()
	if s.flags.rated {
		s.srv.Rates.disconnect(s.rated)
	}
	e := &event.Disconnect{Client: s.client(), Service: s.srv.Service, Counts: s.counts.list()}
	if s.flags.bareLF {
		e.Note = "bare_lf"
	}
	s.log.Emit(e)
	s.notify()
}

// logEnd logs an end otherwise than by QUIT.
func (s *session) logEnd() {
	if s.reason == "" || s.reason == "shutdown" {
		return
	}
	e := &event.SessionEnded{ID: s.tx.id, Reason: s.reason, After: s.where, Client: s.client(), Bytes: -1}
	if s.where == "DATA" {
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
