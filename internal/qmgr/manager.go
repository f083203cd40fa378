package qmgr

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"postroad/internal/agent"
	"postroad/internal/bounce"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/queue"
)

// Router is what qmgr asks of trivial-rewrite. An error means try later.
type Router interface {
	Resolve(ctx context.Context, sender, rcpt mail.Address) (mail.Route, error)
}

// Reporter is what qmgr asks of bounce(8). An error means that the report is
// not committed and the recipients must wait.
type Reporter interface {
	Failure(ctx context.Context, r *bounce.Report) (mail.QueueID, error)
	Delay(ctx context.Context, r *bounce.Report) (mail.QueueID, error)
	Success(ctx context.Context, r *bounce.Report) (mail.QueueID, error)
}

// Transport is one delivery service of master.cf.
type Transport struct {
	Agent  agent.Agent
	Limits Limits
	// LogName is the tag of its log lines, as "postfix/smtp".
	LogName string
}

// Generation is everything that a reload replaces.
type Generation struct {
	Settings Settings
	Router   Router
	// Probes resolves the recipients of probes, Verify takes their answers.
	Probes     Router
	Verify     Verifier
	Reporter   Reporter
	Transports map[mail.Transport]*Transport
	// Fallback delivers what names a transport that does not exist.
	Fallback *Transport
}

// Manager is the queue manager. Use New, Run, Reload.
type Manager struct {
	store *queue.Store
	log   *event.Logger
	pids  *event.PIDs
	gen   atomic.Pointer[Generation]

	mu       sync.Mutex
	sched    *scheduler
	messages map[mail.QueueID]*message
	waits    waitIndex
	// backlog is the arrival behind which accepted mail waits on disk because
	// memory was full; behind is false when there is none.
	backlog queue.Arrival
	behind  bool
	memory  int64
	running int
	// probes counts the probes of verify(8) in memory.
	probes int
	closed bool
	// loading bounds the loaders.
	loading int

	wake   chan struct{}
	idle   sync.Cond
	ctx    context.Context
	cancel context.CancelFunc
	// aged is the arrival up to which waiting mail was looked at for delay
	// warnings; nextAge is when to look again.
	aged, nextAge time.Time
	// syncing bounds the goroutines that wait for mailbox files to be durable.
	syncing chan struct{}
	// flushed is when the last flush began; it overrides due times from before.
	flushed time.Time
}

// message is one message in memory.
type message struct {
	env     *mail.Envelope
	content mail.Content
	// kept is the memory that the content takes, counted in Manager.memory.
	kept int64
	// refs counts jobs that are not settled, plus one while routing.
	refs int
	// fresh tells that the arrival mark is still in the store; aged that the
	// age index has the message.
	fresh, aged bool
	// reread tells that the message was read back from disk, so that an earlier
	// attempt may have gone unrecorded.
	reread bool
	done   int
	nextNo uint32
	active time.Time
	// failed, succeeded and delayed are what reports will be about; undone are the
	// recipients that are done when failed is reported, pending their records on
	// disk.
	failed, succeeded, delayed []bounce.Failed
	undone                     []answer
	pending                    []*queue.Job
	flags                      queue.Flags
	expired                    bool
	// gone is set when the message was deleted under us, held when an
	// administrator wants it on hold.
	gone, held bool
	// closing is set when the last reference is being settled.
	closing bool
	// loaded holds the numbers of its stored jobs that are in memory.
	loaded map[uint32]bool
}

// answer is a final or temporary result for one recipient of a job.
type answer struct {
	num  int32
	rcpt mail.Recipient
	res  mail.Result
}

// New returns a manager for an open store. Nothing happens before Run.
func New(store *queue.Store, log *event.Logger, pids *event.PIDs, gen *Generation) *Manager {
	m := &Manager{
		store: store, log: log, pids: pids,
		sched:    newScheduler(),
		messages: map[mail.QueueID]*message{},
		wake:     make(chan struct{}, 1),
		syncing:  make(chan struct{}, maxSyncing),
	}
	m.idle.L = &m.mu
	m.waits.init()
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.setGeneration(gen)
	return m
}

func (m *Manager) setGeneration(gen *Generation) {
	m.gen.Store(gen)
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, t := range gen.Transports {
		m.sched.configure(name, t.Limits)
	}
}

// Reload makes attempts that begin from now on use the new generation.
func (m *Manager) Reload(gen *Generation) { m.setGeneration(gen) }

