package table

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// WriteOptions say what the file of a table looks like.
type WriteOptions struct {
	// Mode holds the permission bits of the new file.
	Mode fs.FileMode
	// UID and GID are the owner of the new file when ChangeOwner is set.
	UID, GID    int
	ChangeOwner bool
}

// File is the indexed file of a table while a command changes it. Writers
// exclude each other by the lock on the file that is being replaced.
type File struct {
	typ  Type
	path string
	lock *os.File
}

// Writable tells whether postmap can make tables of this type.
func Writable(typ string) bool {
	t, _ := FindType(typ)
	return t.write != nil
}

// IndexName returns the name of the file that postmap makes for a source file.
func IndexName(typ, path string) string {
	t, _ := FindType(typ)
	return path + t.suffix
}

// Title is how the warnings of postmap name the table of a source file.
func Title(typ, path string) string {
	t, _ := FindType(typ)
	return t.prefix + path + t.tail
}

// EditFile locks the indexed file of typ:path for writing. The file need not exist.
func EditFile(typ, path string) (*File, error) {
	t, known := FindType(typ)
	if !known {
		return nil, fmt.Errorf("unsupported map type: %s", typ)
	}
	if t.instead != "" {
		return nil, fmt.Errorf("unsupported map type: %s; %s", typ, t.instead)
	}
	if typ == "proxy" {
		return nil, errProxyWrite
	}
	if t.write == nil {
		return nil, fmt.Errorf("no 'map create' support for this type: %s", typ)
	}
	f := &File{typ: t, path: path + t.suffix}
	if t.suffix == "" {
		f.path = path
		return f, nil
	}
	return f, f.acquire()
}

// ExtendFile is EditFile for a file whose other entries stay.
func ExtendFile(typ, path string) (*File, error) {
	t, known := FindType(typ)
	if !known {
		return nil, fmt.Errorf("unsupported dictionary type: %s", typ)
	}
	if typ != "proxy" && t.open != nil && t.write == nil {
		return nil, fmt.Errorf("%s:%s map requires O_RDONLY access mode", typ, path)
	}
	return EditFile(typ, path)
}

// errProxyWrite is why postmap does not change a table behind proxy:.
var errProxyWrite = errors.New("can't create maps via the proxy service")

// Undeletable is why no key can be deleted from the file, whatever it holds.
func (f *File) Undeletable() error {
	if f.typ.format != nil {
		return nil
	}
	return fmt.Errorf("table %s:%s: delete error: %w", f.typ.Name, f.path, errFail)
}

// acquire locks the file that has the name now: another writer may rename a
// new one into place while we wait for the lock of the old.
func (f *File) acquire() error {
	for {
		lock, err := os.OpenFile(f.path, os.O_RDONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("open database %s: %w", f.path, Reason(err))
		}
		if err = lockFile(lock, syscall.LOCK_EX); err != nil {
			lock.Close()
			return fmt.Errorf("lock database %s: %w", f.path, Reason(err))
		}
		mine, err1 := lock.Stat()
		named, err2 := os.Stat(f.path)
		if err1 == nil && err2 == nil && os.SameFile(mine, named) {
			f.lock = lock
			return nil
		}
		lock.Close()
	}
}

// Entries returns what the file holds now; nothing when it does not exist.
func (f *File) Entries() ([]Entry, error) {
	if f.lock == nil {
		return nil, nil
	}
	t, err := newIndexTable(f.typ.format(), f.path, f.lock)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", f.path, Reason(err))
	}
	var out []Entry
	if err = t.Each(func(e Entry) bool { out = append(out, e); return true }); err != nil {
		return nil, fmt.Errorf("read database %s: %w", f.path, err)
	}
	return out, nil
}

// Exists tells whether the file was there when it was locked, and its mode.
func (f *File) Exists() (fs.FileInfo, bool) {
	if f.lock == nil {
		return nil, false
	}
	info, err := f.lock.Stat()
	return info, err == nil
}

// Inherited is the file whose owner and mode the new one has.
func (f *File) Inherited() (fs.FileInfo, bool) {
	if f.typ.anew {
		return nil, false
	}
	return f.Exists()
}

// Write puts a file with the given entries, whose keys differ, in place of the
// old one.
func (f *File) Write(entries []Entry, o WriteOptions) error {
	return f.typ.write(f.path, entries, o)
}

// Close gives the lock back.
func (f *File) Close() error {
	if f.lock == nil {
		return nil
	}
	// A mapping of the file would keep the lock until the collector finds it.
	unlock := syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN)
	return errors.Join(unlock, f.lock.Close())
}

// writeHash makes a Berkeley DB hash file.
func writeHash(path string, entries []Entry, o WriteOptions) error {
	return replaceFile(path, o, encodeHash(entries).writeTo)
}

// writeBtree makes a Berkeley DB btree file.
func writeBtree(path string, entries []Entry, o WriteOptions) error {
	return replaceFile(path, o, encodeBtree(entries).writeTo)
}

// replaceFile writes a new file and renames it to path when it is safe on disk,
// so that no reader sees half a table. The new file is created afresh and
// changes owner by its descriptor: a user who may write to the directory cannot
// make root write elsewhere.
func replaceFile(path string, o WriteOptions, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return fmt.Errorf("create database %s: %w", path, Reason(err))
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write database %s: %w", path, Reason(err))
		}
	}()
	if o.ChangeOwner {
		if err = f.Chown(o.UID, o.GID); err != nil {
			return err
		}
	}
	if err = f.Chmod(o.Mode); err != nil {
		return err
	}
	if err = write(f); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
