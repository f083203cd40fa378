package table

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// retryEvery is how often a table that cannot be opened is tried again.
const retryEvery = 10 * time.Second

// standIn takes the place of a table that could not be opened. It is of the
// fixed kind so that no search passes it by. Now and then it tries again, as
// Postfix does by starting its processes afresh.
type standIn struct {
	name  string
	cause error
	// open is what failed.
	open   func() (Table, error)
	start  time.Time
	due    atomic.Int64
	opened atomic.Pointer[Table]
}

// newStandIn returns a stand-in for a table that open could not open.
func newStandIn(name string, cause error, open func() (Table, error)) *standIn {
	s := &standIn{name: name, cause: cause, open: open, start: time.Now()}
	s.due.Store(int64(retryEvery))
	return s
}

// table is the table when it could be opened after all, else nil.
func (s *standIn) table() Table {
	if t := s.opened.Load(); t != nil {
		return *t
	}
	now := int64(time.Since(s.start))
	if due := s.due.Load(); now < due || !s.due.CompareAndSwap(due, now+int64(retryEvery)) {
		return nil
	}
	t, err := s.open()
	if err != nil {
		return nil
	}
	s.opened.Store(&t)
	return t
}

// Lookup implements Table.
func (s *standIn) Lookup(ctx context.Context, key string) (string, bool, error) {
	if t := s.table(); t != nil {
		return t.Lookup(ctx, key)
	}
	return "", false, fmt.Errorf("%s: %w. %w", s.name, errUnavailable, s.cause)
}

// Kind implements Table.
func (s *standIn) Kind() Kind {
	if t := s.opened.Load(); t != nil {
		return (*t).Kind()
	}
	return Fixed
}

// String implements Table.
func (s *standIn) String() string { return s.name }

// Close implements Table.
func (s *standIn) Close() error {
	if t := s.opened.Load(); t != nil {
		return (*t).Close()
	}
	return nil
}
