package wire

import (
	"net"
	"syscall"
	"testing"
)

// TestWindow asks the system for the buffers of both ends of a connection.
func TestWindow(t *testing.T) {
	t.Parallel()
	if Window(0) != nil {
		t.Error("0 is a size")
	}
	lc := net.ListenConfig{Control: Window(20000)}
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d := net.Dialer{Control: Window(30000)}
	c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, tt := range []struct {
		conn syscall.Conn
		want int
	}{{l.(*net.TCPListener), 20000}, {c.(*net.TCPConn), 30000}} {
		raw, err := tt.conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for _, opt := range []int{syscall.SO_SNDBUF, syscall.SO_RCVBUF} {
			got := 0
			if err := raw.Control(func(fd uintptr) { got, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, opt) }); err != nil {
				t.Fatal(err)
			}
			// Linux doubles it for its own needs.
			if got != tt.want && got != 2*tt.want {
				t.Errorf("option %d: %d, want %d", opt, got, tt.want)
			}
		}
	}
}
