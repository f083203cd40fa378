package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"postroad/internal/mail"
)

// Errors that callers tell apart.
var (
	// ErrFull says that the disk has no room: 452 4.3.1.
	ErrFull = errors.New("queue: insufficient system storage")
	// ErrPoisoned says that a write failed before and nothing can be
	// acknowledged until the store is opened again: 451 4.3.0.
	ErrPoisoned = errors.New("queue: store is out of service after a write error")
	// ErrNotFound says that there is no such message.
	ErrNotFound = errors.New("queue: no such message")
)

const (
	// DefaultInlineLimit is the largest content kept in the log itself. A file of
	// its own costs two syncs per message that nobody shares; the log writes the
	// content twice at most and syncs many messages at once.
	DefaultInlineLimit = 256 << 10
	// DefaultReserve is the size of the file that is given up when the disk is
	// full, so that deliveries can still be recorded and free space.
	DefaultReserve = 16 << 20
	// memTableSize holds the messages of the last moments: mail that is
	// delivered before it is full never reaches a table.
	memTableSize = 64 << 20
	// idBlock is how far ahead queue id numbers are reserved, in microseconds.
	idBlock = int64(10 * time.Second / time.Microsecond)
)

// Options say where a store is and how it behaves.
type Options struct {
	// Dir holds everything; it is created with mode 0700.
	Dir string
	// FS is the file system, the real one when nil; tests inject faults here.
	FS vfs.FS
	// LongIDs follows enable_long_queue_ids.
	LongIDs bool
	// InlineLimit and Reserve replace the defaults when not zero; a negative
	// Reserve keeps none.
	InlineLimit, Reserve int64
	// MemTable bounds the size of the table of fresh mail in memory, which is
	// memTableSize where that is less, or this is 0.
	MemTable uint64
	// Now is the clock, time.Now when nil.
	Now func() time.Time
	// Failed is called once, from any goroutine, when the store is poisoned.
	Failed func(error)
	// Warn takes remarks for the log.
	Warn func(format string, args ...any)
}

// Store is an open queue. All methods are safe for concurrent use.
type Store struct {
	opt    Options
	fs     vfs.FS
	db     *pebble.DB
	ids    ids
	idsTop atomic.Int64
	bodies vfs.File
	failed atomic.Pointer[error]
	full   atomic.Bool
	seq    atomic.Uint64
	// checkOld makes Begin look for an older message with the same short id:
	// only a store with mail from before the last wrap can have one.
	checkOld bool
	// doomed are large contents whose removal is not synced yet.
	doomedMu sync.Mutex
	doomed   []mail.QueueID
	arrived  atomic.Pointer[func(*mail.Envelope, mail.Content)]
	closing  sync.Once
	space    atomic.Pointer[spaceSeen]
	// scratches lends buffers to writers.
	scratches scratches
}

// Open opens or creates the store in opt.Dir. A second opener of the same
// folder gets an error at once.
func Open(opt Options) (*Store, error) {
	opt = opt.withDefaults()
	s := &Store{opt: opt, fs: opt.FS}
	s.ids.long = opt.LongIDs
	// The reserve must be given up below pebble, which cannot retry by itself.
	s.fs = vfs.OnDiskFull(opt.FS, s.diskFull)
	s.fit()
	for _, dir := range []string{opt.Dir, s.path("db"), s.path("bodies")} {
		if err := opt.FS.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("create %s: %w", dir, err)
		}
		// A folder survives a power cut only when the one above it is synced.
		if err := syncDir(opt.FS, opt.FS.PathDir(dir)); err != nil {
			return nil, fmt.Errorf("create %s: %w", dir, err)
		}
	}
	db, err := pebble.Open(s.path("db"), s.pebbleOptions())
	if err != nil {
		return nil, fmt.Errorf("open queue in %s: %w", opt.Dir, err)
	}
	s.db = db
	if err := s.prepare(); err != nil {
		_ = db.Close()
		return nil, err
	}
	return s, nil
}

// fit makes the reserve and the log, which is allotted ahead, small on a small
// file system.
func (s *Store) fit() {
	if err := s.opt.FS.MkdirAll(s.opt.Dir, 0o700); err != nil {
		return // Open reports it
	}
	usage, err := s.opt.FS.GetDiskUsage(s.opt.Dir)
	if err != nil || usage.TotalBytes == 0 {
		return
	}
	const share = 64
	s.opt.MemTable = max(min(s.opt.MemTable, usage.TotalBytes/share), 1<<20)
	if s.opt.Reserve > 0 {
		s.opt.Reserve = max(min(s.opt.Reserve, int64(usage.TotalBytes/share)), 64<<10)
	}
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		_ = d.Close()
		return err
	}
	return d.Close()
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.InlineLimit == 0 {
		o.InlineLimit = DefaultInlineLimit
	}
	if o.Reserve == 0 {
		o.Reserve = DefaultReserve
	}
	if o.MemTable == 0 || o.MemTable > memTableSize {
		o.MemTable = memTableSize
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	return o
}

