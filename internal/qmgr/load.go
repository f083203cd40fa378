package qmgr

import (
	"errors"
	"fmt"
	"time"

	"postroad/internal/mail"
	"postroad/internal/queue"
)

const (
	// probeJobs is how many jobs are loaded for a destination of which nothing
	// is known to work, chunkJobs for one that works.
	probeJobs = 5
	chunkJobs = 500
	// chunkPause is the time after which a destination whose jobs are all in
	// memory is looked at again.
	chunkPause = 100 * time.Millisecond
	// flushMemory is how long a flush goes on looking for mail that it has not
	// tried yet; it reads the index of a destination to its end each time.
	flushMemory = time.Hour
)

// loadDestination brings due jobs of a destination into memory, in a goroutine
// of its own.
func (m *Manager) loadDestination(w *waiting) {
	if !m.begin() {
		m.mu.Lock()
		m.loading--
		m.mu.Unlock()
		return
	}
	// goroutine: one load; stop waits for it.
	go func() {
		defer m.end()
		next := m.loadDue(w.dest)
		m.mu.Lock()
		m.waits.loaded(w, next)
		m.loading--
		m.mu.Unlock()
		m.poke()
	}()
}

// loadDue loads jobs and returns when to look at the destination again: the
// zero time when no job waits there.
func (m *Manager) loadDue(d queue.Dest) (next time.Time) {
	now := time.Now()
	m.mu.Lock()
	limit, until := m.loadLimit(d, now)
	flushed := m.flushed
	if now.Sub(flushed) > flushMemory {
		m.flushed, flushed = time.Time{}, time.Time{}
	}
	m.mu.Unlock()
	if limit <= 0 {
		return until
	}
	var found []queue.Due
	known := 0
	err := m.store.Waiting(d, func(j queue.Due) bool {
		if j.When.After(now) {
			// Not due; but a flush takes what was not tried since it began.
			if next.IsZero() {
				next = j.When
			}
			if flushed.IsZero() {
				return false
			}
			if j.LastTry.After(flushed) {
				return true
			}
		}
		m.mu.Lock()
		loaded := m.hasJob(j.ID, j.No)
		m.mu.Unlock()
		if loaded {
			known++
			return true
		}
		found = append(found, j)
		return len(found) < limit
	})
	if err != nil {
		m.log.Warnf("read jobs for %s: %v", d.Nexthop, err)
		return now.Add(time.Minute)
	}
	for _, j := range found {
		again := m.loadJob(j)
		if !again.IsZero() && (next.IsZero() || again.Before(next)) {
			next = again
		}
	}
	if len(found) >= limit || (known > 0 && next.IsZero()) {
		return now.Add(chunkPause)
	}
	return next
}

// loadLimit tells how many jobs of a destination may be loaded now; when it is
// none, until is when to ask again. The lock is held.
func (m *Manager) loadLimit(d queue.Dest, now time.Time) (limit int, until time.Time) {
	if len(m.messages) >= m.gen.Load().Settings.ActiveLimit {
		return 0, now.Add(time.Second)
	}
	t := m.sched.transports[d.Transport]
	if t == nil {
		return chunkJobs, time.Time{}
	}
	dest := t.dests[string(d.Nexthop)]
	if dest == nil {
		return chunkJobs, time.Time{}
	}
	if now.Before(dest.deadUntil) {
		return 0, dest.deadUntil
	}
	limit = chunkJobs
	if dest.suspect {
		limit = probeJobs
	}
	if limit -= len(dest.jobs); limit <= 0 {
		return 0, now.Add(chunkPause)
	}
	return limit, time.Time{}
}

// hasJob tells whether a job is in memory. The lock is held.
func (m *Manager) hasJob(id mail.QueueID, no uint32) bool {
	msg := m.messages[id]
	return msg != nil && msg.loaded[no]
}

// loadJob brings one job into memory. It returns when to look again for a job
// that could not be loaded now.
func (m *Manager) loadJob(due queue.Due) (again time.Time) {
	stored, err := m.store.Job(due.ID, due.No)
	if errors.Is(err, queue.ErrNotFound) {
		return time.Time{}
	}
	if err != nil {
		m.log.Warnf("%s: %v", due.ID, err)
		return time.Now().Add(time.Minute)
	}
	msg, err := m.join(stored)
	if err != nil {
		m.log.Warnf("%s: %v", due.ID, err)
		return time.Now().Add(time.Minute)
	}
	if msg == nil {
		return time.Now().Add(chunkPause) // it is being settled; look again
	}
	nums, err := m.remaining(msg, stored)
	if err != nil {
		m.log.Warnf("%s: %v", due.ID, err)
		m.leave(msg, stored)
		return time.Now().Add(time.Minute)
	}
	m.logActive(msg, len(nums))
	plans, unresolved := m.plan(msg, nums)
	rest, err := m.inherit(msg, stored, plans, unresolved)
	if err != nil {
		m.log.Warnf("%s: %v", due.ID, err)
		m.leave(msg, stored)
		return time.Now().Add(time.Minute)
	}
	if e := m.enqueue(msg, plans, unresolved, rest); e != nil {
		m.start([]*entry{e})
	}
	return time.Time{}
}

