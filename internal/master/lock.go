package master

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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
	if err := flock(f, unix.LOCK_EX); err != nil {
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

// Unlock gives the lock up for every process that has the file open: a program
// that this one starts at this moment has it until it becomes that program.
func (l *Lock) Unlock() error {
	if err := unix.Flock(int(l.f.Fd()), unix.LOCK_UN); err != nil {
		return err
	}
	return l.f.Close()
}

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
	err = flock(f, unix.LOCK_SH)
	if err == nil {
		return "", false, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return "", false, err
	}
	return firstLine(f), true, nil
}

// orphanWait is how long a lock is waited for whose master is dead: its worker
// notices that within moments and ends.
const orphanWait = 8 * time.Second

// flock takes the lock without waiting for a master that lives.
func flock(f *os.File, how int) error {
	for end := time.Now().Add(orphanWait); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
		pid, perr := strconv.Atoi(strings.TrimSpace(firstLine(f)))
		if perr != nil || pid <= 0 || alive(pid) {
			return err
		}
	}
}

// alive tells whether a process runs; one that is dead and not yet reaped does not.
func alive(pid int) bool {
	if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	// The state is the first field behind the name, which is in parentheses.
	end := strings.LastIndexByte(string(stat), ')')
	return end < 0 || end+2 >= len(stat) || (stat[end+2] != 'Z' && stat[end+2] != 'X')
}

// firstLine is what the lock file says.
func firstLine(f *os.File) string {
	buf := make([]byte, 64)
	n, _ := f.ReadAt(buf, 0)
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	return line
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