func (s *Store) pebbleOptions() *pebble.Options {
	opts := &pebble.Options{
		FS:                          s.fs,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                s.opt.MemTable,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		Logger:                      &storeLogger{s},
		MaxOpenFiles:                256,
	}
	return opts
}

// prepare readies an opened database: bodies folder, orphans, id numbers.
func (s *Store) prepare() error {
	dir, err := s.fs.OpenDir(s.path("bodies"))
	if err != nil {
		return fmt.Errorf("open %s: %w", s.path("bodies"), err)
	}
	s.bodies = dir
	if err := s.sweep(); err != nil {
		return err
	}
	top := int64(0)
	if v, closer, err := s.db.Get(markKey()); err == nil {
		if len(v) == 8 {
			top = int64(binary.BigEndian.Uint64(v))
		}
		_ = closer.Close()
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("read queue id mark: %w", err)
	}
	s.ids.last = top
	s.idsTop.Store(top)
	if err := s.findOld(); err != nil {
		return err
	}
	return s.makeReserve()
}

func markKey() []byte { return []byte{kindMark, 'i', 'd', 's'} }

// findOld sets checkOld when a message is old enough for its short id to come up
// again (28 bits of seconds).
func (s *Store) findOld() error {
	wrap := s.opt.Now().Add(-(1<<28 - 1<<20) * time.Second)
	for _, kind := range []byte{kindArrival, kindAge} {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
		if err != nil {
			return err
		}
		if it.First() {
			when, _, ok := splitTimeKey(it.Key())
			s.checkOld = s.checkOld || !ok || when.Before(wrap)
		}
		if err := it.Close(); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes bodies that no envelope names: their commit never happened.
func (s *Store) sweep() error {
	names, err := s.fs.List(s.path("bodies"))
	if err != nil {
		return fmt.Errorf("list %s: %w", s.path("bodies"), err)
	}
	for _, name := range names {
		_, closer, err := s.db.Get(idKey(kindEnvelope, mail.QueueID(name)))
		if err == nil {
			_ = closer.Close()
			continue
		}
		if !errors.Is(err, pebble.ErrNotFound) {
			return fmt.Errorf("look for %s: %w", name, err)
		}
		if err := s.fs.Remove(s.bodyPath(mail.QueueID(name))); err != nil {
			return fmt.Errorf("remove orphan: %w", err)
		}
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.opt.Dir, name) }

func (s *Store) bodyPath(id mail.QueueID) string {
	return filepath.Join(s.opt.Dir, "bodies", string(id))
}

// makeReserve writes the reserve file; without room for it the store is full.
func (s *Store) makeReserve() error {
	if s.opt.Reserve < 0 {
		return nil
	}
	if info, err := s.opt.FS.Stat(s.path("reserve")); err == nil && info.Size() == s.opt.Reserve {
		s.full.Store(false)
		return nil
	}
	err := s.writeReserve()
	if err == nil {
		s.full.Store(false)
		return nil
	}
	_ = s.opt.FS.Remove(s.path("reserve"))
	if isFull(err) {
		s.full.Store(true)
		return nil
	}
	return fmt.Errorf("write reserve: %w", err)
}

func (s *Store) writeReserve() error {
	f, err := s.opt.FS.Create(s.path("reserve"), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for left := s.opt.Reserve; left > 0; left -= int64(len(block)) {
		if _, err := f.Write(block[:min(left, int64(len(block)))]); err != nil {
			_ = f.Close()
			return err
		}
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// diskFull is called when a write found no room, before it is retried.
func (s *Store) diskFull() {
	s.full.Store(true)
	if err := s.opt.FS.Remove(s.path("reserve")); err == nil {
		s.opt.Warn("disk full in %s: gave up the reserve, refusing new mail", s.opt.Dir)
	}
}

// Reclaim frees what removed messages still hold, and restores the reserve after
// a full disk; it returns whether the store takes mail. The worker calls it every
// few seconds.
func (s *Store) Reclaim() bool {
	s.doomedMu.Lock()
	waiting := len(s.doomed) > 0
	s.doomedMu.Unlock()
	if waiting {
		if err := s.Sync(); err != nil {
			return false
		}
	}
	if !s.full.Load() {
		return s.Err() == nil
	}
	if err := s.makeReserve(); err != nil {
		s.opt.Warn("reserve: %v", err)
	}
	return !s.full.Load() && s.Err() == nil
}

// Err is nil while the store works.
func (s *Store) Err() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// spaceSeen is what was free at a time.
type spaceSeen struct {
	at    time.Time
	avail uint64
}

// What was free is good for spaceAge where plenty more is free than is needed: no
// disk writes that much in the time.
const (
	spaceAge = 100 * time.Millisecond
	plenty   = 2 << 30
)

// CheckSpace returns ErrFull when a message of limit bytes might not fit. As in
// Postfix one and a half times the limit must be free; a limit of 0 asks for
// any room at all. More than free bytes must be there in any case.
func (s *Store) CheckSpace(limit, free int64) error {
	if err := s.Err(); err != nil {
		return err
	}
	if s.full.Load() {
		return ErrFull
	}
	now := time.Now()
	if seen := s.space.Load(); seen != nil && now.Sub(seen.at) < spaceAge && seen.avail >= plenty+uint64(max(limit, 0))*2+uint64(max(free, 0)) {
		return nil
	}
	usage, err := s.opt.FS.GetDiskUsage(s.opt.Dir)
	if err != nil {
		return nil // a file system that cannot tell is asked by writing
	}
	s.space.Store(&spaceSeen{now, usage.AvailBytes})
	if free > 0 && usage.AvailBytes <= uint64(free) {
		return ErrFull
	}
	if limit > 0 && usage.AvailBytes/3*2 < uint64(limit) {
		return ErrFull
	}
	return nil
}

// SetArrived names the function that hears of every message right after its
// commit, with its content still in memory when it is small.
func (s *Store) SetArrived(f func(*mail.Envelope, mail.Content)) { s.arrived.Store(&f) }

// poison puts the store out of service (invariant 5).
func (s *Store) poison(err error) {
	err = fmt.Errorf("%w: %w", ErrPoisoned, err)
	if s.failed.CompareAndSwap(nil, &err) {
		s.opt.Failed(err)
	}
}

// commit applies a batch and tells the truth about it.
func (s *Store) commit(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.Err(); err != nil {
		return err
	}
	var doomed []mail.QueueID
	if o.Sync {
		doomed = s.takeDoomed()
	}
	err := b.Commit(o)
	if err != nil {
		s.poison(err)
	}
	err = s.Err() // pebble reports a failed log write to its logger only
	if err == nil {
		s.unlink(doomed)
	}
	return err
}

// doom notes contents whose removal is committed and not synced. Their files stay
// until it is: the unlink of a file may outlive a crash that undoes the removal,
// and a message without its content would be left (invariant 7).
func (s *Store) doom(ids []mail.QueueID) {
	if len(ids) == 0 {
		return
	}
	s.doomedMu.Lock()
	defer s.doomedMu.Unlock()
	s.doomed = append(s.doomed, ids...)
}

// takeDoomed returns what was doomed before the sync that is about to begin.
func (s *Store) takeDoomed() []mail.QueueID {
	s.doomedMu.Lock()
	defer s.doomedMu.Unlock()
	ids := s.doomed
	s.doomed = nil
	return ids
}

// unlink removes the files of contents that are gone for good.
func (s *Store) unlink(ids []mail.QueueID) {
	for _, id := range ids {
		// A file that stays behind is an orphan and goes at the next open.
		if err := s.opt.FS.Remove(s.bodyPath(id)); err != nil {
			s.opt.Warn("remove content of %s: %v", id, err)
		}
	}
}

// Sync makes everything settled so far durable.
func (s *Store) Sync() error {
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }()
	if err := b.LogData([]byte{kindMark}, nil); err != nil {
		return err
	}
	return s.commit(b, pebble.Sync)
}

// Close ends the store; what was settled is synced first. A poisoned store is
// abandoned instead, because its last writes cannot be trusted.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		_ = s.bodies.Close()
		if s.Err() != nil {
			return
		}
		if err = s.Sync(); err == nil {
			err = s.db.Close()
		}
	})
	return err
}

// isFull tells whether err means that there is no room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, ErrFull)
}

// storeLogger passes pebble's voice on. A fatal error poisons the store; the
// caller inside pebble goes on, and commit reports the poison.
type storeLogger struct{ s *Store }

func (l *storeLogger) Infof(string, ...any) {}

func (l *storeLogger) Errorf(format string, args ...any) { l.s.opt.Warn(format, args...) }

func (l *storeLogger) Fatalf(format string, args ...any) {
	l.s.poison(fmt.Errorf(format, args...))
}

var _ pebble.Logger = (*storeLogger)(nil)

// RemoveAll deletes a store; only tests and the embedded default call it.
func RemoveAll(dir string) error { return os.RemoveAll(dir) }
