package master

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// exit is how a command ended.
type exit = syscall.WaitStatus

// spawnListener is one listening socket of a spawn service.
type spawnListener struct {
	start   starter
	ln      net.Listener
	service atomic.Pointer[spawnService]
	// wake tells serve that one more command may run: one has ended, the limit
	// has changed, or the service is closed.
	wake chan struct{}

	mu       sync.Mutex
	closed   bool
	children map[int]*command
}

// serve accepts clients, as many at a time as the service may have commands.
// The others wait in the queue of the socket.
func (l *spawnListener) serve() {
	for {
		for l.full() {
			<-l.wake
		}
		conn, err := l.ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.service.Load().log.Warnf("accept connection: %v", err)
			time.Sleep(backoffFirst)
			continue
		}
		l.run(conn)
	}
}

func (l *spawnListener) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := l.service.Load().max
	return !l.closed && limit > 0 && len(l.children) >= limit
}

// run starts the command for one client.
func (l *spawnListener) run(conn net.Conn) {
	s := l.service.Load()
	f, err := blockingFile(conn)
	_ = conn.Close()
	if err != nil {
		s.log.Warnf("%s: %v", s.argv[0], err)
		return
	}
	defer f.Close()
	started := make(chan *command, 1)
	pid, err := l.start(s, f, func(status exit) {
		l.forget(<-started)
		s.report(status)
	})
	if err != nil {
		s.log.Warnf("%s: %v", s.argv[0], err)
		return
	}
	c := &command{pid: pid}
	c.timer = time.AfterFunc(s.limit, func() { l.overdue(s, c) })
	l.mu.Lock()
	l.children[pid] = c
	if l.closed {
		_ = syscall.Kill(-pid, syscall.SIGTERM)
	}
	l.mu.Unlock()
	started <- c
}

// command is one that runs.
type command struct {
	pid   int
	timer *time.Timer
}

// forget notes the end of a command.
func (l *spawnListener) forget(c *command) {
	c.timer.Stop()
	l.mu.Lock()
	delete(l.children, c.pid)
	l.mu.Unlock()
	poke(l.wake)
}

// overdue kills a command that takes too long, with all that it started.
func (l *spawnListener) overdue(s *spawnService, c *command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.children[c.pid] != c {
		return
	}
	s.log.Warnf("%s: process id %d: command time limit exceeded", s.argv[0], c.pid)
	_ = syscall.Kill(-c.pid, syscall.SIGKILL) // it may have ended just now
}

// report says how a command ended, unless it ended well.
func (s *spawnService) report(status exit) {
	switch {
	case status.Signaled():
		s.log.Warnf("command %s killed by signal %d", s.argv[0], status.Signal())
	case status.ExitStatus() != 0:
		s.log.Warnf("command %s exit status %d", s.argv[0], status.ExitStatus())
	}
}

// close ends the service and its commands.
func (l *spawnListener) close() {
	_ = l.ln.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for pid := range l.children {
		_ = syscall.Kill(-pid, syscall.SIGTERM)
	}
	poke(l.wake)
}

// blockingFile is the socket of a connection as programs expect it.
func blockingFile(conn net.Conn) (*os.File, error) {
	with, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, errors.New("the connection has no descriptor")
	}
	f, err := with.File()
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(int(f.Fd()), false); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// forkCommand starts the command of a service. change tells whether this process
// may become somebody else.
func forkCommand(s *spawnService, conn *os.File, change bool) (int, error) {
	// A group of its own, so that all of it can be killed.
	sys, root, dir := &syscall.SysProcAttr{Setsid: true}, "", s.dir
	if change && s.chroot {
		root, dir = s.dir, "/"
		sys.Chroot = root
	}
	path, err := findProgram(root, s.argv[0])
	if err != nil {
		return 0, err
	}
	if change {
		sys.Credential = &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.gid), Groups: []uint32{uint32(s.gid)}}
	}
	fd := conn.Fd()
	return syscall.ForkExec(path, s.argv, &syscall.ProcAttr{Dir: dir, Env: s.env, Files: []uintptr{fd, fd, fd}, Sys: sys})
}

// findProgram searches the path of commands, below root.
func findProgram(root, name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range []string{"/usr/bin", "/bin"} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(filepath.Join(root, path)); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// startHere starts a command as the user that this process is.
func startHere(s *spawnService, conn *os.File, done func(exit)) (int, error) {
	pid, err := forkCommand(s, conn, false)
	if err != nil {
		return 0, err
	}
	// goroutine: waits for the command; ends with it.
	go func() {
		var status exit
		for {
			_, err := syscall.Wait4(pid, &status, 0, nil)
			if !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		done(status)
	}()
	return pid, nil
}

// startSpawned is the starter of the supervisor, who reaps all children.
func (m *supervisor) startSpawned(s *spawnService, conn *os.File, done func(exit)) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pid, err := forkCommand(s, conn, true)
	if err != nil {
		return 0, err
	}
	w := &process{pid: pid, exited: make(chan syscall.WaitStatus, 1)}
	m.children[pid] = w
	m.reap(w)
	// goroutine: waits for the command; ends with it.
	go func() {
		status := <-w.exited
		m.mu.Lock()
		delete(m.children, pid)
		m.mu.Unlock()
		done(status)
	}()
	return pid, nil
}
