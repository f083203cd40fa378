//go:build oracle

package tls

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The protocol versions.
const (
	tls10 = 0x0301 + iota
	tls11
	tls12
	tls13
)

var versionNames = map[uint16]string{tls10: "TLSv1", tls11: "TLSv1.1", tls12: "TLSv1.2", tls13: "TLSv1.3"}

// hello is the first message of a client, with what is to be found out.
type hello struct {
	version uint16
	suites  []uint16
	groups  []uint16
	// deflate offers compression beside none.
	deflate bool
}

// answer is what a server says to a hello.
type answer struct {
	version, suite, group uint16
	compression           byte
	// alert is the number of an alert instead, with refused.
	alert   byte
	refused bool
}

func u16(b []byte, values ...uint16) []byte {
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// vector puts the length in front.
func vector(size int, b []byte) []byte {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	return append(append([]byte{}, n[8-size:]...), b...)
}

func extension(id uint16, data []byte) []byte { return append(u16(nil, id), vector(2, data)...) }

// bytes is the record with the hello (RFC 5246 7.4.1.2, RFC 8446 4.1.2).
func (h *hello) bytes() []byte {
	legacy := min(h.version, tls12)
	body := u16(nil, legacy)
	body = append(body, make([]byte, 32)...) // who wants no secrets needs no random
	body = append(body, 0)                   // no session
	body = append(body, vector(2, u16(nil, h.suites...))...)
	if h.deflate {
		body = append(body, 2, 1, 0)
	} else {
		body = append(body, 1, 0)
	}
	groups := h.groups
	if len(groups) == 0 {
		groups = []uint16{23, 24, 25, 29, 30, 256, 257}
	}
	schemes := u16(nil, 0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
	ext := extension(10, vector(2, u16(nil, groups...)))
	ext = append(ext, extension(11, []byte{1, 0})...)
	ext = append(ext, extension(13, vector(2, schemes))...)
	ext = append(ext, extension(0xff01, []byte{0})...)
	if h.version == tls13 {
		ext = append(ext, extension(43, vector(1, u16(nil, tls13)))...)
		// Without a share the server has to name the group that it wants.
		ext = append(ext, extension(51, vector(2, nil))...)
	}
	body = append(body, vector(2, ext)...)
	message := append([]byte{1}, vector(3, body)...)
	return append(u16([]byte{22}, min(legacy, tls10)), vector(2, message)...)
}

// readAnswer reads the first record of a server.
func readAnswer(r io.Reader) (answer, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return answer{}, err
	}
	data := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(r, data); err != nil {
		return answer{}, err
	}
	if head[0] == 21 && len(data) == 2 {
		return answer{refused: true, alert: data[1]}, nil
	}
	if head[0] != 22 || len(data) < 44 || data[0] != 2 {
		return answer{}, fmt.Errorf("record of type %d with %x", head[0], data[:min(len(data), 16)])
	}
	a := answer{version: binary.BigEndian.Uint16(data[4:])}
	rest := data[6+32:]
	rest = rest[1+int(rest[0]):]
	a.suite, a.compression = binary.BigEndian.Uint16(rest), rest[2]
	size := int(data[1])<<16 | int(data[2])<<8 | int(data[3])
	end := 4 + size - (len(data) - len(rest)) // of the message, in rest
	if end <= 5 || end > len(rest) {
		return a, nil
	}
	for ext := rest[5:end]; len(ext) >= 4; {
		id, n := binary.BigEndian.Uint16(ext), int(binary.BigEndian.Uint16(ext[2:]))
		switch {
		case id == 43 && n == 2:
			a.version = binary.BigEndian.Uint16(ext[4:])
		case id == 51 && n >= 2:
			a.group = binary.BigEndian.Uint16(ext[4:])
		}
		ext = ext[4+n:]
	}
	return a, nil
}

// startTLS connects to a port and goes as far as the server waits for a hello.
func startTLS(t *testing.T, port int) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	r := bufio.NewReader(conn)
	for _, send := range []string{"", "STARTTLS\r\n"} {
		if _, err := io.WriteString(conn, send); err != nil {
			t.Fatal(err)
		}
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "220") {
			t.Fatalf("port %d: %q %q, %v", port, send, line, err)
		}
	}
	return conn, r
}

// ask sends a hello and returns the answer.
func (h *hello) ask(t *testing.T, port int) answer {
	t.Helper()
	conn, r := startTLS(t, port)
	defer func() { _ = conn.Close() }()
	_, err := conn.Write(h.bytes())
	must(t, err)
	a, err := readAnswer(r)
	if errors.Is(err, io.EOF) {
		return answer{refused: true}
	}
	must(t, err)
	return a
}

// suite is a cipher suite of OpenSSL.
type suite struct {
	id      uint16
	name    string
	since13 bool
}

// allSuites are those that the installed OpenSSL has.
func allSuites(t *testing.T) []suite {
	t.Helper()
	out, err := exec.Command("openssl", "ciphers", "-V", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").Output()
	must(t, err)
	var all []suite
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		id, err := strconv.ParseUint(strings.ReplaceAll(strings.ReplaceAll(f[0], "0x", ""), ",", ""), 16, 16)
		must(t, err)
		all = append(all, suite{uint16(id), f[2], strings.HasPrefix(f[2], "TLS_")})
	}
	if len(all) < 100 {
		t.Fatalf("openssl knows %d suites", len(all))
	}
	return all
}

// accepted lists the suites that a port takes with a version, in the order in which
// it takes them when the client prefers them as listed.
func accepted(t *testing.T, port int, version uint16, all []suite) []string {
	t.Helper()
	names := map[uint16]string{}
	var left []uint16
	for _, s := range all {
		if s.since13 == (version == tls13) {
			names[s.id] = s.name
			left = append(left, s.id)
		}
	}
	var out []string
	for len(left) > 0 {
		h := hello{version: version, suites: left}
		a := h.ask(t, port)
		if a.refused || a.version != version {
			break
		}
		if names[a.suite] == "" {
			t.Fatalf("port %d chooses suite %04x, which was not offered", port, a.suite)
		}
		out = append(out, names[a.suite])
		for i, id := range left {
			if id == a.suite {
				left = append(left[:i:i], left[i+1:]...)
				break
			}
		}
	}
	return out
}

// groupNames are the groups that may be asked for.
var groupNames = map[uint16]string{
	23: "prime256v1", 24: "secp384r1", 25: "secp521r1", 29: "X25519", 30: "X448", 256: "ffdhe2048", 257: "ffdhe3072", 0x11ec: "X25519MLKEM768",
}

// groups lists the groups that a port takes with TLS 1.3.
func groups(t *testing.T, port int) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for id, name := range groupNames {
		h := hello{version: tls13, suites: []uint16{0x1301, 0x1302, 0x1303}, groups: []uint16{id}}
		if a := h.ask(t, port); !a.refused && a.group == id {
			out[name] = true
		}
	}
	return out
}
