package qmgr

import (
	"time"

	"postroad/internal/bounce"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/queue"
)

// finish ends the stay of a message in memory: reports go out, then the message
// is removed or left to its jobs on disk. c holds what the last job settled and
// is committed here.
func (m *Manager) finish(msg *message, c *queue.Change, wake []wakeup) {
	m.mu.Lock()
	gone := msg.gone
	m.mu.Unlock()
	if gone {
		c.Drop()
		m.forget(msg, nil)
		return
	}
	wake = m.report(msg, c, wake)
	complete := msg.done >= len(msg.env.Recipients)
	var err error
	switch {
	case !complete:
		m.leaveOnDisk(msg, c)
		err = c.Commit()
	case msg.aged || len(msg.env.Recipients) > 1:
		if err = c.Remove(msg.env, msg.content); err == nil {
			err = c.Commit()
		}
	default:
		c.Finished(msg.env, msg.content)
		err = c.Commit()
	}
	if err != nil {
		m.log.Errorf("%s: %v", msg.env.ID, err)
	} else if complete {
		m.log.Emit(event.Removed{ID: msg.env.ID})
	}
	m.forget(msg, wake)
}

// leaveOnDisk gives a message back to the store. A hold that was asked for
// while it was in memory begins here.
func (m *Manager) leaveOnDisk(msg *message, c *queue.Change) {
	if msg.fresh {
		c.Routed(msg.env)
	}
	if !msg.aged {
		c.Waited(msg.env)
	}
}

// forget drops a message from memory.
func (m *Manager) forget(msg *message, wake []wakeup) {
	m.mu.Lock()
	m.dismiss(msg)
	m.memory -= msg.kept
	m.wakeup(wake)
	behind := m.behind
	held := msg.held && !msg.gone
	m.mu.Unlock()
	if held {
		m.holdOnDisk(msg.env.ID)
	}
	if behind {
		m.poke()
	}
}

// report sends what is due about a message: failures, successes, a warning that
// it is late. What cannot be committed keeps its recipients in the queue.
func (m *Manager) report(msg *message, c *queue.Change, wake []wakeup) []wakeup {
	gen := m.gen.Load()
	if len(msg.failed) > 0 {
		if err := m.reportFailures(gen, msg); err != nil {
			m.log.Emit(event.BounceFailed{ID: msg.env.ID})
			m.log.Warnf("%s: %v", msg.env.ID, err)
			wake = m.postpone(msg, c, wake)
		} else {
			m.failedDone(msg, c)
		}
	}
	if len(msg.succeeded) > 0 {
		_, err := gen.Reporter.Success(m.ctx, &bounce.Report{Envelope: msg.env, Content: msg.content, Recipients: msg.succeeded})
		if err != nil {
			m.log.Warnf("%s: delivery report: %v", msg.env.ID, err) // RFC 3461 6: the report is optional, the delivery was not
		}
	}
	m.warn(msg, c, &gen.Settings)
	return wake
}

// reportFailures returns a message: to its sender, with VERP once for each
// recipient to the address that tells which, or to the owner of an alias.
func (m *Manager) reportFailures(gen *Generation, msg *message) error {
	var together []bounce.Failed
	for i := range msg.failed {
		f := &msg.failed[i]
		to := f.Result.ReportTo
		if to == "" && !gen.Settings.NoVERPBounces {
			to = mail.VERP(msg.env.Sender, msg.env.VERP, &f.Recipient)
		}
		if to == "" || to == msg.env.Sender {
			together = append(together, *f)
			continue
		}
		r := bounce.Report{Envelope: msg.env, Content: msg.content, To: to, Recipients: msg.failed[i : i+1]}
		if _, err := gen.Reporter.Failure(m.ctx, &r); err != nil {
			return err
		}
	}
	if len(together) == 0 {
		return nil
	}
	_, err := gen.Reporter.Failure(m.ctx, &bounce.Report{Envelope: msg.env, Content: msg.content, Recipients: together})
	return err
}

// failedDone ends the failed recipients after their report was committed.
func (m *Manager) failedDone(msg *message, c *queue.Change) {
	for _, j := range msg.pending {
		c.Take(j)
	}
	if len(msg.env.Recipients) > 1 && len(msg.undone) > 0 {
		nums := make([]int32, len(msg.undone))
		for i, a := range msg.undone {
			nums[i] = a.num
		}
		c.Done(msg.env.ID, nums)
	}
	msg.done += len(msg.undone)
}

// postpone puts failed recipients whose report could not be sent back into the
// queue.
func (m *Manager) postpone(msg *message, c *queue.Change, wake []wakeup) []wakeup {
	due := m.gen.Load().Settings.retryAt(time.Now(), msg.env.Arrived)
	dest := queue.NewDest(retryTransport, "bounce failed")
	for _, j := range msg.pending {
		c.Take(j)
	}
	m.mu.Lock()
	msg.nextNo++
	job := &queue.Job{ID: msg.env.ID, No: msg.nextNo, Dest: dest, Due: due, LastTry: time.Now(), Attempts: 1}
	m.mu.Unlock()
	if len(msg.undone) == 0 {
		return wake // what bounced is part of recipients that are tried again
	}
	for _, a := range msg.undone {
		w := queue.Waiting{Enhanced: a.res.Enhanced, Text: a.res.Text}
		job.Waiting = group(job.Waiting, w, a.num)
	}
	c.Put(job)
	return append(wake, wakeup{dest, due})
}

