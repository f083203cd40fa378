package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postroad/internal/testkit"
)

// Subject is a mail server that is run with Postfix's commands: Debian's
// Postfix, or Postroad, or any other that installs the same names.
type Subject struct {
	// Name is for people and for file names.
	Name string
	// Bin is a directory with the commands; "" means those of the system.
	Bin string
}

// Postfix is the Postfix that the system has installed.
func Postfix() Subject { return Subject{Name: "postfix"} }

// commands are the names under which a mail server is run.
var commands = []string{"postfix", "postconf", "postmap", "postalias", "postqueue", "postsuper", "postcat",
	"postdrop", "postlog", "postkick", "postlock", "postmulti", "sendmail", "mailq", "newaliases"}

// Stage copies the program and its links from bin to dir, gives the two
// commands that need it the group postdrop, and returns the subject.
func Stage(name, bin, dir string) (Subject, error) {
	prog, err := os.ReadFile(filepath.Join(bin, "postroad"))
	if err != nil {
		return Subject{}, fmt.Errorf("%s is not built: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "postroad"), prog, 0o755); err != nil {
		return Subject{}, err
	}
	for _, c := range commands {
		to := filepath.Join(dir, c)
		if c != "postdrop" && c != "postqueue" {
			if err := os.Symlink("postroad", to); err != nil {
				return Subject{}, err
			}
			continue
		}
		if err := os.WriteFile(to, prog, 0o755); err != nil {
			return Subject{}, err
		}
		if err := command("chgrp", "postdrop", to); err != nil {
			return Subject{}, err
		}
		if err := os.Chmod(to, 0o755|os.ModeSetgid); err != nil {
			return Subject{}, err
		}
	}
	return Subject{Name: name, Bin: dir}, nil
}

// path is the beginning of the search path.
func (s Subject) path() string {
	if s.Bin == "" {
		return ""
	}
	return s.Bin + ":"
}

// install puts the subject's commands over the system's, so that a program
// that calls /usr/sbin/sendmail meets the subject too.
func (s Subject) install(_ *Box) error {
	if s.Bin == "" {
		return nil
	}
	for _, c := range commands {
		for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
			there := filepath.Join(dir, c)
			fi, err := os.Lstat(there)
			if err != nil || !fi.Mode().IsRegular() {
				continue
			}
			if err := syscall.Mount(filepath.Join(s.Bin, c), there, "", syscall.MS_BIND, ""); err != nil {
				return fmt.Errorf("bind %s: %w", there, err)
			}
		}
	}
	return nil
}

// StartServer runs "postfix start" on the configuration in dir and waits until
// addr (a host and port of the server, or "") takes connections.
func (b *Box) StartServer(ctx context.Context, dir, addr string) error {
	if _, err := b.Must(ctx, "postfix -c "+dir+" start"); err != nil {
		return err
	}
	if addr == "" {
		return nil
	}
	return b.WaitPort(ctx, addr)
}

// WaitPort waits until the server listens on the port of addr. It looks into
// the kernel's table: a connection of its own would be seen in the log.
func (b *Box) WaitPort(ctx context.Context, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	ok := testkit.Poll(ctx, 10*time.Millisecond, func() bool { return listening(uint16(n)) })
	if !ok {
		return fmt.Errorf("server does not listen at %s", addr)
	}
	return nil
}

// listening tells whether some socket of the server's network listens on port.
func listening(port uint16) bool {
	suffix := fmt.Sprintf(":%04X", port)
	for _, table := range []string{"/proc/1/net/tcp", "/proc/1/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 3 && strings.HasSuffix(f[1], suffix) && f[3] == "0A" {
				return true
			}
		}
	}
	return false
}

// StopServer runs "postfix stop".
func (b *Box) StopServer(ctx context.Context, dir string) error {
	_, err := b.Must(ctx, "postfix -c "+dir+" stop")
	return err
}

// Processes lists the subject's processes: all of the box but its first, the
// runner, and the runner's own helpers.
func (b *Box) Processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	self := os.Getpid()
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 || pid == self {
			continue
		}
		stat, err := testkit.ReadStat(pid)
		if err != nil || stat.State == 'Z' || stat.Parent == self || stat.Parent == 0 {
			continue
		}
		pids = append(pids, pid)
	}
	sort.Ints(pids)
	return pids, nil
}

// Kill ends the whole server with SIGKILL, as nothing else does: no process of
// it runs another instruction. It repeats until none is left.
func (b *Box) Kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var last error
	ok := testkit.Poll(ctx, 2*time.Millisecond, func() bool {
		pids, err := b.Processes()
		if err != nil {
			last = err
			return false
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				last = err
			}
		}
		return len(pids) == 0
	})
	if !ok {
		return fmt.Errorf("server would not die: %v", last)
	}
	return nil
}

// Log returns the lines of the mail log.
func (b *Box) Log() ([]string, error) {
	f, err := os.Open("/var/log/mail.log")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimRight(line, "\n"))
	}
	return lines, nil
}
