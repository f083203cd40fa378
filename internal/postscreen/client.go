package postscreen

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"postroad/internal/event"
	"postroad/internal/wire"
)

// haproxy is the one protocol of postscreen_upstream_proxy_protocol.
const haproxy = "haproxy"

// client is one connection.
type client struct {
	srv *Server
	set *Settings
	ctx context.Context

	// raw is the network connection, conn what is spoken over: raw or TLS.
	raw, conn net.Conn
	r         *wire.Reader
	ends      ends
	// name is [address]:port, for the log.
	name string
	info *clientInfo

	// todo are the tests that this client has to pass; passed may still turn into
	// failed for those of the protocol; decided are those that are over.
	todo, passed, failed, decided set
	facts                         facts
	// began is when the current stage began, stage its name in the log.
	began time.Time
	stage string

	// lastReply is said before hanging up, rcptReply to each recipient.
	lastReply, rcptReply string
	smtp                 dialogue
}

// ends are the two ends of a connection.
type ends struct{ Client, Server netip.AddrPort }

// facts are small facts about a client.
type facts struct {
	// detained clients are not handed over; fresh ones have never passed all
	// tests; denied and vetoed are what the lists say; gone ones have hung up;
	// doomed ones get one reply more; handed ones are smtpd's.
	detained, fresh, denied, vetoed, gone, doomed, handed bool
}

// ServeConn looks at one connection, and closes it or hands it over.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	c := &client{srv: s, set: s.Settings, ctx: ctx, raw: conn, conn: conn}
	c.r = wire.NewReader(conn, &s.pool)
	c.lastReply = "421 4.3.2 Service currently unavailable"
	c.rcptReply = "450 4.3.2 Service currently unavailable"
	s.mu.Lock()
	if s.conns == nil {
		s.conns = map[*client]struct{}{}
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		c.close()
	}()
	defer func() {
		if v := recover(); v != nil {
			s.log.Errorf("panic with client %s: %v: %s", c.name, v, debug.Stack())
		}
	}()
	if s.closing.Load() || !c.identify() {
		return
	}
	defer s.leave(c)
	c.admit(s.enter(c))
}

// close releases everything but a connection that is smtpd's.
func (c *client) close() {
	if c.conn != c.raw {
		_ = c.conn.Close() // tells the client; nothing to do when it cannot
		c.srv.tlsLog.Emit(&event.Screening{What: "tls_end", Text: "DISCONNECT " + c.name})
	}
	c.r.Release()
	if !c.facts.handed {
		_ = c.raw.Close()
	}
}

// identify finds out whom the connection is with. False ends it.
func (c *client) identify() bool {
	c.ends = ends{addrPort(c.raw.RemoteAddr()), addrPort(c.raw.LocalAddr())}
	if c.set.UpstreamProxy != "" {
		all := slices.Contains(c.set.InetProtocols, "all")
		_ = c.raw.SetReadDeadline(time.Now().Add(c.set.UpstreamTimeout)) // a closed one shows at the read
		h, err := c.r.ReadProxy(wire.ProxyFamilies{
			IPv4: all || slices.Contains(c.set.InetProtocols, "ipv4"),
			IPv6: all || slices.Contains(c.set.InetProtocols, "ipv6"),
		})
		if err != nil {
			c.srv.log.Warnf("haproxy read: %s", proxyFault(err))
			c.write("421 4.3.2 No system resources\r\n")
			return false
		}
		if !h.Local {
			c.ends = ends{h.Client, h.Server}
		}
	}
	c.name = endName(c.ends.Client)
	return true
}

// proxyFault says in the log's words why a header could not be read.
func proxyFault(err error) string {
	var bad *wire.ProxyError
	switch {
	case errors.As(err, &bad):
		return bad.Reason + ": " + string(event.AppendEscaped(nil, bad.Seen))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "time limit exceeded"
	case errors.Is(err, io.EOF):
		return "EOF"
	}
	return err.Error()
}

