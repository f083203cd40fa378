package qmgr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/queue"
)

// Admin does what postqueue, postsuper and postcat ask for, on a running
// manager or, when Manager is nil, on the store of a stopped server.
type Admin struct {
	Store   *queue.Store
	Manager *Manager
	// Resubmit keeps a message for a new cleaning, for postsuper -r, and returns
	// when that is durable.
	Resubmit func(ctx context.Context, env *mail.Envelope, content mail.Content) error
}

var _ control.Queue = (*Admin)(nil)

// queueOf names the queue that a message would be in under Postfix.
func (a *Admin) queueOf(sum *queue.Summary) string {
	switch {
	case sum.Held:
		return "hold"
	case a.Manager != nil && a.Manager.active(sum.Envelope.ID):
		return "active"
	case sum.Incoming:
		return "incoming"
	}
	return "deferred"
}

// active tells whether a message is in memory.
func (m *Manager) active(id mail.QueueID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.messages[id] != nil
}

// List implements control.Queue.
func (a *Admin) List(ctx context.Context, yield func(*control.Entry) error) error {
	return a.Store.List(func(sum *queue.Summary) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return yield(a.entry(sum))
	})
}

// entry describes a message with the recipients that are not done.
func (a *Admin) entry(sum *queue.Summary) *control.Entry {
	env := sum.Envelope
	e := &control.Entry{
		Queue: a.queueOf(sum), ID: env.ID, Arrived: env.Arrived, Size: env.Size, Expired: sum.Flags.Expire, Sender: env.Sender,
	}
	seen := make(map[int32]bool, len(env.Recipients))
	add := func(n int32, reason string) {
		if int(n) >= len(env.Recipients) || seen[n] || sum.Done[n] {
			return
		}
		seen[n] = true
		r := &env.Recipients[n]
		e.Recipients = append(e.Recipients, control.Recipient{Address: r.Address, Original: r.Original, Reason: reason})
	}
	for _, j := range sum.Jobs {
		for _, w := range j.Waiting {
			for _, n := range w.Recipients {
				add(n, w.Text)
			}
		}
	}
	for n := range int32(len(env.Recipients)) {
		add(n, "")
	}
	return e
}

// defaultQueues are where postsuper looks when it is not told.
func defaultQueues(op control.Op) []string {
	switch op {
	case control.OpHold:
		return []string{"incoming", "active", "deferred"}
	case control.OpRelease:
		return []string{"hold"}
	}
	return []string{"hold", "incoming", "active", "deferred"}
}

// Change implements control.Queue. The changes of many messages share a sync; each
// is reported when it is durable, but for a hold of a message in memory, which begins
// when the attempts in flight have ended.
func (a *Admin) Change(ctx context.Context, op control.Op, sel control.Selection, report func(mail.QueueID)) (int, error) {
	do := a.operation(op)
	if do == nil {
		return 0, fmt.Errorf("unknown operation %q", op)
	}
	queues := sel.Queues
	if len(queues) == 0 {
		queues = defaultQueues(op)
	}
	ids := sel.IDs
	if sel.All {
		ids = nil
		err := a.Store.List(func(sum *queue.Summary) error {
			ids = append(ids, sum.Envelope.ID)
			return ctx.Err()
		})
		if err != nil {
			return 0, err
		}
	}
	n := 0
	for batch := range slices.Chunk(ids, adminBatch) {
		done, err := a.changeAll(ctx, do, batch, queues)
		if len(done) > 0 {
			// What was reported stays done, whatever happens next.
			if syncErr := a.Store.Sync(); syncErr != nil {
				return n, syncErr
			}
		}
		for _, id := range done {
			report(id)
		}
		n += len(done)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// adminBatch is how many messages are changed between two syncs.
const adminBatch = 500

// changeAll does one thing to messages in some queues, and returns those that it
// did it to.
func (a *Admin) changeAll(ctx context.Context, do func(context.Context, *queue.Summary) error, ids []mail.QueueID, queues []string) (done []mail.QueueID, err error) {
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		sum, err := a.Store.Summary(id)
		if errors.Is(err, queue.ErrNotFound) || (err == nil && !slices.Contains(queues, a.queueOf(sum))) {
			continue
		}
		if err == nil {
			err = do(ctx, sum)
		}
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("%s: %w", id, err)
		}
		done = append(done, id)
	}
	return done, nil
}