// join finds or reads the message of a job and takes a reference to it; nil
// when another loader has the job, or the message is gone.
func (m *Manager) join(stored *queue.Job) (*message, error) {
	if msg, found := m.share(stored); found {
		return msg, nil
	}
	env, content, err := m.store.Message(stored.ID)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, n := range stored.Recipients() {
		if int(n) >= len(env.Recipients) {
			return nil, fmt.Errorf("job %d names recipient %d of %d", stored.No, n, len(env.Recipients))
		}
	}
	jobs, err := m.store.Jobs(stored.ID)
	if err != nil {
		return nil, err
	}
	flags, err := m.store.ReadFlags(stored.ID)
	if err != nil {
		return nil, err
	}
	fresh := &message{env: env, content: content, aged: true, reread: true, active: time.Now(), flags: flags}
	if len(env.Recipients) > 1 {
		done, err := m.store.Done(stored.ID)
		if err != nil {
			return nil, err
		}
		fresh.done = len(done)
	}
	for _, j := range jobs {
		fresh.nextNo = max(fresh.nextNo, j.No)
	}
	m.mu.Lock()
	if m.messages[stored.ID] == nil {
		m.remember(fresh)
	}
	m.mu.Unlock()
	msg, _ := m.share(stored)
	return msg, nil
}

// share takes a reference to a message in memory for one of its jobs. found
// tells that the message is in memory; msg is nil when the job is, too.
func (m *Manager) share(stored *queue.Job) (msg *message, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	msg = m.messages[stored.ID]
	if msg == nil {
		return nil, false
	}
	if msg.loaded[stored.No] || msg.gone || msg.held || msg.closing {
		return nil, true
	}
	if msg.loaded == nil {
		msg.loaded = map[uint32]bool{}
	}
	msg.loaded[stored.No] = true
	msg.refs++
	return msg, true
}

// leave gives back what join took, without having tried the job.
func (m *Manager) leave(msg *message, stored *queue.Job) {
	m.mu.Lock()
	delete(msg.loaded, stored.No)
	m.mu.Unlock()
	m.settle(&job{msg: msg, index: -1}, nil)
}

// remaining lists the recipients of a stored job that are not done.
func (m *Manager) remaining(msg *message, stored *queue.Job) ([]int32, error) {
	nums := stored.Recipients()
	if len(msg.env.Recipients) == 1 {
		return nums, nil
	}
	done, err := m.store.Done(msg.env.ID)
	if err != nil || len(done) == 0 {
		return nums, err
	}
	skip := make(map[int32]bool, len(done))
	for _, n := range done {
		skip[n] = true
	}
	left := make([]int32, 0, len(nums))
	for _, n := range nums {
		if !skip[n] {
			left = append(left, n)
		}
	}
	return left, nil
}

// inherit makes the planned jobs the heirs of a stored one. Usually there is
// one heir. When routes have changed, the record is split in the store first, so
// that each recipient stays in exactly one job (queue invariant 4). It returns
// the record of the unresolved recipients.
func (m *Manager) inherit(msg *message, stored *queue.Job, plans []*planned, unresolved []answer) (*queue.Job, error) {
	if len(plans) == 1 && len(unresolved) == 0 {
		plans[0].job.stored, plans[0].job.attempts = stored, stored.Attempts
		return nil, nil
	}
	if len(plans) == 0 {
		return stored, nil
	}
	c := m.store.Change()
	c.Take(stored)
	m.mu.Lock()
	delete(msg.loaded, stored.No)
	m.mu.Unlock()
	for _, p := range plans {
		part := m.part(msg, stored, p.dest, p.job.nums)
		p.job.stored, p.job.attempts = part, stored.Attempts
		c.Put(part)
	}
	var rest *queue.Job
	if len(unresolved) > 0 {
		var nums []int32
		for _, a := range unresolved {
			nums = append(nums, a.num)
		}
		rest = m.part(msg, stored, stored.Dest, nums)
		c.Put(rest)
	}
	return rest, c.Commit()
}

// part is a new record with some recipients of an old one.
func (m *Manager) part(msg *message, stored *queue.Job, d queue.Dest, nums []int32) *queue.Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	msg.nextNo++
	msg.loaded[msg.nextNo] = true
	w := queue.Waiting{Recipients: nums}
	if len(stored.Waiting) > 0 {
		first := stored.Waiting[0]
		first.Recipients = nums
		w = first
	}
	return &queue.Job{
		ID: stored.ID, No: msg.nextNo, Dest: d, Due: stored.Due, LastTry: stored.LastTry,
		Attempts: stored.Attempts, Waiting: []queue.Waiting{w},
	}
}
