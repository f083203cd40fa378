package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postroad/internal/privdeliver"
)

// PrivdeliverArg is the argument that runs this binary as the process of a user.
const PrivdeliverArg = "privdeliver"

// startUser starts a process with the rights of a user and returns the socket to
// it. Root's is held to what the configuration says about mailboxes.
func (m *supervisor) startUser(uid, gid int) (*os.File, error) {
	args := []string{"postroad", PrivdeliverArg}
	switch {
	case uid == 0 && gid == 0:
		args = append(args, m.rootLimits().Args()...)
	case uid <= 0 || gid <= 0:
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
	pid, err := syscall.ForkExec(m.exe, args, &syscall.ProcAttr{
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

// rootLimits are what a process with root's rights may touch.
func (m *supervisor) rootLimits() privdeliver.Limits {
	m.mu.Lock()
	set := m.settings
	m.mu.Unlock()
	home := "/root"
	if u, err := user.LookupId("0"); err == nil {
		home = u.HomeDir
	}
	l := privdeliver.Limits{Forward: filepath.Join(home, ".forward")}
	if spool := set.MailSpoolDirectory; spool != "" && !strings.HasSuffix(spool, "/") {
		l.Spool, l.Mailbox = filepath.Clean(spool), filepath.Join(spool, "root")
	}
	if set.HomeMailbox != "" {
		l.Mailbox = filepath.Join(home, set.HomeMailbox)
		if strings.HasSuffix(set.HomeMailbox, "/") {
			l.Mailbox += "/"
		}
	}
	return l
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
