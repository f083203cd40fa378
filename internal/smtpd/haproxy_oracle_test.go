//go:build oracle

package smtpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// TestRealHAProxy puts a HAProxy of its own between client and server: both
// versions of the protocol, in clear text and in front of TLS, and its check of
// the server's health.
func TestRealHAProxy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	chain := certificate(t)
	type leg struct {
		name, options string
		wrapped       bool
		j             *journal
		front, back   string
	}
	legs := []*leg{
		{name: "v1", options: "send-proxy"},
		{name: "v2", options: "send-proxy-v2"},
		{name: "v2-tlv", options: "send-proxy-v2 proxy-v2-options crc32c,unique-id"},
		{name: "v1-tls", options: "send-proxy", wrapped: true},
		{name: "v2-tls", options: "send-proxy-v2", wrapped: true},
		{name: "health", options: "send-proxy-v2 check check-send-proxy inter 50ms fall 100"},
	}
	var conf strings.Builder
	conf.WriteString("global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n  timeout check 10s\n")
	for _, l := range legs {
		main := "smtpd_upstream_proxy_protocol = haproxy\ninet_protocols = ipv4\n"
		if l.wrapped {
			main += "smtpd_tls_wrappermode = yes\nsmtpd_tls_security_level = may\nsmtpd_tls_chain_files = " + chain + "\n"
		}
		srv, _ := newServer(t, main)
		l.j = &journal{}
		srv.Log = l.j
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.back, l.front = ln.Addr().String(), "127.0.0.1:"+strconv.Itoa(testkit.FreePort(t))
		// goroutine: the server; ends when the test closes the listener.
		go func() { _ = srv.Serve(t.Context(), ln) }()
		t.Cleanup(func() { _ = ln.Close() })
		fmt.Fprintf(&conf, "listen %s\n  bind %s\n  unique-id-format %%{+X}o%%ci\n", l.name, l.front)
		if l.name == "health" {
			conf.WriteString("  option smtpchk HELO balancer.test\n")
		}
		fmt.Fprintf(&conf, "  server mx %s %s\n", l.back, l.options)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(conf.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/haproxy", "-db", "-q", "-f", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for _, l := range legs {
		from := "127.0.0.7"
		if got := helo(t, l.front, from, l.wrapped); !strings.HasPrefix(got, "250") {
			t.Errorf("%s: the client hears %q", l.name, got)
		}
		l.j.expect(t, l.name, "connect from unknown["+from+"]")
	}
	legs[5].j.expect(t, "health", "disconnect from unknown[127.0.0.1] helo=1 quit=1 commands=2")
}

// expect waits until the log has a line.
func (j *journal) expect(t *testing.T, who, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if !testkit.Poll(ctx, 10*time.Millisecond, func() bool { return strings.Contains(j.String(), line) }) {
		t.Errorf("%s: no %q in the log:\n%s", who, line, j)
	}
}

// helo greets the server behind addr and returns the answer.
func helo(t *testing.T, addr, from string, wrapped bool) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	var conn net.Conn
	var err error
	for range 100 { // until it listens
		if conn, err = d.Dial("tcp4", addr); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if wrapped {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test's certificate
	}
	buf := make([]byte, 512)
	if _, err := conn.Read(buf); err != nil {
		return err.Error()
	}
	if _, err := conn.Write([]byte("HELO client.test\r\n")); err != nil {
		return err.Error()
	}
	n, err := conn.Read(buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}
