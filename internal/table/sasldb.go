package table

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// SASLDB is the password database of Cyrus SASL: a Berkeley DB hash whose keys
// are user, realm and "userPassword" with NUL between them. It is read again when
// it has changed, as the library reads it at each lookup.
type SASLDB struct {
	path    string
	options *Options

	mu       sync.Mutex
	index    *hashFile
	modified time.Time
	size     int64
}

// SASLDB returns the password database at path. It is opened when it is used.
func (s *Set) SASLDB(path string) *SASLDB { return &SASLDB{path: path, options: &s.options} }

// Lookup returns the value of a key. A database that is not there is an error.
func (t *SASLDB) Lookup(_ context.Context, key string) (value string, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.refresh(); err != nil {
		return "", false, fmt.Errorf("%s: %w", t.path, Reason(err))
	}
	return t.index.find(key, false)
}

// refresh reads the file if it is not the one that was read last.
func (t *SASLDB) refresh() error {
	f, err := t.options.open(t.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if t.index != nil && t.same(info) {
		return nil
	}
	t.index = nil
	text, err := readAll(f)
	if err != nil {
		return err
	}
	index, err := newHashFile(text)
	if err != nil {
		return err
	}
	t.index, t.modified, t.size = index, info.ModTime(), info.Size()
	return nil
}

func (t *SASLDB) same(info os.FileInfo) bool {
	return info.Size() == t.size && info.ModTime().Equal(t.modified)
}
