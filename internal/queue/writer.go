package queue

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"postroad/internal/mail"
)

// Writer takes one message. It is used by one goroutine and ends with Commit or
// Abort.
type Writer struct {
	s   *Store
	id  mail.QueueID
	buf []byte
	// lent is the buffer when it is to be given back.
	lent *scratch
	file vfs.File
	size int64
	err  error
	done bool
	// closed tells that the file was closed, by syncFile.
	closed bool
	// draft is not 0 in a content that may take the place of another.
	draft int
}

// path is the file of a large content.
func (w *Writer) path() string {
	if w.draft == 0 {
		return w.s.bodyPath(w.id)
	}
	// No queue id has a dot: after a crash it is an orphan like any other.
	return w.s.bodyPath(w.id) + "." + strconv.Itoa(w.draft)
}

// firstBuffer is what a writer allots at first: most mail fits.
const firstBuffer = 8 << 10

// Begin starts a message and gives it its queue id. Nothing is written yet.
func (s *Store) Begin() (*Writer, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	if s.full.Load() {
		return nil, ErrFull
	}
	id := s.ids.next(s.opt.Now())
	for s.checkOld && s.exists(id) {
		id = s.ids.next(s.opt.Now())
	}
	return &Writer{s: s, id: id}, nil
}

func (s *Store) exists(id mail.QueueID) bool {
	_, closer, err := s.db.Get(idKey(kindEnvelope, id))
	if err != nil {
		return !errors.Is(err, pebble.ErrNotFound)
	}
	_ = closer.Close()
	return true
}

// ID is the queue id of the message.
func (w *Writer) ID() mail.QueueID { return w.id }

// Size is the number of content bytes written so far.
func (w *Writer) Size() int64 { return w.size }

// Write appends content with CRLF line ends. What is over the inline limit goes
// to a file of its own. ErrFull means that there is no room.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.file == nil && int64(len(w.buf)+len(p)) > w.s.opt.InlineLimit {
		w.err = w.spill()
	}
	if w.err == nil && w.file != nil && len(w.buf)+len(p) > cap(w.buf) {
		w.err = w.flush()
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.file != nil && len(p) > cap(w.buf) {
		if _, err := w.file.Write(p); err != nil {
			w.err = storageError(err)
			return 0, w.err
		}
		w.size += int64(len(p))
		return len(p), nil
	}
	if len(w.buf)+len(p) > cap(w.buf) {
		w.grow(len(w.buf) + len(p))
	}
	w.buf = append(w.buf, p...)
	w.size += int64(len(p))
	return len(p), nil
}

// spill opens the file of a large message; the bytes so far become its first
// buffer.
func (w *Writer) spill() error {
	f, err := w.s.fs.Create(w.path(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return storageError(err)
	}
	w.file = f
	return w.flush()
}

func (w *Writer) flush() error {
	if len(w.buf) > 0 {
		if _, err := w.file.Write(w.buf); err != nil {
			return storageError(err)
		}
	}
	w.buf = w.buf[:0]
	if limit := int(w.s.opt.InlineLimit); cap(w.buf) < limit {
		w.grow(limit)
	}
	return nil
}

// Commit makes the message durable (invariant 1). After an error nothing of it
// will ever be delivered, unless the error is ErrPoisoned: then the message may
// or may not be there when the store is opened again.
func (w *Writer) Commit(_ context.Context, env *mail.Envelope) error {
	if w.done {
		return errEnded
	}
	if w.err != nil {
		w.Abort()
		return w.err
	}
	env.ID, env.Size = w.id, w.size
	if w.file != nil {
		if err := w.syncFile(); err != nil {
			w.Abort()
			return err
		}
	}
	// From here on the file stays, whatever happens: the batch may be written
	// although the commit failed, and then it needs its content.
	w.done = true
	switch {
	case w.file != nil:
		w.giveBack()
	case w.lent != nil, cap(w.buf) > len(w.buf)+len(w.buf)/4+firstBuffer:
		// What stays in memory takes no more of it than it needs. A buffer that
		// somebody has looked at is not lent, and as large.
		b := bytes.Clone(w.buf)
		w.giveBack()
		w.buf = b
	}
	if err := w.commitBatch(env); err != nil {
		return err
	}
	if hook := w.s.arrived.Load(); hook != nil && !env.Hold {
		(*hook)(env, w.content())
	}
	return nil
}

func (w *Writer) content() mail.Content {
	if w.file == nil {
		return memory(w.buf)
	}
	return &stored{s: w.s, id: w.id, size: w.size}
}

// syncFile puts a large content and its directory entry on stable storage.
func (w *Writer) syncFile() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return storageError(err)
	}
	w.closed = true
	if err := w.file.Close(); err != nil {
		return storageError(err)
	}
	if err := w.s.bodies.Sync(); err != nil {
		return storageError(err)
	}
	return nil
}

func (w *Writer) commitBatch(env *mail.Envelope) error {
	b := w.s.db.NewBatch()
	defer func() { _ = b.Close() }()
	inline := w.file == nil
	if err := b.Set(idKey(kindEnvelope, w.id), encodeEnvelope(nil, env, inline), nil); err != nil {
		return err
	}
	if inline {
		key := idKey(kindBody, w.id)
		op := b.SetDeferred(len(key), len(w.buf))
		copy(op.Key, key)
		copy(op.Value, w.buf)
		if err := op.Finish(); err != nil {
			return err
		}
	}
	if err := b.Set(timeKey(kindArrival, env.Arrived, w.id), nil, nil); err != nil {
		return err
	}
	if env.Hold {
		if err := b.Set(idKey(kindHold, w.id), nil, nil); err != nil {
			return err
		}
	}
	if err := w.s.reserveIDs(b); err != nil {
		return err
	}
	return w.s.commit(b, pebble.Sync)
}

// reserveIDs adds the next block of id numbers to a batch when the last is used
// up, so that a restart never repeats one, whatever the clock says.
func (s *Store) reserveIDs(b *pebble.Batch) error {
	mark, top := s.ids.mark(), s.idsTop.Load()
	if mark < top || !s.idsTop.CompareAndSwap(top, mark+idBlock) {
		return nil
	}
	return b.Set(markKey(), binary.BigEndian.AppendUint64(nil, uint64(mark+idBlock)), nil)
}

// Abort drops the message. It may be called at any time, also after Commit,
// when it does nothing.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.giveBack()
	if w.file == nil {
		return
	}
	if !w.closed {
		_ = w.file.Close()
	}
	if err := w.s.opt.FS.Remove(w.path()); err != nil {
		w.s.opt.Warn("remove content of %s: %v", w.id, err)
	}
}

// storageError makes a full disk recognisable.
func storageError(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("queue: %w", err)
}
