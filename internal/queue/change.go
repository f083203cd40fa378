package queue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"postroad/internal/mail"
)

// Change collects what happened to messages into one atomic, unsynced batch
// (invariant 3).
type Change struct {
	s   *Store
	b   *pebble.Batch
	err error
	// remove lists large contents to unlink once the commit is durable.
	remove []mail.QueueID
}

// Change starts an empty change. It ends with Commit or Drop.
func (s *Store) Change() *Change { return &Change{s: s, b: s.db.NewBatch()} }

func (c *Change) note(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *Change) set(k, v []byte)    { c.note(c.b.Set(k, v, nil)) }
func (c *Change) single(k []byte)    { c.note(c.b.SingleDelete(k, nil)) }
func (c *Change) deleteKey(k []byte) { c.note(c.b.Delete(k, nil)) }

// Routed takes the arrival mark away: every recipient is done or has a job.
func (c *Change) Routed(env *mail.Envelope) {
	c.single(timeKey(kindArrival, env.Arrived, env.ID))
}

// Waited records that the message has waited once, for the age index.
func (c *Change) Waited(env *mail.Envelope) {
	c.set(timeKey(kindAge, env.Arrived, env.ID), nil)
}

// Done records recipients that need nothing any more while others do.
func (c *Change) Done(id mail.QueueID, recipients []int32) {
	e := &enc{}
	encodeNumbers(e, recipients)
	c.set(doneKey(id, c.s.seq.Add(1)<<20|uint64(c.s.opt.Now().UnixMicro())&(1<<20-1)), e.b)
}

// Put adds a job; its number must be new for the message.
func (c *Change) Put(j *Job) {
	c.set(jobKey(j.ID, j.No), encodeJob(j))
	c.set(dueKey(j.Dest, j.Due, j.ID, j.No), binary.BigEndian.AppendUint64(nil, micros(j.LastTry)))
}

// Take removes a job, because its recipients are done or get a new one.
func (c *Change) Take(j *Job) {
	c.single(jobKey(j.ID, j.No))
	c.single(dueKey(j.Dest, j.Due, j.ID, j.No))
}

// SetFlags replaces the flags of a message.
func (c *Change) SetFlags(id mail.QueueID, f Flags) {
	e := &enc{}
	e.flags(f.Warned, f.Expire)
	c.set(idKey(kindFlags, id), e.b)
}

// Finished removes a message that never waited: one with no state but its
// envelope, content and arrival mark.
func (c *Change) Finished(env *mail.Envelope, content mail.Content) {
	c.single(idKey(kindEnvelope, env.ID))
	c.single(timeKey(kindArrival, env.Arrived, env.ID))
	if large, ok := content.(*stored); ok && !large.inline {
		c.remove = append(c.remove, env.ID)
		return
	}
	c.single(idKey(kindBody, env.ID))
}

// Remove deletes a message with everything about it, in whatever state it is.
func (c *Change) Remove(env *mail.Envelope, content mail.Content) error {
	jobs, err := c.s.Jobs(env.ID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		c.Take(j)
	}
	if err := c.s.scan(idPrefix(kindDone, env.ID), idEnd(kindDone, env.ID), func(k, _ []byte) error {
		c.single(k)
		return nil
	}); err != nil {
		return err
	}
	c.deleteKey(idKey(kindFlags, env.ID))
	c.deleteKey(idKey(kindHold, env.ID))
	c.deleteKey(timeKey(kindAge, env.Arrived, env.ID))
	c.Finished(env, content)
	return nil
}

// Hold takes a message out of the hands of the scheduler. Jobs keep their
// record and lose their place in the index.
func (c *Change) Hold(id mail.QueueID, jobs []*Job) {
	for _, j := range jobs {
		c.single(dueKey(j.Dest, j.Due, j.ID, j.No))
	}
	c.set(idKey(kindHold, id), nil)
}

// Commit applies the change, which is durable after the next Sync. An error
// poisons the store.
func (c *Change) Commit() error {
	defer c.Drop()
	if c.err != nil {
		return fmt.Errorf("queue: build change: %w", c.err)
	}
	if err := c.s.commit(c.b, pebble.NoSync); err != nil {
		return err
	}
	c.s.doom(c.remove)
	return nil
}

// Drop forgets the change.
func (c *Change) Drop() {
	if c.b != nil {
		_ = c.b.Close()
		c.b = nil
	}
}

// Release ends a hold, durably after the next Sync. Its jobs come due at once under
// new numbers, because an index key is written once in its life (invariant 6).
func (s *Store) Release(id mail.QueueID) error {
	held, err := s.Held(id)
	if err != nil || !held {
		return err
	}
	return s.rejob(id, func(c *Change) { c.deleteKey(idKey(kindHold, id)) }, true)
}

// DueNow makes every job of a message due at once.
func (s *Store) DueNow(id mail.QueueID) error { return s.rejob(id, func(*Change) {}, false) }

func (s *Store) rejob(id mail.QueueID, also func(*Change), held bool) error {
	jobs, err := s.Jobs(id)
	if err != nil {
		return err
	}
	c := s.Change()
	also(c)
	next := uint32(0)
	for _, j := range jobs {
		next = max(next, j.No)
	}
	for _, j := range jobs {
		if held {
			c.single(jobKey(j.ID, j.No))
		} else {
			c.Take(j)
		}
		next++
		j.No, j.Due = next, s.opt.Now()
		c.Put(j)
	}
	return c.Commit()
}

// ReadFlags returns the flags of a message, the zero Flags when there are none.
func (s *Store) ReadFlags(id mail.QueueID) (Flags, error) {
	v, closer, err := s.db.Get(idKey(kindFlags, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return Flags{}, nil
	}
	if err != nil {
		return Flags{}, fmt.Errorf("flags of %s: %w", id, err)
	}
	defer func() { _ = closer.Close() }()
	var f Flags
	d := &dec{b: v}
	d.flags(&f.Warned, &f.Expire)
	return f, d.err
}
