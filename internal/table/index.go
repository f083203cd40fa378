package table

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
)

// index is the inside of an indexed file: hash, btree, lmdb or cdb. It reads a
// mapping, whose bytes are not ours: nothing in it can be relied on, and every
// loop is bounded. What it returns may be a part of the mapping.
type index interface {
	// get returns the value of key as it is stored, with a NUL behind both or
	// without. A key that is stored in both forms has the value of the first.
	get(key string) (value string, ok bool, err error)
	// each calls fn for each pair as it is stored, in the order of the file,
	// until it returns false.
	each(fn func(key, value string) bool) error
}

// indexFormat is what the types of indexed files do not share.
type indexFormat struct {
	typ, suffix string
	// open reads the head of a file, and no more of it.
	open func(data string) (index, error)
	// versioned marks a format in which a writer leaves what readers read
	// alone: a change of the file does not matter.
	versioned bool
}

// indexTable is one indexed file.
type indexTable struct {
	name   string
	file   *mapping
	index  index
	format *indexFormat
	// young marks a file that may have changed again since without a sign.
	young bool
}

// errChanged is the cause when a file cannot be read between two changes.
var errChanged = errors.New("the file changes all the time")

// openIndexed opens an indexed file that nothing can stand in for.
func openIndexed(format *indexFormat, name string, o *Options) (Table, error) {
	title, path := format.typ+":"+name, o.path(name)+format.suffix
	return follow(title, o, func() (fileState, error) { return o.stat(path) }, func() (*version, error) {
		t, err := openIndex(format, title, path, o)
		if err != nil {
			return nil, fmt.Errorf("open database %s%s: %w", name, format.suffix, Reason(err))
		}
		warnOlder(name, format.suffix, &t.file.state, o)
		return &version{table: t, index: t, state: t.file.state}, nil
	})
}

// openIndex opens the file path under the name of a table.
func openIndex(format *indexFormat, title, path string, o *Options) (*indexTable, error) {
	f, err := o.open(path)
	if err != nil {
		return nil, err
	}
	// A file that somebody makes in place, as Postfix's postmap does, is
	// complete when the lock can be had.
	if err = lockFile(f, syscall.LOCK_SH); err != nil {
		f.Close()
		return nil, err
	}
	t, err := newIndexTable(format, title, f)
	// The lock is not for as long as the table is open: it would keep postmap
	// from its work.
	if unlock := syscall.Flock(int(f.Fd()), syscall.LOCK_UN); err == nil {
		err = unlock
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

// newIndexTable makes a table of an open file, which it keeps.
func newIndexTable(format *indexFormat, title string, f *os.File) (t *indexTable, err error) {
	m, err := mapFile(f)
	if err != nil {
		return nil, err
	}
	defer catchFault(debug.SetPanicOnFault(true), &err)
	x, err := format.open(m.data)
	if err != nil {
		return nil, err
	}
	runtime.KeepAlive(m)
	return &indexTable{name: title, file: m, index: x, format: format, young: m.state.young()}, nil
}

// Lookup implements Table. The answer is that of the file as it was opened:
// when intact is false afterwards, it means nothing.
func (t *indexTable) Lookup(_ context.Context, key string) (string, bool, error) {
	if strings.IndexByte(key, 0) >= 0 {
		return "", false, nil // it would be another key, stored with its NUL
	}
	value, ok, err := t.read(key)
	if err != nil {
		return "", false, err
	}
	return value, ok, nil
}

// read is Lookup for the file as it is: it may end with an error at any point.
func (t *indexTable) read(key string) (value string, ok bool, err error) {
	defer catchFault(debug.SetPanicOnFault(true), &err)
	stored, ok, err := t.index.get(key)
	if err != nil || !ok {
		return "", false, err
	}
	value = owned(cText(stored))
	runtime.KeepAlive(t.file)
	return value, true, nil
}

// intact tells whether the file has its name still and was not written to, in
// which case all that was read from it until now is right.
func (t *indexTable) intact() bool {
	now, err := t.file.now()
	if err != nil || now.links == 0 {
		return false
	}
	return t.kept(&now) || now.sameContent(&t.file.state)
}

// kept tells of a file that may be written to while it is read whether all of it is
// there: it grows, and what was cut off would be read as zeros.
func (t *indexTable) kept(now *fileState) bool {
	return t.format.versioned && now.size >= t.file.state.size
}

// untouched tells whether the file is as it was opened in every respect.
func (t *indexTable) untouched() bool {
	now, err := t.file.now()
	return err == nil && now.sameContent(&t.file.state)
}

// whole tells whether the file was not written to, whatever became of its name.
func (t *indexTable) whole() bool {
	now, err := t.file.now()
	return err == nil && (t.kept(&now) || now.size == t.file.state.size && now.modified == t.file.state.modified)
}

// Kind implements Table.
func (t *indexTable) Kind() Kind { return Fixed }

// String implements Table.
func (t *indexTable) String() string { return t.name }

// Close implements Table. The mapping goes with the last lookup.
func (t *indexTable) Close() error { return nil }

// Each implements Lister.
func (t *indexTable) Each(fn func(Entry) bool) (err error) {
	defer catchFault(debug.SetPanicOnFault(true), &err)
	err = t.index.each(func(key, value string) bool {
		return fn(Entry{Key: owned(cText(key)), Value: owned(cText(value)), Bare: !strings.HasSuffix(key, "\x00")})
	})
	runtime.KeepAlive(t.file)
	if err == nil && !t.intact() {
		err = errChanged
	}
	return err
}
