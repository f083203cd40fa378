package smtp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/sys"
)

// features are what a server offers.
type features uint32

const (
	featESMTP features = 1 << iota
	featPipelining
	feat8Bit
	featSize
	featDSN
	featUTF8
	featStartTLS
	featAuth
	featXForward
	featRequireTLS
	featPIXDelay
	featXName
	featXAddr
	featXPort
	featXProto
	featXHelo
	featXIdent
	featXSource
)

// keywords are the EHLO keywords that we know.
var keywords = map[string]features{
	"PIPELINING": featPipelining, "8BITMIME": feat8Bit, "SIZE": featSize, "DSN": featDSN, "SMTPUTF8": featUTF8,
	"STARTTLS": featStartTLS, "AUTH": featAuth, "XFORWARD": featXForward, "REQUIRETLS": featRequireTLS,
}

var xforwardNames = map[string]features{
	"NAME": featXName, "ADDR": featXAddr, "PORT": featXPort, "PROTO": featXProto, "HELO": featXHelo, "IDENT": featXIdent, "SOURCE": featXSource,
}

func keywordFeature(name string) features { return keywords[strings.ToUpper(name)] }

// session is one connection to a server.
type session struct {
	c    *Client
	t    target
	conn net.Conn
	// raw is the connection below TLS; closing it wakes whoever waits.
	raw net.Conn
	// name is "host[addr]", relay "host[addr]:port", as logs show them.
	name, relay string
	rd          replyReader
	// out collects what is sent next; outBuf is its pooled memory.
	out    []byte
	outBuf *[]byte
	feat   features
	size   int64
	mechs  string
	user   string // logged in as
	pol    policy
	tls    *mail.TLS
	// log and id are those of the delivery under way.
	log *event.Logger
	id  mail.QueueID
	// tlsText is what the log says about TLS.
	tlsText, requireText string
	// key is where the cache keeps the session, uses counts transactions.
	key    string
	uses   int
	opened time.Time
	// dirty means that a transaction must be reset before the next one; broken
	// that no more can be said; noCache that the state is in doubt; quitSent
	// that QUIT is on its way.
	dirty, broken, noCache, quitSent bool
	// idle, next, depth and pooled belong to the cache.
	idle   *time.Timer
	next   *session
	depth  int
	pooled bool
}

// connect opens a connection to a server.
func (c *Client) connect(ctx context.Context, t target) (*session, *failure) {
	s := &session{c: c, t: t, opened: time.Now()}
	if t.path != "" {
		s.name = t.host + "[" + t.path + "]"
		s.relay = s.name
	} else {
		s.name = t.host + "[" + t.addr.String() + "]"
		s.relay = s.name + ":" + strconv.Itoa(int(t.port))
	}
	if c.Settings.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Settings.ConnectTimeout)
		defer cancel()
	}
	conn, err := c.dial(ctx, t)
	if err != nil {
		return nil, newFailure("4.4.1", "connect to "+s.relay+": "+sys.Reason(err))
	}
	s.conn, s.raw = conn, conn
	s.rd.buf = make([]byte, readBufSize)
	s.rd.reset(conn)
	if c.ReplyFilter != nil {
		s.rd.filter = s.replyFilter
	}
	c.watch(ctx, s)
	return s, nil
}

// dial connects from the source address of the configuration.
func (c *Client) dial(ctx context.Context, t target) (net.Conn, error) {
	if t.path != "" {
		path := t.path
		if !filepath.IsAbs(path) {
			path = filepath.Join(c.Common.QueueDir, path)
		}
		return c.Dial(ctx, "unix", path, nil)
	}
	address := netip.AddrPortFrom(t.addr, t.port).String()
	local := c.source(t.addr)
	conn, err := c.Dial(ctx, "tcp", address, local)
	var se *os.SyscallError
	if err == nil || local == nil || !errors.As(err, &se) || se.Syscall != "bind" {
		return conn, err
	}
	c.Log.Warnf("bind %v: %s", local, sys.Reason(err))
	if c.Settings.BindAddressEnforce {
		return nil, err
	}
	return c.Dial(ctx, "tcp", address, nil)
}

// source is the local address for a server, or nil.
func (c *Client) source(to netip.Addr) net.Addr {
	text, one := c.Settings.BindAddress, c.Source4
	if !to.Is4() {
		text, one = c.Settings.BindAddress6, c.Source6
	}
	if text != "" {
		if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
			one = a
		}
	}
	if !one.IsValid() || one.IsUnspecified() {
		return nil
	}
	return &net.TCPAddr{IP: one.AsSlice(), Zone: one.Zone()}
}

