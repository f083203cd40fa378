package maildrop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"postroad/internal/mail"
)

// Reasons why a file cannot be opened.
var (
	// ErrBusy means that another reader has the file.
	ErrBusy = errors.New("maildrop file is being read")
	// ErrIncomplete means that its writer has not finished.
	ErrIncomplete = errors.New("maildrop file is not complete")
	// ErrUnsafe means that it is no regular file with a single link.
	ErrUnsafe = errors.New("maildrop file is not a regular file with one link")
)

// List names the complete messages in the maildrop below queueDir, oldest
// first, at most limit of them (0 means all).
func List(queueDir string, limit int) ([]string, error) {
	dir := filepath.Join(queueDir, DirName)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type found struct {
		name string
		when time.Time
	}
	var all []found
	for _, entry := range entries {
		if !validName(entry.Name()) {
			continue
		}
		info, err := entry.Info()
		if err != nil || info.Mode().IsRegular() && info.Mode()&0o100 == 0 {
			continue
		}
		all = append(all, found{entry.Name(), info.ModTime()})
	}
	sort.Slice(all, func(i, j int) bool {
		if !all[i].when.Equal(all[j].when) {
			return all[i].when.Before(all[j].when)
		}
		return all[i].name < all[j].name
	})
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.name
	}
	return names, nil
}

// Stale removes files that were never completed and that nobody has written to
// for the given time: what a killed sendmail(1) left behind.
func Stale(queueDir string, age time.Duration, now time.Time) (removed []string, err error) {
	dir := filepath.Join(queueDir, DirName)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o100 != 0 || now.Sub(info.ModTime()) < age {
			continue
		}
		if os.Remove(filepath.Join(dir, entry.Name())) == nil {
			removed = append(removed, entry.Name())
		}
	}
	return removed, nil
}

// Drop is an open message of the maildrop. It is a Decoder over a locked file.
type Drop struct {
	*Decoder
	// Name is the file name, UID its owner, Size its length, Modified its time.
	Name     string
	UID      int
	Size     int64
	Modified time.Time

	file *os.File
}

// Open opens and locks one message.
func Open(queueDir, name string) (*Drop, error) {
	file, err := openNamed(queueDir, name)
	if err != nil {
		return nil, err
	}
	d, err := check(file, true)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	d.Name = name
	if d.returned != nil {
		d.returned.ID = mail.QueueID(name)
	}
	return d, nil
}

// openNamed opens a file of the maildrop, but no link.
func openNamed(queueDir, name string) (*os.File, error) {
	if !validName(name) || strings.ContainsRune(name, '/') {
		return nil, fmt.Errorf("%w: name %q", ErrUnsafe, name)
	}
	file, err := os.OpenFile(Path(queueDir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) {
		return nil, ErrUnsafe
	}
	return file, err
}

// check looks at what has been opened rather than at what stood in the
// directory before, and locks it for its only reader.
func check(file *os.File, lock bool) (*Drop, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Nlink > 1 {
		return nil, ErrUnsafe
	}
	if info.Mode()&0o100 == 0 {
		return nil, ErrIncomplete
	}
	if lock {
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, ErrBusy
			}
			return nil, err
		}
	}
	// Another reader may have finished with it between the open and the lock.
	again, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if st, ok = again.Sys().(*syscall.Stat_t); !ok || st.Nlink == 0 {
		return nil, os.ErrNotExist
	}
	d := &Drop{Decoder: NewDecoder(file), UID: int(st.Uid), Size: again.Size(), Modified: again.ModTime(), file: file}
	if isRequeued(d.UID, again.Mode()) {
		d.returned = &mail.Envelope{}
	}
	return d, nil
}

// Remove removes the message; the caller has made it durable elsewhere.
func (d *Drop) Remove() error { return os.Remove(d.file.Name()) }

// SetAside moves the message to the corrupt directory of the queue, where
// "postfix check" reports it, under its own name.
func (d *Drop) SetAside() error { return SetAside(d.queueDir(), d.Name) }

// queueDir is the directory that the maildrop stands in.
func (d *Drop) queueDir() string { return filepath.Dir(filepath.Dir(d.file.Name())) }

// Close unlocks and closes the file.
func (d *Drop) Close() error { return d.file.Close() }

// SetAside moves a file that cannot be opened or read to the corrupt directory.
func SetAside(queueDir, name string) error {
	aside := filepath.Join(queueDir, "corrupt")
	if err := os.Mkdir(aside, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Rename(filepath.Join(queueDir, DirName, name), filepath.Join(aside, name))
}

// Path is the name of a file in the maildrop below queueDir.
func Path(queueDir, name string) string { return filepath.Join(queueDir, DirName, name) }
