package qmgr

import (
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"postroad/internal/agent"
	"postroad/internal/event"
	"postroad/internal/mail"
)

// work runs an entry, and then what its transport has next.
func (m *Manager) work(e *entry) { m.attempts(e) }

// attempts runs entries one after the other; each was counted by collectFrom.
func (m *Manager) attempts(e *entry) {
	for e != nil {
		next := m.attempt(e)
		m.end()
		e = next
	}
}

// attempt delivers one entry, carries the answers into the queue and returns the
// next entry for this goroutine.
func (m *Manager) attempt(e *entry) *entry {
	j := e.job
	t := m.gen.Load().transport(j.route.Transport)
	d := &agent.Delivery{
		Envelope: j.msg.env, Recipients: j.rcpts[e.from:e.to], Route: j.route, Content: j.msg.content,
		Logger: m.log.With(t.LogName, m.pids.Next()), Active: j.msg.active, Started: time.Now(),
		Reuse: e.reuse, Attempt: j.attempts + 1, Again: j.msg.reread,
	}
	if j.msg.env.VERP != "" {
		env := *j.msg.env
		env.Sender = mail.VERP(env.Sender, env.VERP, &d.Recipients[0])
		d.Envelope = &env
	}
	if j.msg.env.Probe {
		d.Flags |= agent.Verify
	}
	if j.msg.env.Verify {
		d.Flags |= agent.Shallow
	}
	if j.msg.env.Trace {
		d.Flags |= agent.Verbose
	}
	results := m.deliver(t, d)
	sent, site := m.classify(e, d, results)

	unsynced := slices.ContainsFunc(sent, func(a answer) bool { return a.res.Sync != nil })
	now := time.Now()
	var killed []*job
	m.mu.Lock()
	j.busy++ // the entry is not over before its files are durable
	if e.release(now, site) {
		killed = m.sched.kill(j.dest, now.Add(m.gen.Load().Settings.MinimalBackoff))
	}
	entries := m.collectFrom(j.dest.t, now, nil)
	m.mu.Unlock()
	if killed != nil {
		m.poke()
	}
	for _, k := range killed {
		m.suspend(k)
	}
	var next *entry
	if len(entries) > 0 && !unsynced {
		next, entries = entries[0], entries[1:]
	}
	m.start(entries)
	if unsynced {
		sent = m.syncAll(j, sent)
	}
	m.endEntry(j, sent)
	return next
}

// endEntry ends an entry of a job: what it delivered is recorded, and the last one
// settles the job. Nobody else may find the job over before that record is made:
// the message would go back to the disk with a recipient that nothing leads to.
func (m *Manager) endEntry(j *job, sent []answer) {
	m.mu.Lock()
	last := j.busy == 1 && j.next == len(j.rcpts)
	m.mu.Unlock()
	if !last && len(sent) > 0 {
		m.settlePart(j, sent)
		sent = nil
	}
	m.mu.Lock()
	j.busy--
	complete := j.busy == 0 && j.next == len(j.rcpts)
	m.mu.Unlock()
	if complete {
		m.settle(j, sent)
	}
}

// syncAll makes delivered files durable while the transport goes on with other
// mail. What cannot be made durable is delivered again.
func (m *Manager) syncAll(j *job, sent []answer) []answer {
	m.syncing <- struct{}{}
	defer func() { <-m.syncing }()
	kept := sent[:0]
	for _, a := range sent {
		if a.res.Sync == nil {
			kept = append(kept, a)
			continue
		}
		if err := a.res.Sync(); err != nil {
			m.log.Errorf("%s: to=<%s>: cannot make the delivery durable: %v", j.msg.env.ID, a.rcpt.Address, err)
			a.res = mail.Result{Enhanced: "4.3.0", Text: "mailbox write error"}
			m.mu.Lock()
			j.deferred = append(j.deferred, a)
			m.mu.Unlock()
			continue
		}
		kept = append(kept, a)
	}
	return kept
}

// transport finds a transport, or what answers for one that does not exist.
func (g *Generation) transport(name mail.Transport) *Transport {
	if t := g.Transports[name]; t != nil {
		return t
	}
	return g.Fallback
}

// deliver calls the agent and makes sure of one answer per recipient. A panic
// defers the attempt (invariant 4).
func (m *Manager) deliver(t *Transport, d *agent.Delivery) (results []mail.Result) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Errorf("%s: delivery agent %s: %v: %s", d.Envelope.ID, t.LogName, p, firstLines(debug.Stack()))
			results = nil
		}
		results = complete(results, len(d.Recipients))
	}()
	return t.Agent.Deliver(m.ctx, d)
}

// complete orders results by recipient and fills in what the agent forgot.
func complete(results []mail.Result, n int) []mail.Result {
	out := make([]mail.Result, n)
	for i := range out {
		out[i] = mail.Result{Index: i, Outcome: mail.Deferred, Enhanced: "4.3.0", Text: "unknown mail transport error"}
	}
	for _, r := range results {
		if r.Index >= 0 && r.Index < n {
			out[r.Index] = r
		}
	}
	return out
}