// abandon wakes whoever waits for the server, for good.
func (s *session) abandon() { s.raw.Close() }

// flush sends what was collected.
func (s *session) flush(timeout time.Duration) error {
	if len(s.out) == 0 {
		return nil
	}
	if err := setDeadline(s.conn, timeout); err != nil {
		return err
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// command sends one line and reads the reply.
func (s *session) command(line string, timeout time.Duration, each func([]byte)) (reply, error) {
	s.say([]byte(line))
	return s.exchange(line, timeout, each)
}

// secret is command for a line that nobody else may see; shown is what a log has
// in its place.
func (s *session) secret(line, shown string, timeout time.Duration) (reply, error) {
	s.say([]byte(shown))
	return s.exchange(line, timeout, nil)
}

// exchange sends a line and reads the reply.
func (s *session) exchange(line string, timeout time.Duration, each func([]byte)) (reply, error) {
	s.c.takeBuf(s)
	s.out = append(append(s.out, line...), '\r', '\n')
	if err := s.flush(timeout); err != nil {
		return reply{}, err
	}
	return s.read(timeout, each)
}

// read reads one reply. After a line that was no reply the session is not
// kept, because replies may be out of step.
func (s *session) read(timeout time.Duration, each func([]byte)) (reply, error) {
	r, err := s.rd.read(timeout, each)
	if s.rd.garbage && !s.noCache {
		s.noCache = true
		word := "ESMTP"
		if s.c.LMTP {
			word = "LMTP"
		}
		s.log.Warnf("%s: non-%s response from %s: %.100s", s.id, word, s.relay, r.text)
	}
	return r, err
}

// takeBuf gives the session a write buffer, giveBuf takes it back.
func (c *Client) takeBuf(s *session) {
	if s.outBuf == nil {
		s.outBuf = c.bufs.Get().(*[]byte)
		s.out = (*s.outBuf)[:0]
	}
}

func (c *Client) giveBuf(s *session) {
	if s.outBuf != nil {
		if cap(s.out) <= 2*outBufSize {
			*s.outBuf = s.out[:0]
		}
		c.bufs.Put(s.outBuf)
		s.outBuf, s.out = nil, nil
	}
}

// cacheable tells that the session is in a known, idle state.
func (s *session) cacheable() bool {
	return !s.broken && !s.noCache && !s.quitSent && s.rd.buffered() == 0
}

// quit ends the session, politely when it is still in step.
func (s *session) quit() {
	defer s.conn.Close()
	if s.broken || s.quitSent {
		return
	}
	timeout := s.c.Settings.QuitTimeout
	if s.c.Settings.SkipQuitResponse {
		// Nothing waits for the server, so neither does this write for long.
		timeout = min(timeout, time.Second)
	}
	setDeadline(s.conn, timeout)
	text := "QUIT\r\n"
	if s.dirty {
		// A transaction that came to nothing is taken back.
		if s.feat&featPipelining == 0 {
			s.say([]byte("RSET\r\n"))
			s.conn.Write([]byte("RSET\r\n"))
			if _, err := s.read(timeout, nil); err != nil {
				return
			}
		} else {
			text = "RSET\r\nQUIT\r\n"
		}
	}
	s.say([]byte(text))
	if _, err := s.conn.Write([]byte(text)); err != nil || s.c.Settings.SkipQuitResponse {
		return
	}
	s.read(timeout, nil)
}

// hello goes from the greeting to the point where a transaction can begin.
// On failure the recipients are answered or kept.
func (a *attempt) hello(ctx context.Context, s *session) bool {
	set := &a.c.Settings
	if set.TLSWrapperMode {
		if s.pol.level < LevelEncrypt {
			s.broken = true
			a.d.Logger.Warnf("%s_tls_wrappermode requires \"%s_tls_security_level = encrypt\" (or stronger)", a.c.proto(), a.c.proto())
			a.bulkFail(s, newFailure("4.7.5", "TLS wrapper mode requires TLS security level encrypt or stronger"), failThrottle)
			return false
		}
		if !a.handshake(ctx, s) {
			return false
		}
	}
	if !a.greeting(ctx, s) || !a.ehlo(ctx, s) {
		return false
	}
	if !set.TLSWrapperMode && !a.startTLS(ctx, s) {
		return false
	}
	if !a.required(s) {
		return false
	}
	s.tlsText, s.requireText = a.tlsText, a.requireText
	return a.login(ctx, s)
}

// greeting reads the 220 of the server.
func (a *attempt) greeting(ctx context.Context, s *session) bool {
	r, err := s.read(a.c.Settings.HeloTimeout, nil)
	if err != nil {
		a.ioFail(ctx, s, err, "receiving the initial server greeting")
		return false
	}
	if r.class() == 2 {
		if a.c.Common.AlwaysEHLO || bytes.Contains(bytes.ToUpper(r.text), []byte("ESMTP")) {
			s.feat |= featESMTP
		}
		if a.c.Common.NeverEHLO {
			s.feat &^= featESMTP
		}
		if isPIX(r.text) {
			a.pix(ctx, s)
		}
		return true
	}
	f := a.refused(&r, s)
	if r.class() == 5 && a.c.Settings.Skip5xxGreeting {
		f.soften()
	}
	a.bulkFail(s, f, failThrottle)
	return false
}

// refused is the failure when a server does not want to begin.
func (a *attempt) refused(r *reply, s *session) *failure {
	return replyFailure(r, s.t.host, "host "+s.name+" refused to talk to me: ", "")
}

// ehlo says hello and learns what the server can do.
func (a *attempt) ehlo(ctx context.Context, s *session) bool {
	set := &a.c.Settings
	verb := "EHLO"
	if a.c.LMTP {
		verb = "LHLO"
	}
	if a.c.LMTP || s.feat&featESMTP != 0 {
		discard := a.discards(ctx, s)
		s.feat, s.size, s.mechs = featESMTP|s.feat&featPIXDelay, 0, ""
		first, loops := true, false
		r, err := s.command(verb+" "+set.HeloName, set.HeloTimeout, func(line []byte) {
			if first {
				word, _, _ := bytes.Cut(bytes.TrimLeft(line, " "), []byte(" "))
				loops = strings.EqualFold(string(word), a.c.Common.MyHostname)
				first = false
				return
			}
			s.feature(line, discard)
		})
		switch {
		case err != nil:
			a.ioFail(ctx, s, err, "performing the "+verb+" handshake")
			return false
		case r.class() == 2:
			return !loops || a.notMyself(s)
		case a.c.LMTP || r.code == 421:
			a.bulkFail(s, a.refused(&r, s), failThrottle)
			return false
		}
		s.feat &= featPIXDelay
	}
	r, err := s.command("HELO "+set.HeloName, set.HeloTimeout, nil)
	switch {
	case err != nil:
		a.ioFail(ctx, s, err, "performing the HELO handshake")
		return false
	case r.class() != 2:
		a.bulkFail(s, a.refused(&r, s), failThrottle)
		return false
	}
	return true
}

// notMyself decides about a server that says it has our name: on the standard
// port that is a loop.
func (a *attempt) notMyself(s *session) bool {
	if a.c.LMTP || s.t.port != 25 {
		return true
	}
	a.d.Logger.Warnf("host %s replied to HELO/EHLO with my own hostname %s", s.relay, a.c.Common.MyHostname)
	dsn := "4.4.6"
	if s.t.best {
		dsn = "5.4.6"
	}
	a.bulkFail(s, newFailure(dsn, "mail for "+string(a.d.Route.Nexthop)+" loops back to myself"), failThrottle)
	return false
}

// feature takes one line of an EHLO reply; discard are features not to use.
func (s *session) feature(line []byte, discard features) {
	words := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '=' })
	if len(words) == 0 {
		return
	}
	f := keywordFeature(string(words[0])) &^ discard
	s.feat |= f
	switch f {
	case featSize:
		if len(words) > 1 {
			n, err := strconv.ParseInt(string(words[1]), 10, 64)
			if err != nil || n < 0 {
				s.log.Warnf("bad EHLO SIZE limit %q from %s", words[1], s.relay)
				return
			}
			s.size = n
		}
	case featAuth:
		s.mechs = string(bytes.ToUpper(bytes.Join(words[1:], []byte(" "))))
	case featXForward:
		for _, w := range words[1:] {
			s.feat |= xforwardNames[strings.ToUpper(string(w))]
		}
	}
}
