package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// v2 builds a header of version 2.
func v2(command, family byte, body string) string {
	b := append([]byte(proxySignature), command, family, 0, 0)
	binary.BigEndian.PutUint16(b[14:], uint16(len(body)))
	return string(b) + body
}

const (
	four = "\xcb\x00\x71\x05\xc0\x00\x02\x01\x12\x67\x00\x19"
	six  = " \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x12\x67\x00\x19"
)

// proxyTests are headers; want is client, server and what remains, or the reason.
var proxyTests = []struct{ in, want string }{
	{"PROXY TCP4 203.0.113.5 192.0.2.1 4711 25\r\nEHLO x\r\n", `203.0.113.5:4711 192.0.2.1:25 "EHLO x\r\n"`},
	{"PROXY TCP4 203.0.113.5 192.0.2.1 4711 25\n", `203.0.113.5:4711 192.0.2.1:25 ""`},
	{"PROXY tcp4  203.0.113.5 192.0.2.1 4711 25 more\r\n", `203.0.113.5:4711 192.0.2.1:25 ""`},
	{"PROXY TCP6 2001:DB8::1 2001:db8::2 4711 25\r\n", `[2001:db8::1]:4711 [2001:db8::2]:25 ""`},
	{"PROXY TCP6 ::ffff:203.0.113.5 ::ffff:192.0.2.1 4711 25\r\n", `203.0.113.5:4711 192.0.2.1:25 ""`},
	{"PROXY UNKNOWN\r\n", "bad or missing protocol type"},
	{"PROXY \r\n", "bad or missing protocol type"},
	{"PROXY TCP4 203.0.113.555 192.0.2.1 4711 25\r\n", "bad or missing client address"},
	{"PROXY TCP4 0.1.2.3 192.0.2.1 4711 25\r\n", "bad or missing client address"},
	{"PROXY TCP4 2001:db8::1 192.0.2.1 4711 25\r\n", "bad or missing client address"},
	{"PROXY TCP6 fe80::1%eth0 2001:db8::2 4711 25\r\n", "bad or missing client address"},
	{"PROXY TCP4 203.0.113.5 mx.test 4711 25\r\n", "bad or missing server address"},
	{"PROXY TCP4 203.0.113.5 192.0.2.1 +4711 25\r\n", "bad or missing client port"},
	{"PROXY TCP4 203.0.113.5 192.0.2.1 4711 025\r\n", "bad or missing server port"},
	{"PROXY TCP4 203.0.113.5 192.0.2.1 4711\r\n", "bad or missing server port"},
	{"PROXY TCP4 203.0.113.5 192.0.2.1 4711 65536\r\n", "bad or missing server port"},
	{"PROXY TCP4 203.0.113.5", "missing protocol header terminator"},
	{"PROXY TCP4 " + strings.Repeat("1", 1000) + "\r\n", "missing protocol header terminator"},
	{"EHLO a.client.of.no.proxy\r\n", "unrecognized protocol header"},
	{"x\r\n", "short protocol header"},
	{"\r\n\r\n", "short protocol header"},
	{"", "EOF"},
	{v2(0x21, 0x11, four) + "EHLO x\r\n", `203.0.113.5:4711 192.0.2.1:25 "EHLO x\r\n"`},
	{v2(0x21, 0x11, four+"\x04\x00\x04abcd"), `203.0.113.5:4711 192.0.2.1:25 ""`},
	{v2(0x21, 0x21, six), `[2001:db8::1]:4711 [2001:db8::2]:25 ""`},
	{v2(0x20, 0, "") + "QUIT\r\n", `local "QUIT\r\n"`},
	{v2(0x20, 0x11, four), `local ""`},
	{v2(0x21, 0x12, four), "unsupported network protocol"},
	{v2(0x21, 0x31, strings.Repeat("x", 216)), "unsupported network protocol"},
	{v2(0x21, 0, ""), "unsupported network protocol"},
	{v2(0x31, 0x11, four), "unrecognized protocol version"},
	{v2(0x22, 0x11, four), "bad command in proxy header"},
	{v2(0x21, 0x11, four[:8]), "short address field"},
	{v2(0x21, 0x11, four)[:20], "short version 2 protocol header"},
	{v2(0x21, 0x11, four+strings.Repeat("x", 600)), "short version 2 protocol header"},
}

