package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// maxProxyHeader bounds the header of the PROXY protocol in both versions; a
// version 1 line needs 107 bytes at most.
const maxProxyHeader = 536

// Constants of version 2, section 2.2 of the protocol.
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyFixed     = 16
	proxyTCP4      = 0x11
	proxyTCP6      = 0x21
)

// ProxyHeader is what a proxy says about a connection that it passes on.
type ProxyHeader struct {
	// Local means that the proxy speaks for itself: the connection is what it
	// looks like.
	Local          bool
	Client, Server netip.AddrPort
}

// ProxyFamilies are the address families that a header may name.
type ProxyFamilies struct{ IPv4, IPv6 bool }

// ProxyError is a header that is not one; Seen are the bytes that were there.
type ProxyError struct {
	Reason string
	Seen   []byte
}

// Error implements error.
func (e *ProxyError) Error() string { return e.Reason }

// proxyFault is what is wrong with a header, in Postfix's words.
type proxyFault string

// Error implements error.
func (f proxyFault) Error() string { return string(f) }

// proxyShort is a fault that more bytes may mend.
type proxyShort struct{ proxyFault }

// ReadProxy reads the header of the PROXY protocol, version 1 or 2, from the
// beginning of a connection and leaves what follows it. A deadline is for the
// function given to BeforeRead to set. A header that comes in pieces is waited
// for; the error is a ProxyError when there was a first piece.
func (r *Reader) ReadProxy(on ProxyFamilies) (ProxyHeader, error) {
	for {
		seen := r.Peek()
		if len(seen) > 0 {
			h, n, err := ParseProxy(seen[:min(len(seen), maxProxyHeader)], on)
			var short proxyShort
			switch {
			case err == nil:
				r.r += n
				return h, nil
			case !errors.As(err, &short) || len(seen) >= maxProxyHeader:
				return h, proxyError(err, seen)
			}
		}
		if err := r.fill(); err != nil {
			seen = r.Peek()
			if len(seen) == 0 || !(errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded)) {
				return ProxyHeader{}, err
			}
			_, _, err = ParseProxy(seen, on)
			return ProxyHeader{}, proxyError(err, seen)
		}
	}
}

// proxyError is the error for the log.
func proxyError(err error, seen []byte) error {
	return &ProxyError{Reason: err.Error(), Seen: bytes.Clone(seen[:min(len(seen), maxProxyHeader)])}
}

// ParseProxy reads a header at the beginning of b and returns its length.
// UNKNOWN is no protocol that a stranger may claim: it would get around access
// control by address.
func ParseProxy(b []byte, on ProxyFamilies) (ProxyHeader, int, error) {
	const v1 = "PROXY "
	if bytes.HasPrefix(b, []byte(v1)) {
		return parseProxyV1(b, on)
	}
	switch {
	case len(b) < proxyFixed && (strings.HasPrefix(proxySignature, string(b)) || strings.HasPrefix(v1, string(b)) ||
		bytes.HasPrefix(b, []byte(proxySignature))):
		return ProxyHeader{}, 0, proxyShort{"short protocol header"}
	case len(b) < proxyFixed:
		return ProxyHeader{}, 0, proxyFault("short protocol header")
	case !bytes.HasPrefix(b, []byte(proxySignature)):
		return ProxyHeader{}, 0, proxyFault("unrecognized protocol header")
	}
	return parseProxyV2(b, on)
}

// parseProxyV1 reads the text form.
func parseProxyV1(b []byte, on ProxyFamilies) (ProxyHeader, int, error) {
	fail := func(what string) (ProxyHeader, int, error) {
		return ProxyHeader{}, 0, proxyFault("bad or missing " + what)
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return ProxyHeader{}, 0, proxyShort{"missing protocol header terminator"}
	}
	words := strings.FieldsFunc(string(b[:end]), func(c rune) bool { return c == ' ' || c == '\r' })
	words = append(words, "", "", "", "", "") // a missing one is a bad one
	six := strings.EqualFold(words[1], "TCP6")
	if !(six && on.IPv6) && !(strings.EqualFold(words[1], "TCP4") && on.IPv4) {
		return fail("protocol type")
	}
	client, ok := proxyAddr(words[2], six)
	if !ok {
		return fail("client address")
	}
	server, ok := proxyAddr(words[3], six)
	if !ok {
		return fail("server address")
	}
	clientPort, ok := proxyPort(words[4])
	if !ok {
		return fail("client port")
	}
	serverPort, ok := proxyPort(words[5])
	if !ok {
		return fail("server port")
	}
	return ProxyHeader{Client: netip.AddrPortFrom(client, clientPort), Server: netip.AddrPortFrom(server, serverPort)}, end + 1, nil
}

// proxyAddr reads an address of one family.
func proxyAddr(s string, six bool) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is4() == six || a.Zone() != "" {
		return netip.Addr{}, false
	}
	// 0.0.0.0 is an address, and all others of its network are none.
	a = a.Unmap()
	return a, !a.Is4() || a.As4()[0] != 0 || a.IsUnspecified()
}

// proxyPort reads a port, without leading zeros.
func proxyPort(s string) (uint16, bool) {
	if len(s) > 1 && s[0] == '0' || strings.ContainsAny(s, "+-") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

// parseProxyV2 reads the binary form. What stands behind the addresses is of no
// interest here.
func parseProxyV2(b []byte, on ProxyFamilies) (ProxyHeader, int, error) {
	const versionMask, version, commandMask, local, proxied = 0xf0, 0x20, 0x0f, 0, 1
	var h ProxyHeader
	if b[12]&versionMask != version {
		return h, 0, proxyFault("unrecognized protocol version")
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	if end := proxyFixed + size; end > maxProxyHeader {
		return h, 0, proxyFault("short version 2 protocol header")
	} else if len(b) < end {
		return h, 0, proxyShort{"short version 2 protocol header"}
	}
	switch b[12] & commandMask {
	case local:
		return ProxyHeader{Local: true}, proxyFixed + size, nil
	case proxied:
	default:
		return h, 0, proxyFault("bad command in proxy header")
	}
	width := 4
	switch {
	case b[13] == proxyTCP4 && !on.IPv4:
		return h, 0, proxyFault("Postfix IPv4 support is disabled")
	case b[13] == proxyTCP6 && !on.IPv6:
		return h, 0, proxyFault("Postfix IPv6 support is disabled")
	case b[13] == proxyTCP4:
	case b[13] == proxyTCP6:
		width = 16
	default:
		return h, 0, proxyFault("unsupported network protocol")
	}
	if size < 2*width+4 {
		return h, 0, proxyFault("short address field")
	}
	at := func(i, port int) netip.AddrPort {
		a, _ := netip.AddrFromSlice(b[proxyFixed+i*width:][:width]) // 4 or 16 bytes are an address
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(b[proxyFixed+2*width+port*2:]))
	}
	return ProxyHeader{Client: at(0, 0), Server: at(1, 1)}, proxyFixed + size, nil
}
