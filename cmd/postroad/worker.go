package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"postroad/internal/agent"
	"postroad/internal/cleanup"
	"postroad/internal/control"
	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/master"
	"postroad/internal/postscreen"
	"postroad/internal/privdeliver"
	"postroad/internal/qmgr"
	"postroad/internal/queue"
	"postroad/internal/smtpd"
	"postroad/internal/verify"
)

// attemptGrace is how long a delivery in flight may go on after a stop.
const attemptGrace = 5 * time.Second

// server is the mail system of one process: what runs over all generations.
type server struct {
	rt *master.Runtime
	// dir is queue_directory.
	dir      string
	log      *event.Logger
	pids     event.PIDs
	door     storeDoor
	resolver *dns.Resolver
	users    privdeliver.Users
	syncs    *agent.Syncs
	rates    *smtpd.Rates
	gen      atomic.Pointer[generation]
	manager  atomic.Pointer[qmgr.Manager]
	pickup   *cleanup.Pickup
	verify   *verify.Cache
	started  time.Time

	mu     sync.Mutex // one reload at a time
	doors  []door
	caches postscreen.Caches
	behind atomic.Pointer[map[string]*smtpd.Server]
	admin  []func(context.Context) error

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan struct{}
	// opened is closed when the queue has its manager.
	opened chan struct{}
	once   sync.Once
	err    error
}

// start builds the server and runs it: master calls it once per process.
func start(ctx context.Context, g *master.Generation, rt *master.Runtime) (master.Server, error) {
	s := &server{rt: rt, failed: make(chan struct{}), opened: make(chan struct{}), started: time.Now(), rates: smtpd.NewRates(), syncs: agent.NewSyncs()}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.users.Spawn = rt.User
	s.verify = verify.New(factStore{&s.door})
	var err error
	if s.resolver, err = dns.FromResolvConf("/etc/resolv.conf"); err != nil {
		return nil, err
	}
	gen, err := s.build(g)
	if err != nil {
		return nil, err
	}
	s.log = event.NewLogger(rt.Log, gen.settings.SyslogName+"/postroad", os.Getpid())
	if err := rt.DropPrivileges(); err != nil {
		return nil, err
	}
	s.dir = gen.settings.QueueDirectory
	s.gen.Store(gen)
	s.verify.Configure(gen.verify)
	s.runQueue(gen)
	// goroutine: removes what verify(8) no longer needs to know; ends with s.ctx.
	s.wg.Go(func() { s.verify.Run(s.ctx) })
	s.runPickup(gen)
	if err := s.listenControl(gen); err != nil {
		s.cancel()
		return nil, err
	}
	if err := s.listenMetrics(gen); err != nil {
		s.cancel()
		return nil, err
	}
	gauges := &queueGauges{s: s}
	if err := gauges.register(rt.Metrics); err != nil {
		s.log.Errorf("metrics: %v", err)
	}
	s.runStatistics(g, gen)
	s.doors = s.serve(g, gen)
	return s, nil
}

// build builds a generation.
func (s *server) build(g *master.Generation) (*generation, error) {
	b := &builder{rt: s.rt, resolver: s.resolver, users: &s.users, syncs: s.syncs, spool: spool{&s.door}, verify: s.verify}
	return b.build(g)
}

// runQueue opens the queue and runs its manager, however long that takes: until
// then clients hear that there is no room.
func (s *server) runQueue(gen *generation) {
	opt := queue.Options{
		Dir: filepath.Join(gen.settings.QueueDirectory, storeDir), LongIDs: gen.settings.LongQueueIDs,
		MemTable: boundMemory(), Failed: s.fail, Warn: s.log.Warnf,
	}
	// The first attempt is made before anybody is served.
	store, err := queue.Open(opt)
	if err == nil {
		s.door.store.Store(store)
	}
	// goroutine: the queue; ends with s.ctx, and Shutdown waits for it.
	s.wg.Go(func() {
		if err != nil {
			if store, err = s.door.open(s.ctx, opt, s.log); err != nil {
				return
			}
		}
		// goroutine: gives the store its reserve back; ends with s.ctx.
		s.wg.Go(func() { reclaim(s.ctx, store) })
		log := s.log.With(gen.settings.SyslogName+"/qmgr", s.pids.Next())
		m := qmgr.New(store, log, &s.pids, s.gen.Load().qmgr)
		s.manager.Store(m)
		close(s.opened)
		if err := m.Run(s.ctx, attemptGrace); err != nil {
			s.fail(err)
		}
		if err := store.Close(); err != nil {
			s.log.Errorf("close the queue: %v", err)
		}
	})
}

// runPickup takes local submissions in.
func (s *server) runPickup(gen *generation) {
	s.pickup = cleanup.NewPickup(gen.settings.QueueDirectory, s.log.With(gen.settings.SyslogName+"/pickup", s.pids.Next()),
		func() *cleanup.Service { return s.gen.Load().pickup })
	s.pickup.Refuse = func(ctx context.Context, r *cleanup.Refusal) error { return s.gen.Load().refuse(ctx, r) }
	s.pickup.Returned = func(ctx context.Context, id mail.QueueID) error {
		select {
		case <-s.opened:
		case <-ctx.Done():
			return ctx.Err()
		}
		q, err := (&handler{s}).queue()
		if err != nil {
			return err
		}
		_, err = q.Queue.Change(ctx, control.OpDelete, control.Selection{IDs: []mail.QueueID{id}}, func(mail.QueueID) {})
		return err
	}
	// goroutine: pickup; ends with s.ctx.
	s.wg.Go(func() { s.pickup.Run(s.ctx) })
}

