package testkit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// FreePort returns a port of 127.0.0.1 that is free, and that the system does not
// give to others while a server is down.
func FreePort(t testing.TB) int {
	t.Helper()
	return FreePorts(t, 1)[0]
}

// FreePorts is FreePort for several ports. They are the test's until its end: other
// tests, also those of other processes, are given others.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range 100 + 2*n {
		port := 20000 + rand.IntN(12000)
		// An abstract name is free again when its process has ended.
		claim, err := net.Listen("unix", fmt.Sprintf("@postroad-test-port-%d", port))
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			_ = claim.Close()
			continue
		}
		_ = l.Close() // nothing was accepted
		t.Cleanup(func() { _ = claim.Close() })
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("not enough ports are free")
	return nil
}

// Daemon is a server of one process that a test takes away and brings back.
type Daemon struct {
	t                testing.TB
	network, address string
	argv             []string
	cmd              *exec.Cmd
}

// StartDaemon runs a command, waits until it listens, and kills it at the end of
// the test.
func StartDaemon(t testing.TB, network, address string, argv ...string) *Daemon {
	t.Helper()
	d := &Daemon{t: t, network: network, address: address, argv: argv}
	t.Cleanup(d.Kill)
	d.Start()
	return d
}

// Start runs the command again.
func (d *Daemon) Start() {
	d.t.Helper()
	d.cmd = exec.Command(d.argv[0], d.argv[1:]...)
	d.cmd.Stderr = os.Stderr
	if err := d.cmd.Start(); err != nil {
		d.cmd = nil
		d.t.Fatalf("%v; its Debian package must be installed", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if !Poll(ctx, 20*time.Millisecond, d.listens) {
		d.t.Fatalf("%s does not listen on %s", d.argv[0], d.address)
	}
}

// listens tells whether somebody answers the address.
func (d *Daemon) listens() bool {
	c, err := net.Dial(d.network, d.address)
	if err != nil {
		return false
	}
	_ = c.Close() // nothing was said
	return true
}

// Kill ends the process at once, and removes a socket that it leaves.
func (d *Daemon) Kill() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait() // it was killed
	d.cmd = nil
	if d.network == "unix" {
		_ = os.Remove(d.address)
	}
}

// Pause stops the process as it is: it answers nothing and keeps its connections.
func (d *Daemon) Pause() {
	d.signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if !Poll(ctx, time.Millisecond, func() bool { return AllStopped(d.cmd.Process.Pid) }) {
		d.t.Fatalf("%s does not stop", d.argv[0])
	}
}

// Resume ends Pause.
func (d *Daemon) Resume() { d.signal(syscall.SIGCONT) }

func (d *Daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Fatal(err)
	}
}

// AllStopped tells whether all threads of a process have stopped, or have ended.
func AllStopped(pid int) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return true
	}
	for _, thread := range threads {
		id, _ := strconv.Atoi(thread.Name())
		if stat, err := ReadStat(id); err == nil && stat.State != 'T' && stat.State != 'Z' {
			return false
		}
	}
	return true
}

// Memcached starts a memcached on a unix socket.
func Memcached(t testing.TB, socket string) *Daemon {
	t.Helper()
	return StartDaemon(t, "unix", socket, "memcached", "-s", socket, "-a", "0777", "-u", "root")
}
