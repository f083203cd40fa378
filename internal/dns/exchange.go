package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// Transport sends one packed query to one server over "udp" or "tcp" and shows
// the packets that come back to match, until it takes one as the reply or ctx
// ends.
type Transport func(ctx context.Context, server netip.AddrPort, network string, query []byte, match func([]byte) bool) error

// maxStrays bounds the packets passed over while waiting for the right one;
// more of them is an attempt to guess the id.
const maxStrays = 16

var errStrays = errors.New("too many replies that answer something else")

// netTransport is the Transport of production. Each query has a socket, and so
// a random port, of its own; it is connected, so that the kernel drops packets
// of other senders.
func netTransport(ctx context.Context, server netip.AddrPort, network string, query []byte, match func([]byte) bool) error {
	var d net.Dialer
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return exchangeTCP(conn, query, match)
	}
	return exchangeUDP(conn, query, match)
}

func exchangeUDP(conn net.Conn, query []byte, match func([]byte) bool) error {
	if _, err := conn.Write(query); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for range maxStrays {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if match(buf[:n]) {
			return nil
		}
	}
	return errStrays
}

func exchangeTCP(conn net.Conn, query []byte, match func([]byte) bool) error {
	// RFC 1035 4.2.2: two bytes of length; one write, so one segment.
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, len(query)+2), uint16(len(query)))
	if _, err := conn.Write(append(frame, query...)); err != nil {
		return err
	}
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	buf := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	if !match(buf) {
		return errStrays
	}
	return nil
}
