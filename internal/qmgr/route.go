package qmgr

import (
	"context"
	"sort"
	"strings"
	"time"

	"postroad/internal/mail"
	"postroad/internal/queue"
)

// resolverFailure is the deferral of a recipient whose route is not known now.
const resolverFailure = "address resolver failure"

// retryTransport is where recipients wait that have no transport for now.
const retryTransport mail.Transport = "retry"

// admit routes every recipient of a message that is not done and has no job.
func (m *Manager) admit(msg *message) {
	defer m.end()
	nums, err := m.pending(msg)
	if err != nil {
		m.log.Warnf("%s: %v", msg.env.ID, err)
		m.abandon(msg)
		return
	}
	m.logActive(msg, len(nums))
	jobs, unresolved := m.plan(msg, nums)
	e := m.enqueue(msg, jobs, unresolved, nil)
	if e != nil {
		m.attempts(e)
	}
}

// pending lists the recipients that admit must route: those that are neither
// done nor in a job.
func (m *Manager) pending(msg *message) ([]int32, error) {
	n := len(msg.env.Recipients)
	skip := map[int32]bool{}
	if msg.done > 0 || msg.aged {
		done, err := m.store.Done(msg.env.ID)
		if err != nil {
			return nil, err
		}
		jobs, err := m.store.Jobs(msg.env.ID)
		if err != nil {
			return nil, err
		}
		for _, j := range jobs {
			done = append(done, j.Recipients()...)
		}
		for _, i := range done {
			skip[i] = true
		}
	}
	nums := make([]int32, 0, n)
	for i := range int32(n) {
		if !skip[i] {
			nums = append(nums, i)
		}
	}
	return nums, nil
}

// abandon forgets a message that could not be read; it is still in the store
// and is looked for again.
func (m *Manager) abandon(msg *message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dismiss(msg)
	m.memory -= msg.kept
	m.fallBehind(queue.Arrival{When: msg.env.Arrived, ID: msg.env.ID})
}

// planned is a job before it is queued.
type planned struct {
	dest queue.Dest
	name string
	job  *job
}

// plan groups recipients by destination. Recipients whose route cannot be had
// now come back as unresolved.
func (m *Manager) plan(msg *message, nums []int32) (plans []*planned, unresolved []answer) {
	gen := m.gen.Load()
	type key struct {
		transport mail.Transport
		name      string
	}
	var byKey map[key]*planned
	seen := map[mail.Address]bool{}
	for _, num := range nums {
		rcpt := msg.env.Recipients[num]
		if msg.env.Redirect != "" {
			rcpt.Address = msg.env.Redirect
			if seen[rcpt.Address] {
				unresolved = append(unresolved, answer{num: num, rcpt: rcpt, res: mail.Result{Outcome: mail.Sent}})
				continue
			}
			seen[rcpt.Address] = true
		}
		route, err := m.route(gen, msg.env, rcpt.Address)
		if err != nil {
			m.log.Warnf("%s: %v", msg.env.ID, err)
			unresolved = append(unresolved, answer{num: num, rcpt: rcpt, res: mail.Result{
				Enhanced: "4.3.0", Text: resolverFailure,
			}})
			continue
		}
		rcpt.Address = route.Recipient
		if gen.Settings.discards(route) {
			unresolved = append(unresolved, answer{num: num, rcpt: rcpt, res: mail.Result{
				Outcome: mail.Sent, Enhanced: "2.0.0", Text: "undeliverable postmaster notification discarded",
			}})
			continue
		}
		dest := queue.NewDest(route.Transport, route.Nexthop)
		name := string(dest.Nexthop)
		if t := gen.Transports[route.Transport]; t != nil && t.Limits.Recipients == 1 {
			name = string(rcpt.Address.Fold()) + "\n" + name
		}
		k := key{route.Transport, name}
		p := byKey[k]
		if p == nil {
			p = &planned{dest: dest, name: name, job: &job{msg: msg, route: route, index: -1}}
			if len(nums) > 1 {
				if byKey == nil {
					byKey = map[key]*planned{}
				}
				byKey[k] = p
			}
			plans = append(plans, p)
		}
		p.job.rcpts = append(p.job.rcpts, rcpt)
		p.job.nums = append(p.job.nums, num)
	}
	for _, p := range plans {
		sortRecipients(p.job)
	}
	return plans, unresolved
}

// byAddress orders the recipients of a job by domain and then by address, so that
// those of one domain travel together when an attempt takes only some.
type byAddress struct {
	j    *job
	keys []string
}

// sortRecipients puts the recipients of a job in order.
func sortRecipients(j *job) {
	if len(j.rcpts) < 2 {
		return
	}
	b := byAddress{j, make([]string, len(j.rcpts))}
	for i := range j.rcpts {
		folded := j.rcpts[i].Address.Fold()
		b.keys[i] = folded.Domain() + "\x00" + string(folded)
	}
	sort.Stable(b)
}

