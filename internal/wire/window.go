package wire

import (
	"strings"
	"syscall"
)

// Window returns the Control function of a net.Dialer or net.ListenConfig that
// gives a TCP socket buffers of that size before it connects or listens
// (tcp_windowsize); nil leaves them to the system.
func Window(size int) func(network, address string, c syscall.RawConn) error {
	if size <= 0 {
		return nil
	}
	return func(network, _ string, c syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return nil
		}
		var err error
		if failed := c.Control(func(fd uintptr) {
			if err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, size); err == nil {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
			}
		}); failed != nil {
			return failed
		}
		return err
	}
}