// addrPort takes a network address apart.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// endName is how the log names an end.
func endName(ap netip.AddrPort) string {
	return "[" + ap.Addr().String() + "]:" + strconv.Itoa(int(ap.Port()))
}

// tell logs something about the client: WORD [address]:port.
func (c *client) tell(what, word string) {
	c.srv.log.Emit(&event.Screening{What: what, Text: word + " " + c.name})
}

// hasFailed tells whether the client has failed anything.
func (c *client) hasFailed() bool { return c.failed != 0 || c.facts.denied || c.facts.vetoed }

// admit decides what is to be done with a client.
func (c *client) admit(here crowd) {
	s := c.srv
	s.log.Emit(&event.Screening{What: "connect", Text: "CONNECT from " + c.name + " to " + endName(c.ends.Server)})
	switch {
	case c.set.ClientLimit > 0 && here.own > c.set.ClientLimit:
		s.log.Emit(&event.Screening{What: "client_limit", Text: "NOQUEUE: reject: CONNECT from " + c.name + ": too many connections"})
		c.drop("421 4.7.0 Error: too many connections")
		return
	case c.set.PostQueue > 0 && here.posting >= c.set.PostQueue:
		s.log.Emit(&event.Screening{What: "busy", Text: "NOQUEUE: reject: CONNECT from " + c.name + ": all server ports busy"})
		c.drop("421 4.3.2 All server ports are busy")
		return
	}
	if c.listed() || c.remembered(here.own) {
		return
	}
	// Clients that come in by the back door are to come by the front door first.
	// What cannot be found out is a no here.
	if ok, err := s.lists.interfaces.Match(c.ctx, c.ends.Server.Addr().String()); err != nil || !ok {
		c.facts.vetoed, c.facts.detained = true, true
		c.tell("veto", c.word("ALLOWLIST", "WHITELIST")+" VETO")
	}
	if c.set.PreQueue > 0 && here.testing >= c.set.PreQueue {
		s.log.Emit(&event.Screening{What: "busy", Text: "reject: connect from " + c.name + ": all screening ports busy"})
		c.drop("421 4.3.2 All screening ports are busy")
		return
	}
	if c.todo&early != 0 {
		if !c.early() {
			return
		}
		if c.facts.detained || c.passed&deep != c.todo&deep {
			c.engine()
			return
		}
	} else if c.todo&deep != 0 || c.facts.detained {
		c.engine()
		return
	}
	c.conclude()
}

// word is one of two names for the same.
func (c *client) word(respectful, other string) string {
	if c.set.Respectful {
		return respectful
	}
	return other
}

// listed asks the permanent list; true means that the client is done.
func (c *client) listed() bool {
	if c.srv.lists.access == nil {
		return false
	}
	switch c.srv.lists.access.eval(c.ctx, c.ends.Client.Addr()) {
	case permit:
		c.tell("allowlisted", c.word("ALLOWLISTED", "WHITELISTED"))
		c.conclude()
		return true
	case reject:
		c.tell("denylisted", c.word("DENYLISTED", "BLACKLISTED"))
		switch c.srv.rules.deny {
		case drop:
			c.facts.denied = true
			c.drop("521 5.3.2 Service currently unavailable")
			return true
		case enforce:
			c.facts.denied = true
			c.enforce("550 5.3.2 Service currently unavailable")
		}
	}
	return false
}

// remembered looks for earlier results; true means that the client is done. n is
// how many connections it has: those beyond the first share the results of that.
func (c *client) remembered(n int) bool {
	s := c.srv
	now := time.Now().Unix()
	known, found := stamps{}, false
	if n == 1 && !c.hasFailed() && s.cache != nil {
		known, found = s.cache.lookup(c.ends.Client.Addr())
	}
	s.mu.Lock()
	until := &c.info.until
	switch {
	case found:
		*until = known
	case n == 1:
		*until = stamps{}
	}
	c.facts.fresh, c.todo = until.fresh(), until.todo(s.rules.enabled, now)
	s.mu.Unlock()
	if !found || c.todo != 0 {
		return false
	}
	c.tell("pass_old", "PASS OLD")
	c.conclude()
	return true
}

