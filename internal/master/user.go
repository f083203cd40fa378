package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// PrivdeliverArg is the argument that runs this binary as the process of a user.
const PrivdeliverArg = "privdeliver"

// startUser starts a process with the rights of a user and returns the socket to
// it. Root is refused, whoever asks.
func (m *supervisor) startUser(uid, gid int) (*os.File, error) {
	if uid <= 0 || gid <= 0 {
		return nil, fmt.Errorf("refusing to act as uid %d gid %d", uid, gid)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "user")
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer null.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	pid, err := syscall.ForkExec(m.exe, []string{"postroad", PrivdeliverArg}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/bin:/bin", "GOMAXPROCS=1"},
		Files: []uintptr{null.Fd(), os.Stdout.Fd(), os.Stderr.Fd(), theirs.Fd()},
		Sys:   &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}},
	})
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start %s for uid %d: %w", m.exe, uid, err)
	}
	// The process ends when the worker closes its socket.
	w := &process{pid: pid, exited: make(chan syscall.WaitStatus, 1)}
	m.children[pid] = w
	m.reap(w)
	return ours, nil
}

// user asks master for the socket to the process of a user.
func (w *worker) user(ctx context.Context, uid, gid int) (net.Conn, error) {
	a, err := w.ch.ask(ctx, &packet{Kind: kindUser, UID: uid, GID: gid})
	if err != nil {
		return nil, err
	}
	if len(a.files) != 1 {
		closeFiles(a.files)
		return nil, errors.New("master sent no socket")
	}
	defer a.files[0].Close()
	return net.FileConn(a.files[0])
}
