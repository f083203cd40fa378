package master

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrRunning says that another master holds the lock.
var ErrRunning = errors.New("the Postfix mail system is already running")

// Lock is the lock that makes a master the only one of its queue.
type Lock struct{ f *os.File }

// pidFile is where the process id of the running master is kept.
func pidFile(queueDir string) string { return filepath.Join(queueDir, "pid", "master.pid") }

// AcquireLock takes the lock and writes our process id. The lock ends with the
// last process that has the file open.
func AcquireLock(queueDir string) (*Lock, error) {
	path := pidFile(queueDir)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Padded as Postfix does, so that rewriting never needs a truncation.
	if _, err := f.WriteAt(fmt.Appendf(nil, "%*d\n", 32, os.Getpid()), 0); err != nil {
		f.Close()
		return nil, err
	}
	return &Lock{f: f}, nil
}

// Release gives the lock up. The file stays, as with Postfix.
func (l *Lock) Release() error { return l.f.Close() }

// Running tells whether a master runs on the queue, and its process id as the
// first line of the lock file reads. An error means that it cannot be known.
func Running(queueDir string) (line string, running bool, err error) {
	f, err := os.Open(pidFile(queueDir))
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		return "", false, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return "", false, err
	}
	buf := make([]byte, 64)
	n, _ := f.ReadAt(buf, 0)
	line, _, _ = strings.Cut(string(buf[:n]), "\n")
	return line, true, nil
}

// RunningPID is Running with the process id as a number.
func RunningPID(queueDir string) (int, bool, error) {
	line, running, err := Running(queueDir)
	if err != nil || !running {
		return 0, running, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return 0, true, fmt.Errorf("%s: no process id", pidFile(queueDir))
	}
	return pid, true, nil
}
