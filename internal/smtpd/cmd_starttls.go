package smtpd

import (
	"context"
	"errors"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/tlsmgr"
	"postroad/internal/wire"
)

// cmdStartTLS begins TLS (RFC 3207). Nothing that was sent before the handshake
// survives it: more input behind the command ends the session (serve has seen to
// that), and session state is reset.
func (s *session) cmdStartTLS(args string) {
	switch {
	case args != "":
		s.reply(501, "5.5.4", "Syntax: STARTTLS")
		return
	case s.srv.TLS == nil && s.tlsWanted():
		s.reply(454, "4.7.0", "TLS not available due to local problem")
		return
	case s.srv.TLS == nil:
		s.reply(502, "5.5.1", "Error: command not implemented")
		return
	case s.peer.TLS != nil:
		s.reply(554, "5.5.1", "Error: TLS already active")
		return
	case s.tx.open:
		s.reply(503, "5.5.1", "Error: MAIL transaction in progress")
		return
	}
	if over, why := s.overRate("tls"); over {
		s.reply(454, "4.7.0", why)
		return
	}
	s.reply(220, "2.0.0", "Ready to start TLS")
	if s.flush() != nil || s.r.Buffered() > 0 {
		s.reason = "lost connection"
		s.flags.hangup = true
		return
	}
	if !s.handshake() {
		s.flags.hangup = true
		return
	}
	s.peer.Helo, s.peer.SASL = "", nil
	s.req.Helo = ""
	s.code = 220
}

// tlsWanted tells whether the settings ask for TLS that could not be had.
func (s *session) tlsWanted() bool { return s.srv.tlsBroken }

// handshake does the server's part of TLS.
func (s *session) handshake() bool {
	ctx, cancel := context.WithTimeout(s.ctx, s.set.StartTLSTimeout)
	defer cancel()
	_ = s.raw.SetDeadline(time.Now().Add(s.set.StartTLSTimeout)) // HandshakeContext has the same limit
	conn, desc, err := s.srv.TLS.Handshake(ctx, s.raw)
	if err != nil && !errors.Is(err, tlsmgr.ErrClientCert) {
		s.log.Infof("SSL_accept error from %s: %v", s.client(), err)
		s.reason = "lost connection"
		return false
	}
	if err != nil {
		s.log.Emit(event.Notice{Text: s.idOrNone() + ": abort: TLS from " + s.client() + ": " + err.Error()})
		return false
	}
	_ = s.raw.SetDeadline(time.Time{}) // the next read and write set their own
	s.conn, s.peer.TLS = conn, desc
	s.r.Reset(conn)
	s.w.Reset(conn)
	if level := s.set.TLSLogLevel; level != "" && level != "0" {
		s.log.Emit(&event.TLSEstablished{Trust: tlsmgr.Trust(desc), Direction: "from", Peer: s.client(), Summary: tlsmgr.Summary(desc)})
	}
	return true
}

// attributes reads "NAME=value" pairs in xtext, as XCLIENT and XFORWARD have them.
func (s *session) attributes(verb, args string, known map[string]func(string) bool) bool {
	fields := strings.Fields(args)
	if len(fields) == 0 {
		s.reply(501, "5.5.4", "Syntax: "+verb+" attribute=value...")
		return false
	}
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			s.reply(501, "5.5.4", "Error: attribute=value expected")
			return false
		}
		if len(value) > 255 {
			s.reply(501, "5.5.4", "Error: attribute value too long")
			return false
		}
		plain, err := wire.DecodeXtext(value)
		name = strings.ToUpper(name)
		set := known[name]
		if set == nil {
			s.reply(501, "5.5.4", "Bad "+verb+" attribute name: "+name)
			return false
		}
		if err != nil || strings.ContainsAny(plain, "\r\n\x00") || !set(plain) {
			s.reply(501, "5.5.4", "Bad "+name+" syntax: "+value)
			return false
		}
	}
	return true
}
