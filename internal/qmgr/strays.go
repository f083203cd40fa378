package qmgr

import (
	"context"
	"errors"
	"time"

	"postroad/internal/mail"
	"postroad/internal/queue"
	"postroad/internal/sys"
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
	if sys.Pause(ctx, strayDelay) != nil {
		return
	}
	var suspects []mail.QueueID
	err := m.store.List(func(sum *queue.Summary) error {
		// A listing does not read arrival marks; they are looked at below.
		if len(suspects) < maxStrays && m.stray(sum) {
			suspects = append(suspects, sum.Envelope.ID)
		}
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil {
		m.log.Warnf("search for strays: %v", err)
	}
	if len(suspects) == 0 || sys.Pause(ctx, strayPause) != nil {
		return
	}
	for _, id := range suspects {
		sum, err := m.store.Summary(id)
		if errors.Is(err, queue.ErrNotFound) || err == nil && (sum.Incoming || !m.stray(sum)) {
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

// stray tells whether nothing leads to a message that is not incoming.
func (m *Manager) stray(sum *queue.Summary) bool {
	return !sum.Held && len(sum.Jobs) == 0 && !m.active(sum.Envelope.ID)
}

// mend gives a stray a place again. Recipients that are done are left out when the
// job is loaded, and a message that has no others is removed then.
func (m *Manager) mend(sum *queue.Summary) error {
	id := sum.Envelope.ID
	all := make([]int32, len(sum.Envelope.Recipients))
	for n := range all {
		all[n] = int32(n)
	}
	m.log.Warnf("%s: stray message is queued again", id)
	now := time.Now()
	dest := queue.NewDest(retryTransport, "stray")
	// A number beyond all that are counted up from 1, and another one each time
	// (invariant 6 of the queue).
	c := m.store.Change()
	c.Put(&queue.Job{ID: id, No: 1<<31 | uint32(now.Unix()), Dest: dest, Due: now, LastTry: now,
		Waiting: []queue.Waiting{{Enhanced: "4.3.0", Text: "message had lost its place in the queue", Recipients: all}}})
	if err := c.Commit(); err != nil {
		return err
	}
	m.mu.Lock()
	m.waits.put(dest, now)
	m.mu.Unlock()
	return nil
}
