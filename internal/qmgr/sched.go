package qmgr

import (
	"container/heap"
	"math"
	"time"

	"postroad/internal/agent"
	"postroad/internal/mail"
	"postroad/internal/queue"
)

// Limits are what main.cf and master.cf say about one transport.
type Limits struct {
	// Processes bounds the attempts of the transport, Concurrency those of one
	// destination; 0 means no bound.
	Processes, Concurrency int
	// Initial is the first window of a destination.
	Initial int
	// Recipients bounds one attempt; with 1 each recipient is a destination.
	Recipients int
	// RateDelay is the pause between attempts to one destination and
	// TransportDelay between attempts of the whole transport.
	RateDelay, TransportDelay time.Duration
	// Positive and Negative are the feedback of the window; Cohorts is how many
	// failures of a full window make a destination dead.
	Positive, Negative Feedback
	Cohorts            float64
}

// Feedback is the amount by which one attempt moves a window:
// Amount/window^Power, Power being 0, 1/2 or 1.
type Feedback struct{ Amount, Power float64 }

func (f Feedback) at(window int) float64 {
	return f.Amount / math.Pow(float64(window), f.Power)
}

// scheduler is the state of all transports. Fairness: every job has a tag, the
// virtual time at which its next entry is due. A transport serves the
// destination whose first job has the lowest tag, and each served entry moves
// its job one step further; a job that arrives starts one step ahead of the
// transport's time. So each round serves one entry of every message, a letter
// overtakes a list after one entry, and a list is never starved by letters.
type scheduler struct {
	transports map[mail.Transport]*transport
	seq        uint64
}

type transport struct {
	name   mail.Transport
	limits Limits
	busy   int
	time   uint64
	dests  map[string]*destination
	ready  readyHeap
	// notBefore serves TransportDelay.
	notBefore time.Time
}

// destination is one queue in Postfix's sense.
type destination struct {
	t    *transport
	name string
	// disk is where deferred jobs of the destination wait.
	disk queue.Dest
	jobs jobHeap
	busy int

	window                    int
	success, failure, cohorts float64
	// deadUntil is when to try again; reason is what made it dead.
	deadUntil time.Time
	reason    mail.Result
	// suspect says that nothing has worked since the destination was dead.
	suspect bool
	// notBefore serves RateDelay; used is when the last entry was taken.
	notBefore, used time.Time
	stream          stream
	index           int
}

// job is some recipients of a message for one destination.
type job struct {
	msg   *message
	dest  *destination
	route mail.Route
	// rcpts are the recipients as they are now (after redirects); nums are
	// their indexes in the envelope.
	rcpts []mail.Recipient
	nums  []int32
	next  int
	busy  int
	// stored is what the job is on disk, nil for mail that just came in.
	stored   *queue.Job
	attempts int
	// deferred, bounced and untried are the answers so far; untried are
	// recipients that an administrator took away before their attempt.
	deferred, bounced, untried []answer
	tag, seq                   uint64
	index                      int
}

// entry is what one attempt delivers.
type entry struct {
	job      *job
	from, to int
	reuse    agent.Reuse
}

func newScheduler() *scheduler {
	return &scheduler{transports: map[mail.Transport]*transport{}}
}

// configure sets the limits of a transport, for the attempts that begin now.
func (s *scheduler) configure(name mail.Transport, l Limits) {
	t := s.transports[name]
	if t == nil {
		t = &transport{name: name, dests: map[string]*destination{}}
		s.transports[name] = t
	}
	t.limits = l
}

// destination finds or makes a destination.
func (s *scheduler) destination(d queue.Dest, name string) *destination {
	t := s.transports[d.Transport]
	if t == nil {
		s.configure(d.Transport, Limits{Initial: 1, Recipients: 1})
		t = s.transports[d.Transport]
	}
	dest := t.dests[name]
	if dest == nil {
		dest = &destination{t: t, name: name, disk: d, window: max(1, t.limits.Initial), index: -1}
		t.dests[name] = dest
	}
	return dest
}

// keepIdle is how long an idle destination keeps its window.
const keepIdle = 2 * time.Second

// forget drops a destination that has nothing to remember.
func (s *scheduler) forget(d *destination, now time.Time) {
	if len(d.jobs) > 0 || d.busy > 0 || now.Before(d.deadUntil) || now.Before(d.notBefore) || now.Before(d.used.Add(keepIdle)) {
		return
	}
	delete(d.t.dests, d.name)
}

// add queues a job.
func (s *scheduler) add(j *job, now time.Time) {
	s.seq++
	j.seq = s.seq
	j.tag = j.dest.t.time + 1
	heap.Push(&j.dest.jobs, j)
	j.dest.update(now)
}

// drop takes a job out of its queue; entries in flight go on.
func (s *scheduler) drop(j *job, now time.Time) {
	if j.index >= 0 {
		heap.Remove(&j.dest.jobs, j.index)
		j.dest.update(now)
	}
}

// blocked tells whether the destination may not start an attempt now.
func (d *destination) blocked(now time.Time) bool {
	if len(d.jobs) == 0 || now.Before(d.deadUntil) || now.Before(d.notBefore) {
		return true
	}
	if d.t.limits.RateDelay > 0 || d.t.limits.TransportDelay > 0 {
		return d.busy >= 1
	}
	return d.busy >= d.window
}