func (b byAddress) Len() int           { return len(b.keys) }
func (b byAddress) Less(x, y int) bool { return b.keys[x] < b.keys[y] }
func (b byAddress) Swap(x, y int) {
	b.keys[x], b.keys[y] = b.keys[y], b.keys[x]
	b.j.rcpts[x], b.j.rcpts[y] = b.j.rcpts[y], b.j.rcpts[x]
	b.j.nums[x], b.j.nums[y] = b.j.nums[y], b.j.nums[x]
}

// route resolves one recipient; a content filter takes all of a message.
func (m *Manager) route(gen *Generation, env *mail.Envelope, rcpt mail.Address) (mail.Route, error) {
	ctx, cancel := context.WithTimeout(m.ctx, resolveTimeout)
	defer cancel()
	router := gen.Router
	if env.Verify && gen.Probes != nil {
		router = gen.Probes
	}
	route, err := router.Resolve(ctx, env.Sender, rcpt)
	if err == nil && m.tooMany(env) {
		route.Transport, route.Nexthop = retryTransport, tooManyProbes
	}
	if err != nil || env.FilterTransport == "" {
		return route, err
	}
	route.Transport, route.Nexthop = env.FilterTransport, env.FilterNexthop
	if route.Nexthop == "" {
		route.Nexthop = mail.Nexthop(gen.Settings.FilterNexthop)
	}
	if route.Nexthop == "" {
		route.Nexthop = mail.Nexthop(route.Recipient.Domain())
	}
	return route, nil
}

// resolveTimeout bounds one address resolution.
const resolveTimeout = 100 * time.Second

// enqueue hands planned jobs to the scheduler. It returns an entry for the
// calling goroutine to run, if there is one. rest is the record of the
// unresolved recipients, when they have one.
func (m *Manager) enqueue(msg *message, plans []*planned, unresolved []answer, rest *queue.Job) *entry {
	now := time.Now()
	var dead []*job
	m.mu.Lock()
	for _, p := range plans {
		d := m.sched.destination(p.dest, p.name)
		p.job.dest = d
		msg.refs++
		if now.Before(d.deadUntil) {
			dead = append(dead, p.job)
			continue
		}
		m.sched.add(p.job, now)
	}
	var entries []*entry
	for _, p := range plans {
		entries = m.collectFrom(p.job.dest.t, now, entries)
	}
	m.mu.Unlock()
	for _, j := range dead {
		m.suspend(j)
	}
	m.endRouting(msg, unresolved, rest)
	if len(entries) == 0 {
		return nil
	}
	m.start(entries[1:])
	return entries[0]
}

// endRouting gives back the reference that routing held and defers what could
// not be routed.
func (m *Manager) endRouting(msg *message, unresolved []answer, rest *queue.Job) {
	j := &job{msg: msg, index: -1, stored: rest, route: mail.Route{Transport: retryTransport, Nexthop: resolverFailure}}
	j.dest = &destination{disk: queue.NewDest(retryTransport, resolverFailure)}
	var settled []answer
	for _, a := range unresolved {
		if a.res.Outcome == mail.Sent {
			if a.res.Text != "" {
				m.logDiscarded(msg, a)
			}
			settled = append(settled, a) // or a redirect that another recipient stands for
			continue
		}
		m.probeAnswer(msg.env, &a)
		m.logUndelivered(msg, a)
		if msg.env.Probe {
			settled = append(settled, a)
		} else {
			j.deferred = append(j.deferred, a)
		}
	}
	m.settle(j, settled)
}

// suspend defers what is left of a job whose destination is dead, without
// trying it.
func (m *Manager) suspend(j *job) {
	m.mu.Lock()
	reason, from := j.dest.reason, j.next
	j.next = len(j.rcpts)
	j.busy++ // so that nobody settles the job before the answers are in it
	m.mu.Unlock()
	res := mail.Result{
		Enhanced: reason.Enhanced, Text: "delivery temporarily suspended: " + reason.Text,
		DiagnosticType: reason.DiagnosticType, Diagnostic: reason.Diagnostic, RemoteMTA: reason.RemoteMTA,
	}
	if !strings.HasPrefix(res.Enhanced, "4") {
		res.Enhanced = "4.0.0"
	}
	var answers []answer
	for i := from; i < len(j.rcpts); i++ {
		a := answer{num: j.nums[i], rcpt: j.rcpts[i], res: res}
		m.probeAnswer(j.msg.env, &a)
		m.logUndelivered(j.msg, a)
		answers = append(answers, a)
	}
	var settled []answer
	if j.msg.env.Probe {
		settled, answers = answers, nil
	}
	m.mu.Lock()
	j.deferred = append(j.deferred, answers...)
	m.mu.Unlock()
	m.endEntry(j, settled)
}
