package table

import (
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
	lockTries = 1000
	lockPause = 10 * time.Millisecond
)

// errLocked is the cause when a file stays locked.
var errLocked = errors.New("another process keeps the file locked")

// hashFormat and btreeFormat are the two kinds of Berkeley DB files.
func hashFormat() *indexFormat {
	return &indexFormat{typ: "hash", suffix: ".db", open: func(data string) (index, error) { return newHashFile(data) }}
}

func btreeFormat() *indexFormat {
	return &indexFormat{typ: "btree", suffix: ".db", open: func(data string) (index, error) { return newTreeFile(data) }}
}

// openHash opens hash:path.
func openHash(name string, o *Options) (Table, error) { return openDB(hashFormat(), name, o) }

// openBtree opens btree:path.
func openBtree(name string, o *Options) (Table, error) { return openDB(btreeFormat(), name, o) }

// openDB follows the rules of the package comment.
func openDB(format *indexFormat, name string, o *Options) (Table, error) {
	title, source := format.typ+":"+name, o.path(name)
	path := source + format.suffix
	stat := func() (fileState, error) {
		state, err := o.stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return o.stat(source)
		}
		return state, err
	}
	return follow(title, o, stat, func() (*version, error) {
		t, err := openIndex(format, title, path, o)
		if errors.Is(err, fs.ErrNotExist) {
			return openDBSource(title, name, o)
		}
		if err != nil {
			return nil, fmt.Errorf("open database %s%s: %w", name, format.suffix, Reason(err))
		}
		warnOlder(name, format.suffix, &t.file.state, o)
		return &version{table: t, index: t, state: t.file.state}, nil
	})
}

// warnOlder tells that a source was edited since it was indexed.
func warnOlder(name, suffix string, indexed *fileState, o *Options) {
	source, err := o.stat(o.path(name))
	if err != nil || source.modified.Nano() <= indexed.modified.Nano() {
		return
	}
	if time.Since(time.Unix(source.modified.Unix())) > editGrace {
		o.warnf("database %s%s is older than source file %s", name, suffix, name)
	}
}

// openDBSource reads the text of a table that was never indexed.
func openDBSource(title, name string, o *Options) (*version, error) {
	v, err := readVersion(o.path(name), o, func(text string, o *Options) Table {
		alias, command := isAliasText(text), "postmap"
		if alias {
			command = "postalias"
		}
		o.warnf("%s: there is no %s.db; reading the source file instead (\"%s %s\" makes it)", title, name, command, title)
		return textTable(title, name, text, o, alias)
	})
	if err != nil {
		return nil, fmt.Errorf("open database %s.db: %w", name, Reason(fs.ErrNotExist))
	}
	return v, nil
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