func (a *Admin) operation(op control.Op) func(context.Context, *queue.Summary) error {
	return map[control.Op]func(context.Context, *queue.Summary) error{
		control.OpDelete:  a.delete,
		control.OpHold:    a.hold,
		control.OpRelease: a.release,
		control.OpRequeue: a.requeue,
		control.OpExpire:  a.expire,
		control.OpExpireRelease: func(ctx context.Context, sum *queue.Summary) error {
			if err := a.expire(ctx, sum); err != nil || !sum.Held {
				return err
			}
			return a.release(ctx, sum)
		},
	}[op]
}

// delete removes a message. Attempts in flight end, and nothing of them is kept.
func (a *Admin) delete(_ context.Context, sum *queue.Summary) error {
	id := sum.Envelope.ID
	if a.Manager != nil {
		a.Manager.take(id, func(msg *message) { msg.gone = true })
	}
	env, content, err := a.Store.Message(id)
	if err != nil {
		return err
	}
	c := a.Store.Change()
	if err := c.Remove(env, content); err != nil {
		c.Drop()
		return err
	}
	return c.Commit()
}

// hold puts a message on hold: at once when it waits on disk, else when the
// attempts in flight have ended.
func (a *Admin) hold(_ context.Context, sum *queue.Summary) error {
	if a.Manager != nil && a.Manager.take(sum.Envelope.ID, func(msg *message) { msg.held = true }) {
		return nil
	}
	return holdStored(a.Store, sum.Envelope.ID)
}

func holdStored(s *queue.Store, id mail.QueueID) error {
	jobs, err := s.Jobs(id)
	if err != nil {
		return err
	}
	c := s.Change()
	c.Hold(id, jobs)
	return c.Commit()
}

// holdOnDisk begins a hold that was asked for while the message was in memory.
func (m *Manager) holdOnDisk(id mail.QueueID) {
	if _, _, err := m.store.Message(id); errors.Is(err, queue.ErrNotFound) {
		return // the attempt in flight was the last
	}
	err := holdStored(m.store, id)
	if err == nil {
		err = m.store.Sync() // the administrator was told
	}
	if err != nil {
		m.log.Errorf("%s: hold: %v", id, err)
	}
}

func (a *Admin) release(_ context.Context, sum *queue.Summary) error {
	if err := a.Store.Release(sum.Envelope.ID); err != nil {
		return err
	}
	if a.Manager != nil {
		a.Manager.lookAt(sum)
	}
	return nil
}

// requeue sends a message through cleanup again and removes the old one.
func (a *Admin) requeue(ctx context.Context, sum *queue.Summary) error {
	env, content, err := a.Store.Message(sum.Envelope.ID)
	if err != nil {
		return err
	}
	again := *env
	again.Recipients = nil
	for i, r := range env.Recipients {
		if !sum.Done[int32(i)] {
			again.Recipients = append(again.Recipients, r)
		}
	}
	if err := a.Resubmit(ctx, &again, content); err != nil {
		return err
	}
	if err := a.delete(ctx, sum); !errors.Is(err, queue.ErrNotFound) {
		return err
	}
	return nil // who takes it for its new cleaning has removed it already
}

// expire makes the next failure of a message final.
func (a *Admin) expire(_ context.Context, sum *queue.Summary) error {
	flags := sum.Flags
	flags.Expire = true
	c := a.Store.Change()
	c.SetFlags(sum.Envelope.ID, flags)
	if err := c.Commit(); err != nil {
		return err
	}
	if a.Manager == nil {
		return nil
	}
	a.Manager.mu.Lock()
	if msg := a.Manager.messages[sum.Envelope.ID]; msg != nil {
		msg.flags.Expire = true
	}
	a.Manager.mu.Unlock()
	return a.Manager.FlushID(sum.Envelope.ID)
}

