package qmgr

import (
	"slices"
	"time"

	"postroad/internal/bounce"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/queue"
)

// wakeup is a destination to look at after a change was committed.
type wakeup struct {
	dest queue.Dest
	due  time.Time
}

// settlePart records the success of some entries of a job that goes on.
func (m *Manager) settlePart(j *job, sent []answer) {
	c := m.store.Change()
	m.markDone(c, j.msg, sent)
	if err := c.Commit(); err != nil {
		m.log.Errorf("%s: %v", j.msg.env.ID, err)
	}
}

// markDone records recipients as done and remembers who wants to hear of it.
func (m *Manager) markDone(c *queue.Change, msg *message, sent []answer) {
	if len(sent) == 0 {
		return
	}
	nums := make([]int32, 0, len(sent))
	for _, a := range sent {
		nums = append(nums, a.num)
	}
	if len(msg.env.Recipients) > 1 {
		c.Done(msg.env.ID, nums)
	}
	now := time.Now()
	cleared := m.gen.Load().Settings.ConfirmCleared
	m.mu.Lock()
	defer m.mu.Unlock()
	msg.done += len(sent)
	for _, a := range sent {
		msg.note(a, now, cleared)
	}
}

// note remembers the successes behind an answer that somebody asked to hear of.
// The lock is held.
// With cleared, whoever was warned that the message is late did.
func (msg *message) note(a answer, now time.Time, cleared bool) {
	if a.res.Enhanced == "" {
		return
	}
	cleared = cleared && msg.flags.Warned && a.rcpt.Notify.Wants(mail.NotifyDelay|mail.NotifySuccess)
	if !cleared && !wantsSuccess(msg.env, a.rcpt) {
		return
	}
	first := len(msg.succeeded)
	msg.succeeded = append(msg.succeeded, a.parts(now, mail.Sent, mail.Deliverable, mail.Undeliverable)...)
	for i := range msg.succeeded[first:] {
		msg.succeeded[first+i].Cleared = cleared
	}
}

// parts are the deliveries behind an answer that ended in one of these ways, or
// the answer itself when it stands for none but itself.
func (a *answer) parts(now time.Time, outcomes ...mail.Outcome) []bounce.Failed {
	if a.res.Steps == nil {
		return []bounce.Failed{{Recipient: a.rcpt, Result: a.res, When: now}}
	}
	var out []bounce.Failed
	for _, s := range a.res.Steps {
		if slices.Contains(outcomes, s.Result.Outcome) {
			out = append(out, bounce.Failed{Recipient: s.Recipient, Result: s.Result, When: now})
		}
	}
	return out
}

// wantsSuccess tells whether somebody asked to hear of a success (RFC 3461 4.1,
// sendmail -v and -bv).
func wantsSuccess(env *mail.Envelope, r mail.Recipient) bool {
	return env.Probe && !env.Verify || env.Trace || r.Notify&mail.NotifySuccess != 0
}

// settle ends a job: its last answers are in. It must be called once per
// reference that the message holds for the job.
func (m *Manager) settle(j *job, sent []answer) {
	msg := j.msg
	c := m.store.Change()
	m.mu.Lock()
	alone := msg.refs == 1
	msg.closing = msg.closing || alone
	m.mu.Unlock()
	// A message with one recipient that is done needs no mark: it is removed in
	// the same change.
	m.markDone(c, msg, sent)
	wake := m.settleJob(c, j)
	if alone {
		m.finish(msg, c, wake)
		return
	}
	if err := c.Commit(); err != nil {
		m.log.Errorf("%s: %v", msg.env.ID, err)
	}
	m.mu.Lock()
	if j.stored != nil {
		delete(msg.loaded, j.stored.No)
	}
	m.wakeup(wake)
	msg.refs--
	last := msg.refs == 0
	msg.closing = msg.closing || last
	m.mu.Unlock()
	if last {
		m.finish(msg, m.store.Change(), nil)
	}
}

