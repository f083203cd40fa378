package privdeliver

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maildir writes one file. It is complete before it appears in new.
func maildir(r *Request, content io.Reader) Result {
	if r.Again && delivered(r) {
		_, _ = io.Copy(io.Discard, content)
		return Result{Unsynced: true}
	}
	tmp := filepath.Join(r.Path, "tmp", r.Name)
	f, err := create(r.Path, tmp)
	if err != nil {
		return mboxFailure(err, "create maildir file "+tmp)
	}
	if err := writeMaildir(f, r, content); err != nil {
		_ = f.Close()
		_ = os.Remove(tmp)
		return mboxFailure(err, "error writing message")
	}
	dev := device(f)
	if err := f.Close(); err != nil {
		_ = os.Remove(tmp)
		return mboxFailure(err, "error writing message")
	}
	if err := publish(r, tmp); err != nil {
		_ = os.Remove(tmp)
		return mboxFailure(err, "link to "+filepath.Join(r.Path, "new", r.Name))
	}
	return Result{Unsynced: true, Device: dev}
}

// device is the file system of a file, 0 when it cannot be told.
func device(f *os.File) uint64 {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	return uint64(st.Dev)
}

// create opens the temporary file, and makes the Maildir when it is not there.
func create(dir, tmp string) (*os.File, error) {
	const flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	f, err := os.OpenFile(tmp, flags, 0o600)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if err := makeMaildir(dir); err != nil {
		return nil, err
	}
	return os.OpenFile(tmp, flags, 0o600)
}

// makeMaildir makes the folders, tmp last: where it is, another delivery takes the
// others for granted.
func makeMaildir(dir string) error {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			if errors.Is(err, os.ErrExist) {
				err = &os.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOENT} // a link to nowhere
			}
			return err
		}
	}
	return nil
}

// publish moves the complete file to new, which it makes when only tmp is there: as
// Postfix does, the message must not come back for that.
func publish(r *Request, tmp string) error {
	to := filepath.Join(r.Path, "new", r.Name)
	err := os.Rename(tmp, to)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := makeMaildir(r.Path); err != nil {
		return err
	}
	return os.Rename(tmp, to)
}

func writeMaildir(f *os.File, r *Request, content io.Reader) error {
	return copyText(f, io.MultiReader(bytes.NewReader(r.Prefix), content), r.Size+int64(len(r.Prefix)), &r.Form)
}

// delivered looks for the file of a delivery that was forgotten in a crash: in
// new, or in cur under the name with the flags that a reader gave it.
func delivered(r *Request) bool {
	if _, err := os.Lstat(filepath.Join(r.Path, "new", r.Name)); err == nil {
		return true
	}
	dir, err := os.Open(filepath.Join(r.Path, "cur"))
	if err != nil {
		return false
	}
	defer func() { _ = dir.Close() }()
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if name == r.Name || strings.HasPrefix(name, r.Name+":") {
				return true
			}
		}
		if err != nil || len(names) == 0 {
			return false
		}
	}
}

// syncMaildir makes a delivered file durable. The file system writes the name
// with the file, as it does for Postfix; a reader may have moved it meanwhile,
// and what the reader renames is the reader's to sync.
func syncMaildir(r *Request) Result {
	f, err := os.OpenFile(filepath.Join(r.Path, "new", r.Name), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return syncMoved(r)
	}
	if err != nil {
		return failure(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return failure(err)
	}
	return Result{}
}

// syncMoved syncs a file that a reader moved to cur; one that the reader
// deleted needs nothing.
func syncMoved(r *Request) Result {
	names, err := filepath.Glob(filepath.Join(globEscape(filepath.Join(r.Path, "cur", r.Name)) + "*"))
	if err != nil || len(names) == 0 {
		return Result{}
	}
	f, err := os.Open(names[0])
	if errors.Is(err, os.ErrNotExist) {
		return Result{}
	}
	if err != nil {
		return failure(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return failure(err)
	}
	return Result{}
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}
