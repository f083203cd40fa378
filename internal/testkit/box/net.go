package box

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ServerIP is the address of the subject on the cable.
const ServerIP = "192.0.2.1"

// serverNet and worldNet are the two ends of the cable, as lines for ip(8).
const serverNet = `link set lo up
addr add 192.0.2.1/24 dev s0
addr add fd00::1/64 dev s0 nodad
addr add 2001:db8::1/128 dev s0 nodad
link set s0 up
route add 198.51.100.0/24 via 192.0.2.2
route add 203.0.113.0/24 via 192.0.2.2
route add 2001:db8::/64 via fd00::2 dev s0 src 2001:db8::1
`

// The world owns whole networks: a local route makes every address of them
// ours without adding each. The more specific route beside it leads back.
const worldNet = `link set lo up
addr add 192.0.2.2/24 dev w0
addr add fd00::2/64 dev w0 nodad
link set w0 up
route add local 192.0.2.0/24 dev lo
route add local 198.51.100.0/24 dev lo
route add local 203.0.113.0/24 dev lo
route add local 2001:db8::/64 dev lo
route add 192.0.2.1/32 dev w0 src 192.0.2.2 table local
route add 2001:db8::1/128 via fd00::1 dev w0 table local
`

// layCable connects the server's network, in which the first process of the
// box lives, with that of this process.
func (b *Box) layCable() error {
	here, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	there, err := os.Open("/proc/1/ns/net")
	if err != nil {
		return err
	}
	b.world, b.server = here, there
	// Not by process number: that would name the network of the main thread,
	// which may be the very one that is away in the server's.
	self := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), here.Fd())
	err = b.InServer(func() error {
		if err := command("ip", "link", "add", "s0", "type", "veth", "peer", "name", "w0", "netns", self); err != nil {
			return err
		}
		return ipBatch(serverNet)
	})
	if err != nil {
		return err
	}
	return ipBatch(worldNet)
}

// ipBatch feeds lines to ip(8). IPv6 may be compiled out; then its lines are
// an error like any other.
func ipBatch(lines string) error {
	for _, family := range []string{"-4", "-6"} {
		var mine []string
		for line := range strings.Lines(lines) {
			if strings.Contains(line, "::") == (family == "-6") {
				mine = append(mine, line)
			}
		}
		cmd := exec.Command("ip", family, "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(mine, ""))
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", family, err, out)
		}
	}
	return nil
}

// InServer calls f on a thread that is in the server's network. A socket made
// or a process started by f belongs to that network for good.
func (b *Box) InServer(f func() error) error {
	runtime.LockOSThread()
	if err := unix.Setns(int(b.server.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the server's network: %w", err)
	}
	err := f()
	if back := unix.Setns(int(b.world.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread is in the wrong network: it stays locked, and dies with
		// its goroutine.
		return fmt.Errorf("leave the server's network: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// anyAddr lets a socket use an address that no interface has.
func anyAddr(network, _ string, c syscall.RawConn) error {
	var opErr error
	err := c.Control(func(fd uintptr) {
		opErr = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		if strings.HasSuffix(network, "6") {
			opErr = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		}
	})
	if err != nil {
		return err
	}
	return opErr
}

// Listen opens a listening TCP socket of the world, at any address of it; an
// address of 127.0.0.0/8 or ::1 is one of the server's machine.
func (b *Box) Listen(addr string) (net.Listener, error) {
	lc := net.ListenConfig{Control: anyAddr}
	lc.SetMultipathTCP(false)
	var l net.Listener
	open := func() (err error) {
		l, err = lc.Listen(context.Background(), "tcp", addr)
		return err
	}
	return l, b.at(addr, open)
}

// Dial connects to addr; from is the address the peer sees, "" for any.
func (b *Box) Dial(ctx context.Context, from, addr string) (net.Conn, error) {
	d := net.Dialer{Control: anyAddr}
	d.SetMultipathTCP(false)
	if from != "" {
		ip, err := netip.ParseAddr(from)
		if err != nil {
			return nil, err
		}
		d.LocalAddr = &net.TCPAddr{IP: ip.AsSlice()}
	}
	var conn net.Conn
	open := func() (err error) {
		conn, err = d.DialContext(ctx, "tcp", addr)
		return err
	}
	return conn, b.at(addr, open)
}

// at calls open in the network that addr belongs to.
func (b *Box) at(addr string, open func() error) error {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	if ap.Addr().IsLoopback() {
		return b.InServer(open)
	}
	return open()
}
