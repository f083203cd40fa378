package smtpd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"postroad/internal/event"
	"postroad/internal/wire"
)

// haproxy is the one protocol of smtpd_upstream_proxy_protocol.
const haproxy = "haproxy"

// Handover is a connection that postscreen accepted and looked at.
type Handover struct {
	Conn net.Conn
	// Read is what the client sent already and nobody has answered.
	Read []byte
	// Client and Server are the ends of the connection as postscreen knows them.
	Client, Server netip.AddrPort
	// Wait bounds how long the connection may wait for a session; 0 is no bound.
	Wait time.Duration
	// local is set for a program of this machine, which no proxy stands before.
	local bool
}

// ServeLocal serves a program of this machine, such as sendmail -bs.
func (s *Server) ServeLocal(ctx context.Context, conn net.Conn) {
	s.serveConn(ctx, conn, &Handover{local: true})
}

// Take serves a connection that postscreen hands over. It returns when the
// session begins, which may be later than now while all sessions are taken; after
// an error the connection is still the caller's.
func (s *Server) Take(ctx context.Context, h *Handover) error {
	s.mu.Lock()
	s.prepare()
	s.mu.Unlock()
	wait, cancel := ctx, context.CancelFunc(func() {})
	if h.Wait > 0 {
		wait, cancel = context.WithTimeout(ctx, h.Wait)
	}
	err := s.slot(wait)
	cancel()
	if err != nil {
		return err
	}
	if s.closing.Load() || s.drained.Load() {
		s.free()
		return ErrServerClosed
	}
	s.taken()
	s.accepted.Add(1)
	// goroutine: one session; ends with its connection.
	go func() {
		defer s.accepted.Add(-1)
		defer s.free()
		s.serveConn(ctx, h.Conn, h)
	}()
	return nil
}

// identify finds out whom the session is with: the peer of the connection, or
// whom postscreen or a proxy names. False means that nobody knows what rights the
// client has.
func (s *session) identify(h *Handover) bool {
	switch {
	case h != nil && h.local:
		return true
	case h != nil:
		s.setPeer(h.Client, h.Server)
		s.flags.handed = true
		s.r.Preload(h.Read)
		if s.set.UpstreamProxy != "" {
			s.log.Warnf("ignoring non-empty smtpd_upstream_proxy_protocol setting behind postscreen")
		}
		return true
	case s.set.UpstreamProxy == "":
		return true
	}
	limit := time.Now().Add(s.set.UpstreamTimeout)
	s.r.BeforeRead(func() error { return s.conn.SetReadDeadline(limit) })
	defer s.r.BeforeRead(s.beforeRead)
	header, err := s.r.ReadProxy(s.families())
	if err != nil {
		s.log.Warnf("haproxy read: %s", proxyFault(err))
		s.setPeer(netip.AddrPort{}, netip.AddrPort{})
		return false
	}
	if !header.Local {
		s.setPeer(header.Client, header.Server)
	}
	return s.conn.SetReadDeadline(time.Time{}) == nil
}

// proxyFault says in the log's words why a header could not be read.
func proxyFault(err error) string {
	var bad *wire.ProxyError
	switch {
	case errors.As(err, &bad):
		return bad.Reason + ": " + string(event.AppendEscaped(nil, bad.Seen))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout error"
	case errors.Is(err, io.EOF):
		return "EOF"
	}
	return err.Error()
}

// families are the protocols of inet_protocols.
func (s *session) families() wire.ProxyFamilies {
	all := slices.Contains(s.set.InetProtocols, "all")
	return wire.ProxyFamilies{
		IPv4: all || slices.Contains(s.set.InetProtocols, "ipv4"),
		IPv6: all || slices.Contains(s.set.InetProtocols, "ipv6"),
	}
}

// setPeer gives the session its two ends.
func (s *session) setPeer(client, server netip.AddrPort) {
	s.peer.Client.Addr, s.peer.Client.Port = client.Addr(), client.Port()
	s.peer.Server = server
}

// ahead is a connection whose first bytes have been read already.
type ahead struct {
	net.Conn
	read []byte
}

// Read implements net.Conn.
func (a *ahead) Read(p []byte) (int, error) {
	if len(a.read) == 0 {
		return a.Conn.Read(p)
	}
	n := copy(p, a.read)
	a.read = a.read[n:]
	return n, nil
}