// update puts the destination in or out of the ready list, or moves it there.
func (d *destination) update(now time.Time) {
	blocked := d.blocked(now)
	switch {
	case blocked && d.index >= 0:
		heap.Remove(&d.t.ready, d.index)
	case !blocked && d.index < 0:
		heap.Push(&d.t.ready, d)
	case !blocked:
		heap.Fix(&d.t.ready, d.index)
	}
}

// pick takes the next entry of a transport, or nil.
func (t *transport) pick(now time.Time) *entry {
	if len(t.ready) == 0 || (t.limits.Processes > 0 && t.busy >= t.limits.Processes) || now.Before(t.notBefore) {
		return nil
	}
	if t.limits.TransportDelay > 0 && t.busy > 0 {
		return nil
	}
	d := t.ready[0]
	j := d.jobs[0]
	e := &entry{job: j, from: j.next, to: len(j.rcpts)}
	if n := j.perEntry(t.limits.Recipients); n > 0 {
		e.to = min(e.to, e.from+n)
	}
	j.next = e.to
	t.time = j.tag
	if j.next == len(j.rcpts) {
		heap.Pop(&d.jobs)
	} else {
		j.tag++
		heap.Fix(&d.jobs, 0)
	}
	j.busy++
	d.busy++
	t.busy++
	d.update(now)
	e.reuse = d.stream.begin(now, d.busy)
	d.used = now
	return e
}

// release gives back the slot of an entry and moves the window. It returns true
// when the destination was found dead by this answer.
func (e *entry) release(now time.Time, siteFailure *mail.Result) (died bool) {
	d, t := e.job.dest, e.job.dest.t
	e.job.busy--
	d.busy--
	t.busy--
	d.stream.end(now, d.busy == 0 && len(d.jobs) == 0)
	if siteFailure != nil {
		died = d.fail(*siteFailure)
	} else {
		d.succeed()
	}
	if delay := t.limits.RateDelay; delay > 0 {
		d.notBefore = now.Add(delay)
	}
	if delay := t.limits.TransportDelay; delay > 0 {
		t.notBefore = now.Add(delay)
	}
	if !died {
		d.update(now)
	}
	return died
}

// succeed is positive feedback: the window grows while it is used up.
func (d *destination) succeed() {
	d.suspect = false
	d.cohorts = 0
	d.failure = 0
	limit := d.t.limits.Concurrency
	if limit > 0 && d.window >= limit {
		return
	}
	if d.window >= d.busy+1+max(1, d.t.limits.Initial) {
		return
	}
	for d.success += d.t.limits.Positive.at(d.window); d.success >= 1; d.success-- {
		if limit == 0 || d.window < limit {
			d.window++
		}
	}
}

// fail is negative feedback for an answer that concerns the whole site.
func (d *destination) fail(r mail.Result) (dead bool) {
	d.reason = r
	if limit := d.t.limits.Cohorts; limit > 0 {
		d.cohorts += 1 / float64(d.window)
		if d.cohorts >= limit-1e-9 {
			return true
		}
	}
	d.success = 0
	for d.failure -= d.t.limits.Negative.at(d.window); d.failure < 0; d.failure++ {
		d.window = max(1, d.window-1)
	}
	return false
}

// kill makes a destination dead until then and returns its queued jobs.
func (s *scheduler) kill(d *destination, until time.Time) []*job {
	d.deadUntil = until
	d.cohorts, d.success, d.failure = 0, 0, 0
	d.window = max(1, d.t.limits.Initial)
	d.suspect = true
	jobs := d.jobs
	for _, j := range jobs {
		j.index = -1
	}
	d.jobs = nil
	d.update(until)
	if d.index >= 0 {
		heap.Remove(&d.t.ready, d.index)
	}
	return jobs
}

// readyHeap orders destinations by their first job.
type readyHeap []*destination

func (h readyHeap) Len() int           { return len(h) }
func (h readyHeap) Less(i, j int) bool { return h[i].jobs.first().before(h[j].jobs.first()) }
func (h readyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *readyHeap) Push(x any) {
	d := x.(*destination)
	d.index = len(*h)
	*h = append(*h, d)
}
func (h *readyHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.index = -1
	return d
}

// jobHeap orders the jobs of a destination by tag, then by arrival.
type jobHeap []*job

// first is the next job; a destination that just ran out of jobs orders last
// until it leaves the ready list.
func (h jobHeap) first() *job {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

func (j *job) before(other *job) bool {
	if j == nil || other == nil {
		return other == nil && j != nil
	}
	if j.tag != other.tag {
		return j.tag < other.tag
	}
	return j.seq < other.seq
}

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h jobHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *jobHeap) Push(x any) {
	j := x.(*job)
	j.index = len(*h)
	*h = append(*h, j)
}
func (h *jobHeap) Pop() any {
	old := *h
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	j.index = -1
	return j
}

// perEntry is how many recipients one attempt of a job may have; 0 for no limit.
// With VERP each has a sender of its own.
func (j *job) perEntry(limit int) int {
	if j.msg.env.VERP != "" {
		return 1
	}
	return limit
}
