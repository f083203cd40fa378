package smtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/tlsmgr"
)

// cmdStartTLS begins TLS (RFC 3207). Nothing that was sent before the handshake
// survives it: more input behind the command ends the session, and session state
// is reset.
func (s *session) cmdStartTLS(args string) {
	switch {
	case args != "":
		s.reply(501, "5.5.4", "Syntax: STARTTLS")
		return
	case s.filterStanding(true):
		return
	case s.peer.TLS != nil:
		s.reply(554, "5.5.1", "Error: TLS already active")
		return
	case s.srv.TLS == nil && s.srv.lacks.tls && !s.masked(ehloStartTLS):
		s.reply(454, "4.7.0", "TLS not available due to local problem")
		return
	case s.srv.TLS == nil || s.masked(ehloStartTLS):
		s.reply(502, "5.5.1", "Error: command not implemented")
		return
	}
	if s.tlsRefused("STARTTLS") {
		s.reply(454, "4.7.0", "Error: "+rateRules[rateTLS].text+" from "+s.client())
		return
	}
	// RFC 3207 4.2: what comes in clear text behind STARTTLS was perhaps put
	// there by somebody else.
	if s.r.Buffered() > 0 {
		s.log.Emit(&event.Pipelining{After: "STARTTLS", Client: s.client(), Text: string(s.r.Peek()[:min(s.r.Buffered(), 100)])})
		s.reply(554, "5.5.0", "Error: SMTP protocol synchronization")
		s.flags.hangup = true
		return
	}
	s.reply(220, "2.0.0", "Ready to start TLS")
	if s.flush() != nil || !s.handshake() {
		s.flags.hangup, s.flags.failed = true, s.peer.TLS == nil
		return
	}
	// RFC 3207 4.2: nothing that was learned before counts any more.
	s.abortHelo(s.peer.Helo)
	s.abort()
	s.peer.Helo, s.peer.SASL = "", nil
}

// handshake does the server's part of TLS.
func (s *session) handshake() bool {
	if s.raw.SetDeadline(time.Now().Add(s.set.StartTLSTimeout)) != nil {
		s.reason = "lost connection"
		return false
	}
	var under net.Conn = s.raw
	if s.r.Buffered() > 0 { // what came behind the header of a proxy
		under = &ahead{s.raw, bytes.Clone(s.r.Peek())}
	}
	conn, desc, err := s.srv.TLS.Handshake(s.ctx, under)
	badCert := tlsmgr.IsClientCert(err)
	switch {
	case badCert: // the handshake is over
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.log.Infof("SSL_accept error from %s: Connection timed out", s.client())
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		s.log.Infof("SSL_accept error from %s: lost connection", s.client())
	case err != nil:
		s.log.Infof("SSL_accept error from %s: -1", s.client())
		s.log.Warnf("TLS library problem: %v", err)
	}
	if err != nil && !badCert {
		if over, _ := s.overRate(rateTLS); !over {
			s.reason = "lost connection"
		}
		return false
	}
	// The next read and write set limits of their own.
	if s.raw.SetDeadline(time.Time{}) != nil {
		s.reason = "lost connection"
		return false
	}
	s.conn, s.peer.TLS = conn, desc
	s.r.Reset(conn)
	s.w.Reset(conn)
	s.logHandshake(desc, err)
	if badCert {
		why := "Client certificate not trusted"
		if errors.Is(err, tlsmgr.ErrNoClientCert) {
			why = "No client certificate presented"
		}
		s.log.Infof("NOQUEUE: abort: TLS from %s: %s", s.client(), why)
		if !s.mayHaveTLS(conn) {
			return false
		}
		s.reply(421, "4.7.1", s.set.Hostname+" Error: "+why)
		return false
	}
	return s.mayHaveTLS(conn)
}

// logHandshake logs what smtpd_tls_loglevel asks for: from 1 on that there is TLS
// and why a required certificate was refused, from 2 on whose certificate it is.
func (s *session) logHandshake(desc *mail.TLS, err error) {
	level := s.set.TLSLogLevel
	if level == "" || level == "0" {
		return
	}
	if errors.Is(err, tlsmgr.ErrBadClientCert) {
		s.log.Infof("certificate verification failed for %s: %s", s.client(), tlsmgr.Reason(err))
	}
	if desc.PeerPresent && level != "1" {
		s.log.Infof("%s: subject_CN=%s, issuer=%s, cert fingerprint=%s, pkey fingerprint=%s",
			s.client(), desc.PeerCN, desc.PeerIssuer, desc.Fingerprint, desc.KeyFingerprint)
	}
	s.log.Emit(&event.TLSEstablished{Trust: tlsmgr.Trust(desc), Direction: "from", Peer: s.client(), Summary: tlsmgr.Summary(desc)})
}

// mayHaveTLS counts a session that was not resumed. It is too late to save the
// work, so this only tells who is turned away the next time.
func (s *session) mayHaveTLS(conn *tls.Conn) bool {
	if conn.ConnectionState().DidResume {
		return true
	}
	over, why := s.overRate(rateTLS)
	if over {
		s.reply(421, "4.7.0", s.set.Hostname+" "+why)
	}
	return !over
}