// firstLines keeps the part of a stack that says where it happened, in one line.
func firstLines(stack []byte) string {
	lines := strings.SplitN(string(stack), "\n", 14)
	return strings.Join(lines[:len(lines)-1], " | ")
}

// classify logs the answers and sorts them: failures and deferrals go to the
// job, success comes back. site is the answer that condemns the destination, if
// there is one.
func (m *Manager) classify(e *entry, d *agent.Delivery, results []mail.Result) (sent []answer, site *mail.Result) {
	j := e.job
	soft := m.gen.Load().Settings.SoftBounce
	var deferred, bounced []answer
	for i := range results {
		r := &results[i]
		a := answer{num: j.nums[e.from+i], rcpt: d.Recipients[i], res: *r}
		if r.SiteFailure && r.Outcome != mail.Sent {
			site = r
		}
		softened := soft && !j.msg.env.Probe && soften(&a.res)
		m.probeAnswer(j.msg.env, &a)
		m.logResult(j.msg, d, a, softened)
		a.res.Text = strings.TrimRight(a.res.Text, " ") // only the log shows the end of what a command said
		switch a.res.Outcome {
		case mail.Sent, mail.Deliverable, mail.Undeliverable:
			sent = append(sent, a)
		case mail.Bounced:
			bounced = append(bounced, a)
		default:
			deferred = append(deferred, a)
		}
	}
	if len(deferred)+len(bounced) > 0 {
		m.mu.Lock()
		j.deferred = append(j.deferred, deferred...)
		j.bounced = append(j.bounced, bounced...)
		m.mu.Unlock()
	}
	return sent, site
}

// soften turns a bounce into a deferral, also one that stands behind an answer;
// it tells whether there was one.
func soften(r *mail.Result) bool {
	found := r.Outcome == mail.Bounced
	if found {
		r.Outcome = mail.Deferred
		r.Enhanced = "4" + strings.TrimPrefix(r.Enhanced, "5")
	}
	for i := range r.Steps {
		found = soften(&r.Steps[i].Result) || found
	}
	return found
}

// logResult logs an answer, or the deliveries behind it.
func (m *Manager) logResult(msg *message, d *agent.Delivery, a answer, softened bool) {
	if a.res.Steps == nil {
		m.logDelivery(msg, d, a, softened)
		return
	}
	for _, s := range a.res.Steps {
		if s.Unlogged {
			continue
		}
		step := a
		step.rcpt, step.res = s.Recipient, s.Result
		if msg.env.Probe {
			probed(&step.res)
		}
		from := *d
		if s.Agent != "" {
			from.Logger = m.log.With(s.Agent, m.pids.Next())
		}
		m.logDelivery(msg, &from, step, softened && s.Result.Outcome == mail.Deferred)
	}
}

func (m *Manager) logDelivery(msg *message, d *agent.Delivery, a answer, softened bool) {
	d.Logger.Emit(&event.Delivery{
		ID: msg.env.ID, To: a.rcpt.Address, OrigTo: a.rcpt.Original, Transport: d.Route.Transport,
		Relay: a.res.Relay, ConnUse: a.res.ConnUse, TLS: a.res.TLS, DSN: a.res.Enhanced,
		DelayDigits: m.gen.Load().Settings.DelayDigits,
		Outcome:     a.res.Outcome, SoftBounce: softened, Reason: a.res.Text,
		Times: event.Times{
			Arrived: msg.env.Arrived, Active: d.Active, Started: d.Started, Connected: a.res.Connected, Done: time.Now(),
		},
	})
}

// logDiscarded logs a recipient that the queue manager takes care of itself.
func (m *Manager) logDiscarded(msg *message, a answer) {
	now := time.Now()
	m.log.Emit(&event.Delivery{
		ID: msg.env.ID, To: a.rcpt.Address, OrigTo: a.rcpt.Original, Transport: "discard",
		DSN: a.res.Enhanced, Outcome: a.res.Outcome, Reason: a.res.Text,
		DelayDigits: m.gen.Load().Settings.DelayDigits,
		Times:       event.Times{Arrived: msg.env.Arrived, Active: msg.active, Started: now, Done: now},
	})
}

// logUndelivered logs a recipient that was not tried, as error(8) does.
func (m *Manager) logUndelivered(msg *message, a answer) {
	now := time.Now()
	m.log.With(m.gen.Load().errorName(), m.pids.Next()).Emit(&event.Delivery{
		ID: msg.env.ID, To: a.rcpt.Address, OrigTo: a.rcpt.Original, Transport: retryTransport,
		DSN: a.res.Enhanced, Outcome: a.res.Outcome, Reason: a.res.Text,
		DelayDigits: m.gen.Load().Settings.DelayDigits,
		Times:       event.Times{Arrived: msg.env.Arrived, Active: msg.active, Started: now, Done: now},
	})
}

// errorName is the log name of error(8).
func (g *Generation) errorName() string {
	if t := g.Transports["error"]; t != nil {
		return t.LogName
	}
	return g.Fallback.LogName
}