// TestReadProxy reads headers, in one piece and byte by byte.
func TestReadProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range proxyTests {
		for how, r := range map[string]*Reader{
			"whole": NewReader(strings.NewReader(tt.in), nil),
			"bytes": NewReader(iotest.OneByteReader(strings.NewReader(tt.in)), nil),
		} {
			h, err := r.ReadProxy(ProxyFamilies{IPv4: true, IPv6: true})
			got := h.Client.String() + " " + h.Server.String()
			if h.Local {
				got = "local"
			}
			var bad *ProxyError
			switch {
			case errors.As(err, &bad):
				got = bad.Reason
				if !strings.HasPrefix(tt.in, string(bad.Seen)) || len(bad.Seen) == 0 || len(bad.Seen) > maxProxyHeader {
					t.Errorf("%q: the log shows %q", tt.in, bad.Seen)
				}
			case err != nil:
				got = err.Error()
			default:
				var rest bytes.Buffer
				for {
					rest.Write(r.Peek())
					r.r = r.w
					if r.fill() != nil {
						break
					}
				}
				got += " " + quote(rest.String())
			}
			// The first byte tells already that it is none.
			early := how == "bytes" && got == "short protocol header" && tt.want == "unrecognized protocol header"
			if got != tt.want && !early {
				t.Errorf("%q, %s: %s, want %s", tt.in, how, got, tt.want)
			}
		}
	}
}

func quote(s string) string {
	return `"` + strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(s) + `"`
}

// TestProxyFamilies: a header for a protocol that is off is none.
func TestProxyFamilies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		on   ProxyFamilies
		want string
	}{
		{v2(0x21, 0x11, four), ProxyFamilies{IPv6: true}, "Postfix IPv4 support is disabled"},
		{v2(0x21, 0x21, six), ProxyFamilies{IPv4: true}, "Postfix IPv6 support is disabled"},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", ProxyFamilies{IPv4: true}, "bad or missing protocol type"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", ProxyFamilies{IPv6: true}, "bad or missing protocol type"},
	} {
		if _, _, err := ParseProxy([]byte(tt.in), tt.on); err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v, want %s", tt.in, err, tt.want)
		}
	}
}

// FuzzProxy parses anything: a header that is accepted is one in both readings,
// within its bound, and names what an access table can look up.
func FuzzProxy(f *testing.F) {
	for _, tt := range proxyTests {
		f.Add([]byte(tt.in))
	}
	on := ProxyFamilies{IPv4: true, IPv6: true}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, err := ParseProxy(in, on)
		if err != nil {
			return
		}
		if n <= 0 || n > len(in) {
			t.Fatalf("%q: a header of %d bytes", in, n)
		}
		if h.Local == h.Client.IsValid() || h.Client.IsValid() != h.Server.IsValid() {
			t.Fatalf("%q: %+v", in, h)
		}
		if a := h.Client.Addr(); h.Client.IsValid() && (a.Is4In6() || a.Zone() != "" || netip.MustParseAddr(a.String()) != a) {
			t.Fatalf("%q: client %v", in, a)
		}
		if n > maxProxyHeader {
			return
		}
		r := NewReader(iotest.OneByteReader(bytes.NewReader(in[:n])), nil)
		again, err := r.ReadProxy(on)
		if err != nil || again != h || r.Buffered() != 0 {
			t.Fatalf("%q: %+v in one piece, %+v %v byte by byte", in, h, again, err)
		}
	})
}
