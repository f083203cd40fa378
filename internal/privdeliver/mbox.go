package privdeliver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// mbox appends to a mailbox file and makes it durable before it returns.
func mbox(r *Request, content io.Reader) Result {
	f, err := os.OpenFile(r.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return Result{Class: Permission, Text: fmt.Sprintf("cannot update mailbox %s: file is a symbolic link", r.Path)}
	}
	if err != nil {
		return mboxFailure(r, err)
	}
	defer func() { _ = f.Close() }()
	owner := os.Geteuid()
	if r.Owner != 0 {
		owner = r.Owner
		if err := adopt(f, owner, r.Group); err != nil {
			return mboxFailure(r, err)
		}
	}
	if why := unsafe(f, owner); why != "" {
		return Result{Class: Permission, Text: fmt.Sprintf("cannot update mailbox %s: %s", r.Path, why)}
	}
	unlock, err := lock(f, r)
	if err != nil {
		return mboxFailure(r, err)
	}
	defer unlock()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return mboxFailure(r, err)
	}
	if r.Limit > 0 && end+r.Size+int64(len(r.Prefix)+len(r.From)) > r.Limit {
		return Result{Class: Quota, Text: fmt.Sprintf("cannot update mailbox %s: File too large", r.Path)}
	}
	if err := writeMbox(f, r, content); err != nil {
		_ = f.Truncate(end) // invariant 4
		return mboxFailure(r, err)
	}
	return Result{}
}

func mboxFailure(r *Request, err error) Result {
	out := failure(err)
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	text := err.Error()
	out.Text = fmt.Sprintf("cannot update mailbox %s: %s", r.Path, strings.ToUpper(text[:1])+text[1:])
	if out.Class == NotFound {
		out.Class = Temporary
	}
	return out
}

func writeMbox(f *os.File, r *Request, content io.Reader) error {
	head := r.From + "\n" + string(r.Prefix)
	if _, err := io.WriteString(f, head); err != nil {
		return err
	}
	if err := copyText(f, content, r.Size, true); err != nil {
		return err
	}
	if _, err := io.WriteString(f, "\n"); err != nil {
		return err
	}
	return f.Sync()
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

// unsafe says why a file is no mailbox of a user (invariant 5).
func unsafe(f *os.File, owner int) string {
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	if !info.Mode().IsRegular() {
		return "not a regular file"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return "no information about the file"
	case st.Nlink != 1:
		return fmt.Sprintf("file has %d links", st.Nlink)
	case int(st.Uid) != owner:
		return fmt.Sprintf("destination %s is not owned by recipient", f.Name())
	}
	return ""
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
			release, err = retryLock(r, func() error { return dotLock(r) }, func() { _ = os.Remove(r.Path + ".lock") })
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
			return nil, fmt.Errorf("unable to lock for exclusive access: %w", err)
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
