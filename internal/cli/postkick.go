package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"postroad/internal/control"
	"postroad/internal/sys"
)

// runPostkick is postkick(1). Our services have no sockets of their own: a
// request to pickup or qmgr becomes the request to the server that means it.
func runPostkick(e *Env) int {
	const usage = "usage: postkick [-c config_dir] [-v] class service request"
	dir, args, err := e.plainOptions()
	if err != nil {
		return e.Fatalf(1, usage)
	}
	if len(args) != 3 {
		return e.Fatalf(1, usage)
	}
	c, err := e.load(dir)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	client := control.NewClient(c.settings.QueueDirectory)
	class, service, request := args[0], args[1], args[2]
	err = syscall.ENOENT
	switch {
	case class == "public" && service == "pickup":
		err = client.Pickup(context.Background())
	case class == "public" && service == "qmgr":
		err = nil
		if strings.ContainsAny(request, "DI") {
			err = client.Flush(context.Background(), control.Flush{})
		}
	}
	if err != nil {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			e.Warnf("unable to look up %s/%s: %s", class, service, sys.Reason(err))
		}
		e.Warnf("Cannot contact class %s service %s - perhaps the mail system is down", class, service)
		return 1
	}
	return 0
}

// plainOptions parses the options of commands that know only -c and -v.
func (e *Env) plainOptions() (dir string, rest []string, err error) {
	g := NewGetopt(e.Args, "c:v")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return "", nil, err
		}
		switch opt {
		case 0:
			return dir, g.Args(), nil
		case 'c':
			dir = g.Arg
		}
	}
}

// Bounds of the wait for a lock, those of Postfix's deliver_lock parameters.
const (
	lockAttempts = 20
	lockPause    = time.Second
	lockStale    = 500 * time.Second
)

// runPostlock is postlock(1): it locks a mailbox as local(8) does and runs a
// command. The exit code is that of the command, 75 when there was no lock.
func runPostlock(e *Env) int {
	var dir, style string
	g := NewGetopt(e.Args, "c:l:v")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return e.Fatalf(exTempfail, "usage: postlock [-c config_dir] [-l lock_style] [-v] folder command...")
		}
		if opt == 0 {
			break
		}
		switch opt {
		case 'c':
			dir = g.Arg
		case 'l':
			style = g.Arg
		}
	}
	args := g.Args()
	if len(args) < 2 {
		return e.Fatalf(exTempfail, "usage: postlock [-c config_dir] [-l lock_style] [-v] folder command...")
	}
	c, err := e.load(dir)
	if err != nil {
		return e.Fatalf(exTempfail, "%v", err)
	}
	if style == "" {
		style = c.settings.MailboxLock
	}
	unlock, err := lockFolder(args[0], style)
	var unknown *lockStyleError
	if errors.As(err, &unknown) {
		return e.Fatalf(exTempfail, "%v", err)
	}
	if err != nil {
		return e.Fatalf(exTempfail, "open file %s: %v", args[0], err)
	}
	defer unlock()
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = e.Stdin, e.Stdout, e.Stderr, e.Environ
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	case errors.As(err, &exit):
		return 1
	}
	return e.Fatalf(1, "execvp %s: %s", args[1], sys.Reason(err))
}

// lockStyleError is a word in a lock style that is none.
type lockStyleError struct{ word, style string }

// Error implements error.
func (e *lockStyleError) Error() string {
	return fmt.Sprintf("unknown mailbox_delivery_lock value \"%s\" in \"%s\"", e.word, e.style)
}

// lockFolder takes the locks that a style such as "fcntl, dotlock" names.
func lockFolder(path, style string) (unlock func(), err error) {
	words := strings.FieldsFunc(style, func(r rune) bool { return strings.ContainsRune(", \t", r) })
	for _, word := range words {
		if word != "flock" && word != "fcntl" && word != "dotlock" {
			return nil, &lockStyleError{word: word, style: style}
		}
	}
	var undo []func()
	unlock = func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	// The lock file first: it needs no folder.
	if slices.Contains(words, "dotlock") {
		if err := retryLock(func() error { return dotlock(path) }); err != nil {
			return nil, fmt.Errorf("unable to create lock file %s.lock: %s", path, sys.Reason(err))
		}
		undo = append(undo, func() { _ = os.Remove(filepath.Clean(path) + ".lock") })
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		unlock()
		return nil, errors.New(sys.Reason(err))
	}
	undo = append(undo, func() { f.Close() })
	for _, word := range words {
		try := func() error { return nil }
		switch word {
		case "flock":
			try = func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
		case "fcntl":
			try = func() error {
				return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
			}
		}
		if err := retryLock(try); err != nil {
			unlock()
			return nil, fmt.Errorf("unable to lock for exclusive access: %s", sys.Reason(err))
		}
	}
	return unlock, nil
}

// retryLock tries until it succeeds or the attempts are used up.
func retryLock(try func() error) error {
	var err error
	for i := range lockAttempts {
		if err = try(); err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			return err // waiting does not help
		}
		if i+1 < lockAttempts {
			time.Sleep(lockPause)
		}
	}
	return err
}

// dotlock makes path.lock; one that is older than lockStale is removed first.
func dotlock(path string) error {
	name := filepath.Clean(path) + ".lock"
	if st, err := os.Lstat(name); err == nil && time.Since(st.ModTime()) > lockStale {
		_ = os.Remove(name)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	return f.Close()
}
