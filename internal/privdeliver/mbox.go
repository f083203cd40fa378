package privdeliver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"postroad/internal/sys"
)

// mbox appends to a mailbox file and makes it durable before it returns. A lock
// file comes before the mailbox is looked at, the other locks are on the open
// file: the order of other programs.
func mbox(r *Request, content io.Reader) Result {
	undot, warning, err := dotLocks(r)
	if err != nil {
		return mboxFailure(err, "unable to create lock file "+r.Path+".lock")
	}
	defer undot()
	out := openMbox(r, content)
	out.Warning = warning
	return out
}

// openMbox opens the mailbox, locks it and appends.
func openMbox(r *Request, content io.Reader) Result {
	f, what, err := openFile(r.Path)
	if errors.Is(err, syscall.ELOOP) {
		if err := syscall.Access(r.Path, accessReadWrite); err != nil {
			return mboxFailure(err, "cannot open file")
		}
		return Result{Class: Permission, Code: "5.2.0", Text: "file is a symbolic link"}
	}
	if err != nil {
		return mboxFailure(err, what)
	}
	defer func() { _ = f.Close() }()
	owner := os.Geteuid()
	if r.Owner != 0 {
		owner = r.Owner
		if err := adopt(f, owner, r.Group); err != nil {
			return mboxFailure(err, "cannot change ownership")
		}
	}
	regular, code, why := unsafe(f, owner, r.Named)
	if why != "" {
		return Result{Class: Permission, Code: code, Text: why}
	}
	if !regular {
		r.Locks = nil
	}
	unlock, err := lock(f, r)
	if err != nil {
		return mboxFailure(err, "unable to lock for exclusive access")
	}
	defer unlock()
	if !regular {
		if err := copyMbox(f, r, content); err != nil {
			return mboxFailure(err, "error writing message")
		}
		return Result{}
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return mboxFailure(err, "error writing message")
	}
	if r.Limit > 0 && end+r.Size+int64(len(r.Prefix)+len(r.From)) > r.Limit {
		return mboxFailure(syscall.EFBIG, "error writing message")
	}
	if err := writeMbox(f, r, content); err != nil {
		_ = f.Truncate(end) // invariant 4
		return mboxFailure(err, "error writing message")
	}
	return Result{}
}

// accessReadWrite are R_OK and W_OK of access(2).
const accessReadWrite = 4 | 2

// openFile opens a mailbox, or makes it; what says what was tried.
func openFile(path string) (f *os.File, what string, err error) {
	const flags = os.O_RDWR | os.O_APPEND | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err = os.OpenFile(path, flags, 0)
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o600)
		return f, "cannot create file exclusively", err
	}
	return f, "cannot open file", err
}

// mboxFailure is the answer to what went wrong: try again when the mailbox is in
// use or the system has no room, give up when it will not get better by itself.
func mboxFailure(err error, what string) Result {
	out := failure(err)
	out.Code = mailboxCode(err)
	out.Text = what + ": " + sys.Reason(err)
	return out
}

// mailboxCode is the RFC 3463 code for an error with a mailbox.
func mailboxCode(err error) string {
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ESTALE), errors.Is(err, os.ErrExist):
		return "4.2.0"
	case errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return "5.2.2"
	case errors.Is(err, syscall.ENOSPC):
		return "4.3.0"
	}
	return "5.2.0"
}

func writeMbox(f *os.File, r *Request, content io.Reader) error {
	if err := copyMbox(f, r, content); err != nil {
		return err
	}
	return f.Sync()
}

// copyMbox writes a message as a mailbox file holds it.
func copyMbox(f *os.File, r *Request, content io.Reader) error {
	head := r.From + "\n" + string(r.Prefix)
	if _, err := io.WriteString(f, head); err != nil {
		return err
	}
	if err := copyText(f, content, r.Size, &Form{From: true}); err != nil {
		return err
	}
	_, err := io.WriteString(f, "\n")
	return err
}

// adopt gives a mailbox file that root has just made to its user. A file that
// holds something is left as it is.
func adopt(f *os.File, uid, gid int) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Uid != 0 || st.Size != 0 || st.Nlink != 1 {
		return nil
	}
	return f.Chown(uid, gid)
}

// unsafe says why a file is no mailbox (invariant 5). A file that somebody named
// may be a device, as /dev/null is, but not a program.
func unsafe(f *os.File, owner int, named bool) (regular bool, code, why string) {
	info, err := f.Stat()
	if err != nil {
		return false, "4.3.0", err.Error()
	}
	if named && info.Mode()&os.ModeCharDevice != 0 {
		return false, "", ""
	}
	if !info.Mode().IsRegular() {
		return false, "5.2.0", "not a regular file"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return true, "4.3.0", "no information about the file"
	case st.Nlink != 1:
		return true, "5.2.0", fmt.Sprintf("file has %d hard links", st.Nlink)
	case named && info.Mode().Perm()&0o111 != 0:
		return true, "5.7.1", "file is executable"
	case !named && int(st.Uid) != owner:
		return true, "4.2.0", fmt.Sprintf("destination %s is not owned by recipient", f.Name())
	}
	return true, "", ""
}

// dotLocks makes the lock file where that style is asked for. A file that
// somebody named may stand where none can be made; then there is a warning.
func dotLocks(r *Request) (undo func(), warning string, err error) {
	nothing := func() {}
	if !slices.Contains(r.Locks, "dotlock") || r.Named && isDevice(r.Path) {
		return nothing, "", nil
	}
	undo, err = retryLock(r, func() error { return dotLock(r) }, func() { _ = os.Remove(r.Path + ".lock") })
	if err != nil && r.Named && !errors.Is(err, os.ErrExist) {
		return nothing, "unable to create lock file " + r.Path + ".lock: " + sys.Reason(err), nil
	}
	return undo, "", err
}

// isDevice tells whether a name is that of a device.
func isDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeDevice != 0
}

// lock takes the locks in their order and returns what releases them.
func lock(f *os.File, r *Request) (unlock func(), err error) {
	var undo []func()
	unlock = func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}
	for _, style := range r.Locks {
		var release func()
		switch style {
		case "fcntl":
			release, err = retryLock(r, func() error { return fcntlLock(f, syscall.F_WRLCK) }, func() { _ = fcntlLock(f, syscall.F_UNLCK) })
		case "flock":
			release, err = retryLock(r, func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) },
				func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) })
		case "dotlock":
			continue
		default:
			err = fmt.Errorf("unknown lock style %q", style)
		}
		if err != nil {
			unlock()
			return nil, err
		}
		undo = append(undo, release)
	}
	return unlock, nil
}

func retryLock(r *Request, try func() error, release func()) (func(), error) {
	for n := 1; ; n++ {
		err := try()
		if err == nil {
			return release, nil
		}
		if !errors.Is(err, os.ErrExist) && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
			return nil, err
		}
		if n >= max(1, r.Attempts) {
			return nil, err
		}
		time.Sleep(r.Delay)
	}
}

func fcntlLock(f *os.File, how int16) error {
	return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: how, Whence: io.SeekStart})
}

// dotLock creates the lock file, and removes one that was forgotten.
func dotLock(r *Request) error {
	name := r.Path + ".lock"
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) && r.Stale > 0 {
		if info, serr := os.Stat(name); serr == nil && time.Since(info.ModTime()) > r.Stale {
			_ = os.Remove(name)
			f, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		}
	}
	if err != nil {
		return err
	}
	return f.Close()
}
