package maildrop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DirName is the maildrop below $queue_directory.
const DirName = "maildrop"

// Writer makes one file. It is an Encoder, once Begin was called, over a file that
// no reader sees before Commit.
type Writer struct {
	*Encoder
	file *os.File
	path string
	mode os.FileMode
	// done is set when the file is committed or removed.
	done atomic.Bool
}

// submitted is the mode of a complete file: readable for pickup, which runs as
// mail_owner. The directory keeps everybody else out.
const submitted os.FileMode = 0o744

// New makes a file in the maildrop below queueDir, so that its name is known. The
// caller begins the message, and ends it with Commit or Abort.
func New(queueDir string) (*Writer, error) {
	file, path, err := createFile(filepath.Join(queueDir, DirName))
	if err != nil {
		return nil, err
	}
	return &Writer{file: file, path: path, mode: submitted}, nil
}

// Create is New and Begin.
func Create(queueDir string, e *Envelope) (*Writer, error) {
	w, err := New(queueDir)
	if err != nil {
		return nil, err
	}
	if err := w.Begin(e); err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// Begin writes the envelope.
func (w *Writer) Begin(e *Envelope) (err error) {
	w.Encoder, err = NewEncoder(w.file, e)
	return err
}

// createFile makes a file with a name of its own, of Postfix's form: the microsecond
// in front spreads the names, the inode behind makes them unique. Until the inode is
// known the file has a name that no reader takes for a message.
func createFile(dir string) (file *os.File, path string, err error) {
	for try := 0; ; try++ {
		now := time.Now()
		first := filepath.Join(dir, fmt.Sprintf("%d.%d.%d", now.UnixNano(), os.Getpid(), try))
		if file, err = os.OpenFile(first, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return nil, "", err
		}
		if path, err = rename(file, dir, now.Nanosecond()/1000); err == nil {
			return file, path, nil
		}
		_ = os.Remove(first)
		_ = file.Close()
		if !errors.Is(err, os.ErrExist) || try >= 100 {
			return nil, "", err
		}
	}
}

// rename gives a file its name, unless another file has it.
func rename(file *os.File, dir string, micros int) (string, error) {
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.ErrUnsupported
	}
	path := filepath.Join(dir, fmt.Sprintf("%05X%X", micros, st.Ino))
	if err := unix.Renameat2(unix.AT_FDCWD, file.Name(), unix.AT_FDCWD, path, unix.RENAME_NOREPLACE); err != nil {
		return "", &os.PathError{Op: "rename", Path: path, Err: err}
	}
	return path, nil
}

// Name is the name of the file in the maildrop.
func (w *Writer) Name() string { return filepath.Base(w.path) }

// Commit makes the message durable and visible to pickup(8).
func (w *Writer) Commit() error {
	if w.Encoder == nil || w.done.Swap(true) {
		return errStage
	}
	err := w.Encoder.Close()
	if err == nil {
		err = w.file.Chmod(w.mode)
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		return errors.Join(err, os.Remove(w.path), w.file.Close())
	}
	// Where the directory may be read, its sync adds what a file system owes us
	// beyond the sync of a new file; a set-gid postdrop may not, which is fine.
	if dir, err := os.Open(filepath.Dir(w.path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return w.file.Close()
}

// Abort removes the file unless it has been committed.
func (w *Writer) Abort() {
	if w.Remove() {
		_ = w.file.Close()
	}
}

// Remove removes the file unless it has been committed, or is just being; false
// then. Unlike the other methods it may be called from another goroutine.
func (w *Writer) Remove() bool {
	if w.done.Swap(true) {
		return false
	}
	_ = os.Remove(w.path)
	return true
}

// validName tells whether a name can be that of a message: one of ours or of
// Postfix's, no dot files, no other junk.
func validName(name string) bool {
	if len(name) < 6 || len(name) > 100 {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}