// Run schedules until ctx ends, then waits for the attempts in flight, which
// get grace to finish.
func (m *Manager) Run(ctx context.Context, grace time.Duration) error {
	if err := m.recover(); err != nil {
		return err
	}
	m.store.SetArrived(m.arrived)
	var search sync.WaitGroup
	defer search.Wait()
	// goroutine: looks for strays; ends with ctx at the latest.
	search.Go(func() { m.findStrays(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			m.stop(grace)
			return nil
		case <-m.wake:
			// Many wake-ups in a row are one look.
			timer.Reset(max(0, minTick-time.Since(last)))
		case <-timer.C:
			last = time.Now()
			timer.Reset(m.tick(last))
		}
	}
}

// maxSyncing is how many attempts may wait for their mailbox files to become
// durable; the more wait, the less each costs.
const maxSyncing = 512

// minTick is the least time between two looks at everything.
const minTick = 5 * time.Millisecond

// recover reads one line per destination, and marks mail that was accepted and
// not yet routed to be loaded in the background: a restart does not wait for
// the backlog.
func (m *Manager) recover() error {
	m.mu.Lock()
	m.behind, m.backlog = true, queue.Arrival{}
	m.mu.Unlock()
	return m.store.Destinations(func(d queue.Dest, due time.Time) error {
		m.mu.Lock()
		m.waits.put(d, due)
		m.mu.Unlock()
		return nil
	})
}

// stop waits for attempts in flight.
func (m *Manager) stop(grace time.Duration) {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	stopping := time.AfterFunc(grace, m.cancel)
	defer stopping.Stop()
	m.mu.Lock()
	for m.running > 0 {
		m.idle.Wait()
	}
	m.mu.Unlock()
	m.cancel()
}

// poke makes Run look again.
func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// begin and end bracket every goroutine of the manager.
func (m *Manager) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.running++
	return true
}

func (m *Manager) end() {
	m.mu.Lock()
	m.running--
	if m.running == 0 {
		m.idle.Broadcast()
	}
	m.mu.Unlock()
}

// idleCheck is the longest time without a look at the store's indexes.
const idleCheck = 10 * time.Second

// tick starts what is due and returns when to look again.
func (m *Manager) tick(now time.Time) time.Duration {
	m.loadBacklog()
	m.expireWaiting(now)
	m.mu.Lock()
	next := now.Add(idleCheck)
	var due []*waiting
	for {
		w := m.waits.due(now)
		if w == nil {
			break
		}
		if m.loading >= maxLoaders {
			next = now.Add(100 * time.Millisecond)
			break
		}
		m.loading++
		m.waits.busy(w)
		due = append(due, w)
	}
	if when, ok := m.waits.next(); ok && when.Before(next) {
		next = when
	}
	m.wakeDestinations(now, &next)
	entries := m.collect(now)
	m.mu.Unlock()
	for _, w := range due {
		m.loadDestination(w)
	}
	m.start(entries)
	return max(next.Sub(now), time.Millisecond)
}

// wakeDestinations revives destinations whose pause is over and forgets those
// that are idle.
func (m *Manager) wakeDestinations(now time.Time, next *time.Time) {
	for _, t := range m.sched.transports {
		if now.Before(t.notBefore) && t.notBefore.Before(*next) {
			*next = t.notBefore
		}
		for _, d := range t.dests {
			until := d.deadUntil
			if d.notBefore.After(until) {
				until = d.notBefore
			}
			if now.Before(until) {
				if until.Before(*next) {
					*next = until
				}
				continue
			}
			if !until.IsZero() {
				d.update(now)
			}
			m.sched.forget(d, now)
		}
	}
}

// collect picks every entry that may start now. The lock is held.
func (m *Manager) collect(now time.Time) []*entry {
	if m.closed {
		return nil
	}
	var entries []*entry
	for _, t := range m.sched.transports {
		entries = m.collectFrom(t, now, entries)
	}
	return entries
}

func (m *Manager) collectFrom(t *transport, now time.Time, entries []*entry) []*entry {
	if m.closed {
		return entries
	}
	for e := t.pick(now); e != nil; e = t.pick(now) {
		m.running++
		entries = append(entries, e)
	}
	return entries
}

// start runs entries that were collected.
func (m *Manager) start(entries []*entry) {
	for _, e := range entries {
		// goroutine: one delivery attempt after another; ends when its transport
		// has nothing to do, and stop waits for it.
		go m.work(e)
	}
}