// good notes until when a result is good.
func (c *client) good(ch check, ttl time.Duration) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.info.until[ch] = time.Now().Add(ttl).Unix()
}

// begin begins a stage.
func (c *client) begin(name string) { c.stage, c.began = name, time.Now() }

// elapsed is how long the stage has taken, as the log has it.
func (c *client) elapsed() string {
	return string(event.AppendDelay(nil, time.Since(c.began), c.set.DelayDigits))
}

// enforce refuses all recipients from now on.
func (c *client) enforce(reply string) { c.rcptReply, c.facts.detained = reply, true }

// drop ends the connection with a reply.
func (c *client) drop(reply string) {
	c.facts.detained, c.lastReply = true, reply
	c.conclude()
}

// hungUp ends the connection of a client that is gone, which is no failure.
func (c *client) hungUp() {
	c.facts.gone, c.facts.detained = true, true
	c.srv.log.Emit(&event.Screening{What: "hangup", Text: "HANGUP after " + c.elapsed() + " from " + c.name + " in " + c.stage})
	c.conclude()
}

// conclude remembers what the client has passed, and hands it over or says
// goodbye.
func (c *client) conclude() {
	s := c.srv
	if c.hasFailed() {
		c.passed = 0
	}
	s.mu.Lock()
	if c.passed != 0 && c.passed == c.todo {
		word, what := "PASS OLD", "pass_old"
		if c.facts.fresh {
			if c.info.passes == 0 {
				word, what = "PASS NEW", "pass_new"
			}
			c.info.passes++
		}
		c.tell(what, word)
	}
	if c.passed != 0 {
		c.info.until.settle(s.rules.enabled)
	}
	until := c.info.until
	s.mu.Unlock()
	if c.passed != 0 && s.cache != nil {
		s.cache.update(c.ends.Client.Addr(), until)
	}
	if !c.facts.detained {
		c.handOff()
		return
	}
	if !c.facts.gone {
		c.send(c.lastReply)
	}
	c.tell("disconnect", "DISCONNECT")
}

// handOff gives the connection to smtpd.
func (c *client) handOff() {
	s := c.srv
	_ = c.raw.SetDeadline(time.Time{}) // a closed one shows in the session
	s.mu.Lock()
	s.posting++
	s.mu.Unlock()
	err := s.HandOff(c.ctx, &Handover{
		Conn: c.raw, Read: bytes.Clone(c.r.Peek()), Client: c.ends.Client, Server: c.ends.Server, Wait: handoffWait,
	})
	s.mu.Lock()
	s.posting--
	s.mu.Unlock()
	if err == nil {
		c.facts.handed = true
		return
	}
	if s.closing.Load() {
		return
	}
	s.log.Warnf("cannot connect to service private/%s: %v", c.set.SMTPService, err)
	if c.todo.has(pregreet) {
		// The client has half a greeting: it gets the other half, and is told after
		// its next command.
		c.facts.doomed, c.lastReply = true, "421 4.3.2 No system resources"
		c.engine()
		return
	}
	c.send("421 4.3.2 All server ports are busy")
}

// send says a reply, with a footer and as soft as configured; false means that the
// client is gone.
func (c *client) send(reply string) bool {
	return c.write(c.footed(reply) + "\r\n")
}

// soften makes a permanent refusal temporary under soft_bounce.
func (c *client) soften(reply string) string {
	if !c.set.SoftBounce || len(reply) < 5 || reply[0] != '5' {
		return reply
	}
	b := []byte(reply)
	b[0] = '4'
	if b[4] == '5' {
		b[4] = '4'
	}
	return string(b)
}

// write writes to the client.
func (c *client) write(text string) bool {
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return false
	}
	_, err := io.WriteString(c.conn, text)
	return err == nil
}