// warn tells the sender once that the message is late.
func (m *Manager) warn(msg *message, c *queue.Change, s *Settings) {
	if s.DelayWarning <= 0 || len(msg.delayed) == 0 || msg.flags.Warned {
		return
	}
	if time.Since(msg.env.Arrived) < s.DelayWarning {
		return
	}
	_, err := m.gen.Load().Reporter.Delay(m.ctx, &bounce.Report{
		Envelope: msg.env, Content: msg.content, Recipients: msg.delayed,
		RetryUntil: msg.env.Arrived.Add(s.lifetime(msg.env.Sender)),
	})
	if err != nil {
		m.log.Warnf("%s: delay warning: %v", msg.env.ID, err)
		return
	}
	msg.flags.Warned = true
	c.SetFlags(msg.env.ID, msg.flags)
}

// ageCheck is how often mail behind dead destinations is looked at for expiry
// and delay warnings, ageBatch how many messages at a time.
const (
	ageCheck = 30 * time.Second
	ageBatch = 500
)

// expireWaiting gives up messages that are too old, and warns about late ones,
// though nobody tries them because their destination is dead.
func (m *Manager) expireWaiting(now time.Time) {
	if now.Before(m.nextAge) {
		return
	}
	m.nextAge = now.Add(ageCheck)
	s := &m.gen.Load().Settings
	oldest := now.Add(-min(s.Lifetime, s.BounceLifetime))
	if s.DelayWarning > 0 {
		oldest = now.Add(-min(s.Lifetime, s.BounceLifetime, s.DelayWarning))
	}
	var old []queue.Arrival
	err := m.store.Aged(m.aged, func(a queue.Arrival) bool {
		if a.When.After(oldest) {
			return false
		}
		old = append(old, a)
		return len(old) < ageBatch
	})
	if err != nil {
		m.log.Warnf("look for old mail: %v", err)
		return
	}
	for _, a := range old {
		m.checkAge(a.ID, now)
	}
	m.aged = time.Time{}
	if len(old) == ageBatch {
		m.aged, m.nextAge = old[len(old)-1].When, now
	}
}

// checkAge expires or warns about one message that is not in memory.
func (m *Manager) checkAge(id mail.QueueID, now time.Time) {
	m.mu.Lock()
	busy := m.messages[id] != nil || m.closed
	m.mu.Unlock()
	if busy {
		return // the attempt under way will see to it
	}
	sum, err := m.store.Summary(id)
	if err != nil || sum.Held || len(sum.Jobs) == 0 {
		return
	}
	s := &m.gen.Load().Settings
	if s.expired(sum.Envelope, now) || sum.Flags.Expire {
		for _, stored := range sum.Jobs {
			m.settleUntried(stored)
		}
		return
	}
	if s.DelayWarning > 0 && !sum.Flags.Warned && now.Sub(sum.Envelope.Arrived) >= s.DelayWarning {
		m.warnWaiting(sum)
	}
}

// settleUntried ends a stored job with the reasons it has waited for, which
// expires it.
func (m *Manager) settleUntried(stored *queue.Job) {
	msg, err := m.join(stored)
	if err != nil || msg == nil {
		return
	}
	j := &job{msg: msg, stored: stored, attempts: stored.Attempts, index: -1, dest: &destination{disk: stored.Dest}}
	for _, w := range stored.Waiting {
		for _, n := range w.Recipients {
			j.deferred = append(j.deferred, answer{num: n, rcpt: msg.env.Recipients[n], res: reasonOf(w)})
		}
	}
	m.settle(j, nil)
}

// reasonOf turns a stored reason back into a result.
func reasonOf(w queue.Waiting) mail.Result {
	return mail.Result{
		Enhanced: w.Enhanced, Text: w.Text, RemoteMTA: w.RemoteMTA, DiagnosticType: w.DiagnosticType, Diagnostic: w.Diagnostic,
	}
}

// warnWaiting sends the delay warning for a message that waits on disk.
func (m *Manager) warnWaiting(sum *queue.Summary) {
	_, content, err := m.store.Message(sum.Envelope.ID)
	if err != nil {
		return
	}
	msg := &message{env: sum.Envelope, content: content, flags: sum.Flags}
	for _, stored := range sum.Jobs {
		for _, w := range stored.Waiting {
			for _, n := range w.Recipients {
				msg.delayed = append(msg.delayed, bounce.Failed{
					Recipient: msg.env.Recipients[n], Result: reasonOf(w), When: stored.LastTry,
				})
			}
		}
	}
	c := m.store.Change()
	m.warn(msg, c, &m.gen.Load().Settings)
	if err := c.Commit(); err != nil {
		m.log.Errorf("%s: %v", msg.env.ID, err)
	}
}
