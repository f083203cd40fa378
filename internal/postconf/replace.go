package postconf

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"postroad/internal/sys"
)

// ReplaceFile replaces the content of a file by what change makes of it, so that
// a reader sees the old or the new text and nothing else, even after a power
// failure. Two editors take turns. The mode and the owner stay. When change fails
// nothing is replaced.
func ReplaceFile(file string, change func(old []byte) ([]byte, error)) error {
	target, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("open %s for reading: %s", file, sys.Reason(err))
	}
	tmp := target + ".tmp"
	f, err := lockTemp(tmp)
	if err != nil {
		return fmt.Errorf("open %s: %s", tmp, sys.Reason(err))
	}
	done := false
	defer func() {
		if !done {
			// The name is ours as long as we hold the lock.
			_ = os.Remove(tmp)
		}
		_ = f.Close() // after Sync there is nothing left that could fail
	}()
	info, err := os.Stat(target)
	if err != nil {
		return fmt.Errorf("open %s for reading: %s", file, sys.Reason(err))
	}
	old, err := os.ReadFile(target)
	if err != nil {
		return fmt.Errorf("open %s for reading: %s", file, sys.Reason(err))
	}
	text, err := change(old)
	if err != nil {
		return err
	}
	if err := writeTemp(f, text, info); err != nil {
		return fmt.Errorf("write %s: %s", tmp, sys.Reason(err))
	}
	if err := os.Rename(tmp, target); err != nil {
		return fmt.Errorf("rename %s: %s", tmp, sys.Reason(err))
	}
	done = true
	if err := syncDir(filepath.Dir(target)); err != nil {
		return fmt.Errorf("write %s: %s", file, sys.Reason(err))
	}
	return nil
}

// lockTemp opens the temporary file and locks it. Somebody else who held the lock
// may have renamed the file meanwhile; then there is another turn.
func lockTemp(tmp string) (*os.File, error) {
	for {
		f, err := os.OpenFile(tmp, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			_ = f.Close()
			return nil, err
		}
		ours, err1 := f.Stat()
		there, err2 := os.Lstat(tmp)
		if err1 == nil && err2 == nil && os.SameFile(ours, there) {
			return f, nil
		}
		_ = f.Close()
	}
}

// writeTemp writes the text and gives the file the mode and owner of the old one.
func writeTemp(f *os.File, text []byte, old os.FileInfo) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(text, 0); err != nil {
		return err
	}
	if st, ok := old.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	if err := f.Chmod(old.Mode().Perm()); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes a change of the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