// Cat implements control.Queue.
func (a *Admin) Cat(_ context.Context, id mail.QueueID) (*control.Message, error) {
	sum, err := a.Store.Summary(id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, control.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	_, content, err := a.Store.Message(id)
	if err != nil {
		return nil, err
	}
	out := &control.Message{Queue: a.queueOf(sum), Envelope: sum.Envelope, Expired: sum.Flags.Expire, Content: content}
	out.Done = make([]bool, len(sum.Envelope.Recipients))
	for i := range out.Done {
		out.Done[i] = sum.Done[int32(i)]
	}
	return out, nil
}

// take changes a message in memory and drops its queued jobs; false when it is
// not in memory.
func (m *Manager) take(id mail.QueueID, change func(*message)) bool {
	m.mu.Lock()
	msg := m.messages[id]
	if msg == nil {
		m.mu.Unlock()
		return false
	}
	change(msg)
	var queued []*job
	for _, t := range m.sched.transports {
		for _, d := range t.dests {
			for _, j := range d.jobs {
				if j.msg == msg {
					queued = append(queued, j)
				}
			}
		}
	}
	now := time.Now()
	for _, j := range queued {
		m.sched.drop(j, now)
	}
	m.mu.Unlock()
	for _, j := range queued {
		m.returnJob(j)
	}
	return true
}

// returnJob ends a job that was dropped from its queue: what was not tried keeps
// its old reason, or none, and is due now.
func (m *Manager) returnJob(j *job) {
	m.mu.Lock()
	from := j.next
	j.next = len(j.rcpts)
	for i := from; i < len(j.rcpts); i++ {
		j.untried = append(j.untried, answer{num: j.nums[i], rcpt: j.rcpts[i]})
	}
	complete := j.busy == 0
	m.mu.Unlock()
	if complete {
		m.settle(j, nil)
	}
}

// lookAt makes the manager look at a message that was released.
func (m *Manager) lookAt(sum *queue.Summary) {
	m.mu.Lock()
	for _, j := range sum.Jobs {
		m.waits.put(j.Dest, time.Now())
	}
	if sum.Incoming {
		m.fallBehind(queue.Arrival{When: sum.Envelope.Arrived, ID: sum.Envelope.ID})
	}
	m.mu.Unlock()
	m.poke()
}

// Flush makes everything due now that was not tried since: postqueue -f.
func (m *Manager) Flush() {
	now := time.Now()
	m.mu.Lock()
	m.flushed = now
	for _, w := range m.waits.byDest {
		m.waits.put(w.dest, now)
	}
	for _, t := range m.sched.transports {
		for _, d := range t.dests {
			d.deadUntil = time.Time{}
			d.update(now)
		}
	}
	m.mu.Unlock()
	m.poke()
}

// FlushSite is Flush for the mail of one domain.
func (m *Manager) FlushSite(domain string) error {
	domain = strings.ToLower(domain)
	var ids []mail.QueueID
	err := m.store.List(func(sum *queue.Summary) error {
		for _, r := range sum.Envelope.Recipients {
			if strings.EqualFold(r.Address.Domain(), domain) && len(sum.Jobs) > 0 && !sum.Held {
				ids = append(ids, sum.Envelope.ID)
				break
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := m.FlushID(id); err != nil {
			return err
		}
	}
	return nil
}

// FlushID makes one message due now.
func (m *Manager) FlushID(id mail.QueueID) error {
	sum, err := m.store.Summary(id)
	if errors.Is(err, queue.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if sum.Held || m.active(id) {
		return nil
	}
	if err := m.store.DueNow(id); err != nil {
		return err
	}
	m.mu.Lock()
	now := time.Now()
	for _, j := range sum.Jobs {
		m.waits.put(j.Dest, now)
		if t := m.sched.transports[j.Dest.Transport]; t != nil {
			if d := t.dests[string(j.Dest.Nexthop)]; d != nil {
				d.deadUntil = time.Time{}
			}
		}
	}
	m.mu.Unlock()
	m.poke()
	return nil
}

// Counts returns how many messages are in memory, for gauges.
func (m *Manager) Counts() (active int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.messages)
}
