package queue

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Facts are small records that rooms keep beside the mail: what is worth knowing
// after a restart and no loss when it is gone. They are durable after the next Sync.
type Facts struct {
	s *Store
	// kind keeps the rooms apart.
	kind string
}

// Facts returns the records of one room; kind is its name.
func (s *Store) Facts(kind string) Facts { return Facts{s, kind} }

// maxFact bounds a key and a value.
const maxFact = 64 << 10

// ErrFactSize says that a record is too large.
var ErrFactSize = errors.New("queue: record is too large")

func (f Facts) key(name string) []byte {
	k := make([]byte, 0, 2+len(f.kind)+len(name))
	return append(append(append(append(k, kindFact), f.kind...), 0), name...)
}

// Get returns the value of a record.
func (f Facts) Get(name string) (value string, found bool, err error) {
	if err := f.s.Err(); err != nil {
		return "", false, err
	}
	v, closer, err := f.s.db.Get(f.key(name))
	if errors.Is(err, pebble.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("queue: %w", err)
	}
	value = string(v)
	return value, true, closer.Close()
}

// Put sets a record.
func (f Facts) Put(name, value string) error {
	if len(name) > maxFact || len(value) > maxFact {
		return ErrFactSize
	}
	b := f.s.db.NewBatch()
	defer func() { _ = b.Close() }()
	if err := b.Set(f.key(name), []byte(value), nil); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return f.s.commit(b, pebble.NoSync)
}

// Delete removes a record.
func (f Facts) Delete(name string) error {
	b := f.s.db.NewBatch()
	defer func() { _ = b.Close() }()
	if err := b.Delete(f.key(name), nil); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return f.s.commit(b, pebble.NoSync)
}

// Sync makes the records durable that were put or deleted so far.
func (f Facts) Sync() error { return f.s.Sync() }

// Each calls yield for the records in the order of their names until it returns
// false. It sees them as they were when it began.
func (f Facts) Each(yield func(name, value string) bool) error {
	lower := f.key("")
	upper := append(f.key("")[:len(lower)-1], 1)
	return f.s.scan(lower, upper, func(k, v []byte) error {
		if !yield(string(k[len(lower):]), string(v)) {
			return errStop
		}
		return nil
	})
}