// runStatistics reports what clients did at most: anvil(8).
func (s *server) runStatistics(g *master.Generation, gen *generation) {
	view := g.Config.View(nil)
	if svc := g.Config.Service("anvil", "unix"); svc != nil {
		view = g.Config.View(svc)
	}
	every, err := view.Duration("anvil_status_update_time")
	if err != nil {
		s.log.Warnf("anvil_status_update_time: %v", err)
		every = 10 * time.Minute
	}
	log := s.log.With(gen.settings.SyslogName+"/anvil", s.pids.Next())
	// goroutine: the reports; ends with s.ctx, with a last one.
	s.wg.Go(func() { s.rates.Report(s.ctx, every, log) })
}

// Reload implements master.Server: new sessions and attempts use the new
// generation, those under way end on the old one.
func (s *server) Reload(ctx context.Context, g *master.Generation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	gen, err := s.build(g)
	if err != nil {
		return err
	}
	old, oldDoors := s.gen.Swap(gen), s.doors
	s.verify.Configure(gen.verify)
	if m := s.manager.Load(); m != nil {
		m.Reload(gen.qmgr)
	}
	s.doors = s.serve(g, gen)
	// goroutine: lets the old generation end in its own time; bounded by
	// oldSessionsGrace.
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, oldSessionsGrace)
		defer cancel()
		var drained sync.WaitGroup
		for _, d := range oldDoors {
			// goroutine: one old service; bounded by ctx.
			drained.Go(func() {
				if d.Drain(ctx) == nil {
					return
				}
				// Whoever is still here goes before the tables close.
				end, cancel := context.WithTimeout(context.Background(), dismissGrace)
				defer cancel()
				_ = d.Dismiss(end)
			})
		}
		drained.Wait()
		old.close()
	})
	return nil
}

// oldSessionsGrace is how long sessions of an old generation may go on.
const oldSessionsGrace = 10 * time.Minute

// dismissGrace is how long they may take to finish a command after that.
const dismissGrace = 10 * time.Second

// Shutdown implements master.Server.
func (s *server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, d := range s.doors {
		errs = append(errs, d.Shutdown(ctx))
	}
	s.caches.Flush()
	for _, stop := range s.admin {
		errs = append(errs, stop(ctx))
	}
	s.cancel()
	done := make(chan struct{})
	// goroutine: waits for everything; ends when it has ended.
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, ctx.Err())
	}
	s.users.Close()
	return errors.Join(errs...)
}

// fail says that this process cannot go on: master starts another, which opens
// the queue anew and believes only what is on disk.
func (s *server) fail(err error) {
	s.once.Do(func() {
		s.log.Fatalf("%v", err)
		s.err = err
		// Sessions that wait for a reply get it first.
		time.AfterFunc(failGrace, func() { close(s.failed) })
	})
}

// failGrace lets sessions answer before the process ends.
const failGrace = 500 * time.Millisecond

// Failed implements master.Server.
func (s *server) Failed() <-chan struct{} { return s.failed }

// Err implements master.Server.
func (s *server) Err() error { return s.err }

// listenControl serves the commands.
func (s *server) listenControl(gen *generation) error {
	ln, err := control.Listen(gen.settings.QueueDirectory, 0o666)
	if err != nil {
		return err
	}
	ctl := &control.Server{Handler: &handler{s}, Policy: gen.policy(), Log: s.log}
	// goroutine: answers commands; ends with s.ctx.
	s.wg.Go(func() {
		if err := ctl.Serve(s.ctx, ln); err != nil && s.ctx.Err() == nil {
			s.log.Errorf("control socket: %v", err)
		}
	})
	showq, err := control.ListenShowq(gen.settings.QueueDirectory)
	if err != nil {
		return err
	}
	// goroutine: shows the queue to monitoring programs; ends with s.ctx.
	s.wg.Go(func() {
		if err := control.ServeShowq(s.ctx, showq, &handler{s}, s.log); err != nil && s.ctx.Err() == nil {
			s.log.Errorf("showq socket: %v", err)
		}
	})
	return nil
}

// listenMetrics serves /metrics where main.cf says so.
func (s *server) listenMetrics(gen *generation) error {
	if gen.settings.MetricsListen == "" {
		return nil
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(s.ctx, "tcp", gen.settings.MetricsListen)
	if err != nil {
		return fmt.Errorf("postroad_metrics_listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.rt.Metrics.Registry, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	// goroutine: serves metrics; ends with Shutdown.
	s.wg.Go(func() {
		if err := srv.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log.Errorf("metrics: %v", err)
		}
	})
	s.admin = append(s.admin, srv.Shutdown)
	return nil
}
