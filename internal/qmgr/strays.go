package qmgr

import (
	"context"
	"errors"
	"time"

	"postroad/internal/mail"
	"postroad/internal/queue"
)

const (
	// strayDelay is how long after the start the queue is searched for strays,
	// strayPause how long a message must have no job before that is believed.
	strayDelay = time.Minute
	strayPause = 10 * time.Second
	// maxStrays bounds how many are mended at a time.
	maxStrays = 10_000
)

// findStrays searches the queue once for messages that nothing leads to. Invariant 4
// of the queue says that there are none; mail does not depend on our having kept it.
func (m *Manager) findStrays(ctx context.Context) {
	if !pause(ctx, strayDelay) {
		return
	}
	var suspects []mail.QueueID
	err := m.store.List(func(sum *queue.Summary) error {
		// A listing does not read arrival marks; they are looked at below.
		if !sum.Held && len(sum.Jobs) == 0 && !m.active(sum.Envelope.ID) && len(suspects) < maxStrays {
			suspects = append(suspects, sum.Envelope.ID)
		}
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil {
		m.log.Warnf("search for strays: %v", err)
	}
	if len(suspects) == 0 || !pause(ctx, strayPause) {
		return
	}
	for _, id := range suspects {
		sum, err := m.store.Summary(id)
		if errors.Is(err, queue.ErrNotFound) || err == nil && !m.stray(sum) {
			continue // it was on its way from one place to another
		}
		if err == nil {
			err = m.mend(sum)
		}
		if err != nil {
			m.log.Warnf("%s: stray message: %v", id, err)
		}
	}
	m.poke()
}

// pause waits; false means that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// stray tells whether nothing leads to a message.
func (m *Manager) stray(sum *queue.Summary) bool {
	return !sum.Held && !sum.Incoming && len(sum.Jobs) == 0 && !m.active(sum.Envelope.ID)
}

// mend gives a stray a place again, or removes it when nothing is left to do.
func (m *Manager) mend(sum *queue.Summary) error {
	id := sum.Envelope.ID
	env, content, err := m.store.Message(id)
	if err != nil {
		return err
	}
	var left []int32
	for n := range env.Recipients {
		if !sum.Done[int32(n)] {
			left = append(left, int32(n))
		}
	}
	c := m.store.Change()
	if len(left) == 0 {
		m.log.Warnf("%s: stray message: every recipient is done, so it is removed", id)
		if err := c.Remove(env, content); err != nil {
			c.Drop()
			return err
		}
		return c.Commit()
	}
	m.log.Warnf("%s: stray message: %d recipients are queued again", id, len(left))
	now := time.Now()
	dest := queue.NewDest(retryTransport, "stray")
	// A number beyond all that are counted up from 1, and another one each time
	// (invariant 6 of the queue).
	c.Put(&queue.Job{ID: id, No: 1<<31 | uint32(now.Unix()), Dest: dest, Due: now, LastTry: now,
		Waiting: []queue.Waiting{{Enhanced: "4.3.0", Text: "message had lost its place in the queue", Recipients: left}}})
	if err := c.Commit(); err != nil {
		return err
	}
	m.mu.Lock()
	m.waits.put(dest, now)
	m.mu.Unlock()
	return nil
}