// wakeup makes the index of waiting mail look at destinations. The lock is held.
func (m *Manager) wakeup(list []wakeup) {
	for _, w := range list {
		m.waits.put(w.dest, w.due)
	}
	if len(list) > 0 {
		m.poke()
	}
}

// settleJob moves deferred recipients to a new record and failed ones to the
// message, and takes the old record away.
func (m *Manager) settleJob(c *queue.Change, j *job) []wakeup {
	msg := j.msg
	if j.stored != nil {
		c.Take(j.stored)
	}
	now := time.Now()
	s := &m.gen.Load().Settings
	deferred, bounced := j.deferred, j.bounced
	if len(deferred) > 0 && (msg.flags.Expire || s.expired(msg.env, now)) {
		m.logExpired(msg)
		bounced = append(bounced, deferred...)
		deferred = nil
	}
	var wake []wakeup
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range bounced {
		msg.failed = append(msg.failed, a.parts(now, mail.Bounced, mail.Deferred)...)
		msg.undone = append(msg.undone, a)
		msg.note(a, now, false)
	}
	for _, a := range deferred {
		// What bounces behind an answer that waits is reported now, as Postfix does.
		if a.res.Steps != nil {
			msg.failed = append(msg.failed, a.parts(now, mail.Bounced)...)
		}
	}
	if len(deferred) > 0 {
		next := m.newJob(j, deferred, now)
		next.Due = s.retryAt(now, msg.env.Arrived)
		if until := j.dest.deadUntil; next.Due.Before(until) {
			next.Due = until
		}
		c.Put(next)
		wake = append(wake, wakeup{next.Dest, next.Due})
		for _, a := range deferred {
			msg.delayed = append(msg.delayed, a.parts(now, mail.Deferred)...)
		}
	}
	if len(j.untried) > 0 {
		back := m.newJob(j, j.untried, time.Time{})
		back.Due, back.Attempts = now, j.attempts
		c.Put(back)
		wake = append(wake, wakeup{back.Dest, back.Due})
	}
	if len(bounced) > 0 && !msg.fresh {
		// Until the report is committed the recipients must be found again.
		pending := m.newJob(j, bounced, now)
		pending.Due = now
		c.Put(pending)
		msg.pending = append(msg.pending, pending)
		if msg.loaded == nil {
			msg.loaded = map[uint32]bool{}
		}
		msg.loaded[pending.No] = true
	}
	return wake
}

// logExpired says once that a message goes back to its sender.
func (m *Manager) logExpired(msg *message) {
	m.mu.Lock()
	said := msg.expired
	msg.expired = true
	m.mu.Unlock()
	if !said {
		m.log.Emit(event.Expired{ID: msg.env.ID, From: msg.env.Sender, Forced: msg.flags.Expire})
	}
}

// newJob is a record of recipients, grouped by reason. The lock is held.
func (m *Manager) newJob(j *job, answers []answer, now time.Time) *queue.Job {
	j.msg.nextNo++
	next := &queue.Job{
		ID: j.msg.env.ID, No: j.msg.nextNo, Dest: j.dest.disk, LastTry: now, Attempts: j.attempts + 1,
	}
	for _, a := range answers {
		w := queue.Waiting{
			Enhanced: a.res.Enhanced, Text: a.res.Text, RemoteMTA: a.res.RemoteMTA,
			DiagnosticType: a.res.DiagnosticType, Diagnostic: a.res.Diagnostic,
		}
		next.Waiting = group(next.Waiting, w, a.num)
	}
	return next
}

// maxGroups bounds how many groups are searched for the same reason.
const maxGroups = 20

// group adds a recipient to the group with the same reason.
func group(groups []queue.Waiting, w queue.Waiting, num int32) []queue.Waiting {
	for i := max(0, len(groups)-maxGroups); i < len(groups); i++ {
		g := &groups[i]
		if g.Text == w.Text && g.Enhanced == w.Enhanced && g.Diagnostic == w.Diagnostic {
			g.Recipients = append(g.Recipients, num)
			return groups
		}
	}
	w.Recipients = []int32{num}
	return append(groups, w)
}
