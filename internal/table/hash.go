package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

// editGrace is how long a source file may be newer than its .db without a
// warning: somebody may be about to run postmap.
const editGrace = 100 * time.Second

// lockTries and lockPause bound the wait for a file that postmap is writing.
const (
	lockTries = 100
	lockPause = 100 * time.Millisecond
)

// errLocked is the cause when a file stays locked.
var errLocked = errors.New("another process keeps the file locked")

// bdbIndex is a hash or btree file in memory.
type bdbIndex interface {
	get(key string, nul bool) (string, bool, error)
	each(fn func(Entry) bool) error
}

// bdbTable is hash: or btree: on a .db file.
type bdbTable struct {
	name                string
	index               bdbIndex
	withNUL, withoutNUL bool
}

// openHash opens hash:path.
func openHash(name string, o *Options) (Table, error) { return openDB("hash", name, o) }

// openBtree opens btree:path.
func openBtree(name string, o *Options) (Table, error) { return openDB("btree", name, o) }

// openDB follows the rules of the package comment.
func openDB(typ, name string, o *Options) (Table, error) {
	title, path := typ+":"+name, o.path(name)
	data, modified, err := o.readLocked(path + ".db")
	if errors.Is(err, fs.ErrNotExist) {
		return openDBSource(title, name, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open database %s.db: %w", name, Reason(err))
	}
	t, err := newBDBTable(typ, title, data)
	if err != nil {
		return nil, fmt.Errorf("open database %s.db: %w", name, err)
	}
	source, err := os.Stat(path)
	if err == nil && source.ModTime().After(modified) && time.Since(source.ModTime()) > editGrace {
		o.warnf("database %s.db is older than source file %s", name, name)
	}
	return t, nil
}

// newBDBTable makes a table of the text of a .db file.
func newBDBTable(typ, title, data string) (*bdbTable, error) {
	t := &bdbTable{name: title}
	if typ == "hash" {
		h, err := newHashFile(data)
		if err != nil {
			return nil, err
		}
		t.index, t.withNUL, t.withoutNUL = h, h.withNUL, h.withoutNUL
		return t, nil
	}
	b, err := newTreeFile(data)
	if err != nil {
		return nil, err
	}
	t.index, t.withNUL, t.withoutNUL = b, b.withNUL, b.withoutNUL
	return t, nil
}

// openDBSource reads the text of a table that was never indexed.
func openDBSource(title, name string, o *Options) (Table, error) {
	text, err := o.readText(o.path(name))
	if err != nil {
		return nil, fmt.Errorf("open database %s.db: %w", name, Reason(fs.ErrNotExist))
	}
	alias, command := isAliasText(text), "postmap"
	if alias {
		command = "postalias"
	}
	o.warnf("%s: there is no %s.db; reading the source file instead (\"%s %s\" makes it)", title, name, command, title)
	return textTable(title, name, text, o, alias), nil
}

// isAliasText tells whether most lines of a table's text have the form
// "name: value".
func isAliasText(text string) bool {
	alias, other := 0, 0
	r := lineReader{rest: text}
	for line, ok := r.next(); ok; line, ok = r.next() {
		key, rest := splitWord(line.text)
		switch {
		case strings.HasPrefix(key, `"`) && strings.Contains(line.text, `":`),
			strings.HasSuffix(key, ":"),
			strings.HasPrefix(rest, ":"),
			strings.Count(key, ":") == 1 && !strings.ContainsAny(key, "/@"):
			alias++
		default:
			other++
		}
	}
	return alias > other
}

// readLocked reads a whole file under a shared lock, so that it is not read
// while Postfix's postmap changes it in place.
func (o *Options) readLocked(path string) (data string, modified time.Time, err error) {
	f, err := o.open(path)
	if err != nil {
		return "", time.Time{}, err
	}
	defer f.Close()
	if err = lockFile(f, syscall.LOCK_SH); err != nil {
		return "", time.Time{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return "", time.Time{}, err
	}
	data, err = readAll(f)
	return data, info.ModTime(), err
}

// lockFile takes a flock(2), the kind of lock that Postfix uses on Linux for
// its own files. It waits, but not for ever; closing the file gives it back.
func lockFile(f *os.File, how int) error {
	for try := 0; ; try++ {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err == syscall.EINTR:
		case err != syscall.EWOULDBLOCK:
			return err
		case try >= lockTries:
			return errLocked
		default:
			time.Sleep(lockPause)
		}
	}
}

// Lookup implements Table.
func (t *bdbTable) Lookup(_ context.Context, key string) (value string, ok bool, err error) {
	if t.withNUL {
		value, ok, err = t.index.get(key, true)
	}
	if t.withoutNUL && !ok && err == nil {
		value, ok, err = t.index.get(key, false)
	}
	return value, ok, err
}

// Kind implements Table.
func (t *bdbTable) Kind() Kind { return Fixed }

// String implements Table.
func (t *bdbTable) String() string { return t.name }

// Close implements Table.
func (t *bdbTable) Close() error { return nil }

// Each implements Lister.
func (t *bdbTable) Each(fn func(Entry) bool) error { return t.index.each(fn) }
