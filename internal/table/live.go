package table

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"
)

// How often a file is looked at, and how long a text must have been left alone
// before it is read: longer when it looks like half a text.
const (
	checkEvery = time.Second
	settleTime = time.Second
	doubtTime  = time.Minute
)

// maxReopen bounds how often one lookup opens a file again that changes under
// it, reopenPause how often all of them do.
const (
	maxReopen   = 3
	reopenPause = 10 * time.Millisecond
)

// version is a table as its file was at one time.
type version struct {
	table Table
	// state is the file that was read.
	state fileState
	// index is set when table reads the file at each lookup.
	index *indexTable
	// text is what is known of a file that is in memory.
	text textTraits
	// kept tells that what took the place of the file cannot be used.
	kept atomic.Bool
}

// textTraits tell a text that may be half of one.
type textTraits struct {
	// skipped is the number of lines that made no sense.
	skipped int
	// empty and cut tell that the text is empty, and that its last line has no end.
	empty, cut bool
}

// doubtful tells that a text may be half of one where the old was not.
func (t *textTraits) doubtful(old *textTraits) bool {
	return t.empty && !old.empty || t.cut && !old.cut
}

// current tells whether the file has not changed since.
func (v *version) current(now *fileState) bool {
	if v.index != nil && v.index.format.versioned {
		return now.dev == v.state.dev && now.ino == v.state.ino
	}
	return now.sameContent(&v.state) && (v.index == nil || !v.index.young)
}

// live is a table that follows its file. A lookup takes the version of the
// moment, without a lock; once a second one of them looks at the file first.
type live struct {
	name string
	// open reads the file, stat looks at it only.
	open func() (*version, error)
	stat func() (fileState, error)
	warn func(format string, args ...any)

	now   atomic.Pointer[version]
	start time.Time
	// due is when the file is looked at next, in nanoseconds since start.
	due atomic.Int64

	// mu is held by who opens the file.
	mu sync.Mutex
	// opened is when the file was opened last.
	opened time.Time
	// pending is a changed file that is left to settle, since when, and how long.
	pending  fileState
	since    time.Time
	patience time.Duration
	// bad is a text that makes no sense, refused the last warning.
	bad     fileState
	refused string
	// failure is why the file could not be opened at failedAt.
	failure  error
	failedAt time.Time
}

// follow opens a table and follows its file from then on.
func follow(name string, o *Options, stat func() (fileState, error), open func() (*version, error)) (Table, error) {
	v, err := open()
	if err != nil {
		return nil, err
	}
	l := &live{name: name, open: open, stat: stat, warn: o.warnf, start: time.Now()}
	l.due.Store(int64(checkEvery))
	l.now.Store(v)
	return l, nil
}

// Lookup implements Table.
func (l *live) Lookup(ctx context.Context, key string) (string, bool, error) {
	v := l.version()
	value, ok, err := v.table.Lookup(ctx, key)
	if v.usable(err) {
		return value, ok, err
	}
	return l.again(ctx, v, key)
}

// usable tells whether an answer that was read just now means what it says. An
// error of a file that is as it was opened is an error of that file.
func (v *version) usable(err error) bool {
	switch {
	case v.index == nil:
		return true
	case v.kept.Load():
		return v.index.whole()
	case err != nil:
		return v.index.untouched()
	}
	return v.index.intact()
}

// version is the version of the moment, after a look at the file when one is due.
func (l *live) version() *version {
	now := int64(time.Since(l.start))
	if due := l.due.Load(); now >= due && l.due.CompareAndSwap(due, now+int64(checkEvery)) {
		l.check()
	}
	return l.now.Load()
}

// check looks at the file and opens it when it changed.
func (l *live) check() {
	if !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	v := l.now.Load()
	state, err := l.stat()
	switch {
	case err != nil:
		l.keep(v, Reason(err))
	case v.current(&state):
		l.pending = fileState{}
	case state.sameContent(&l.bad):
	case v.index != nil || l.settled(&state):
		l.replace(v)
	}
}

// settled tells whether a changed text was left alone for long enough.
func (l *live) settled(state *fileState) bool {
	if !state.sameContent(&l.pending) {
		l.pending, l.since, l.patience = *state, time.Now(), settleTime
	}
	return max(time.Since(l.since), state.age()) >= l.patience
}

// replace puts the file as it is now in the place of v.
func (l *live) replace(v *version) {
	fresh, err := l.reread(v)
	if err != nil {
		l.keep(v, err)
		return
	}
	if fresh.index == nil && v.index == nil {
		after, err := l.stat()
		switch {
		case err != nil || !after.sameContent(&fresh.state):
			return // it changed while we read it
		case fresh.text.doubtful(&v.text) && l.patience < doubtTime:
			l.patience = doubtTime
			if !l.settled(&after) {
				return
			}
		case fresh.text.skipped > v.text.skipped:
			l.bad = after
			l.keep(v, errBadLines)
			return
		}
	}
	l.take(fresh)
}

// reread opens the file that takes the place of v, and not too often: each open
// file waits for the collector after its time.
func (l *live) reread(v *version) (*version, error) {
	time.Sleep(reopenPause - time.Since(l.opened))
	fresh, err := l.open()
	l.opened = time.Now()
	if err == nil && v.index != nil && fresh.index == nil {
		return nil, Reason(fs.ErrNotExist)
	}
	return fresh, err
}

// take makes a version that of the moment.
func (l *live) take(fresh *version) {
	l.now.Store(fresh)
	l.pending, l.refused, l.failure = fileState{}, "", nil
}

// keep stays with v, with one warning.
func (l *live) keep(v *version, why error) {
	v.kept.Store(true)
	if what := why.Error(); what != l.refused {
		l.refused = what
		l.warn("%s: the changed file is not used, and what was read before stays in use: %v", l.name, why)
	}
}

// again repeats a lookup whose version was written to or replaced under it, or
// makes no sense any more.
func (l *live) again(ctx context.Context, old *version, key string) (string, bool, error) {
	for range maxReopen {
		v, err := l.reopen(old)
		if err != nil {
			return "", false, err
		}
		value, ok, err := v.table.Lookup(ctx, key)
		if v.usable(err) {
			return value, ok, err
		}
		old = v
	}
	return "", false, errChanged
}

// reopen returns a version that is newer than old, or old itself when what took
// its place cannot be used.
func (l *live) reopen(old *version) (*version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := l.now.Load(); v != old || v.kept.Load() && v.index.whole() {
		return v, nil
	}
	if l.failure == nil || time.Since(l.failedAt) >= checkEvery {
		fresh, err := l.reread(old)
		if err == nil {
			l.take(fresh)
			return fresh, nil
		}
		l.failure, l.failedAt = err, time.Now()
	}
	if !old.index.whole() {
		return nil, l.failure
	}
	l.keep(old, l.failure)
	return old, nil
}

// Kind implements Table.
func (l *live) Kind() Kind { return l.now.Load().table.Kind() }

// String implements Table.
func (l *live) String() string { return l.name }

// Close implements Table. Versions go with the last lookup that uses them.
func (l *live) Close() error { return nil }

// Each implements Lister when the table does.
func (l *live) Each(fn func(Entry) bool) error {
	lister, ok := l.version().table.(Lister)
	if !ok {
		return errNoSequence
	}
	return lister.Each(fn)
}

// errBadLines is why a text is not used that has more lines that make no sense
// than the one in use.
var errBadLines = errors.New("it has lines that make no sense")
