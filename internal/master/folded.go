package master

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"postroad/internal/event"
	"postroad/internal/postconf"
)

// stopTimeout is how long a clean end may take before the process is killed;
// "postfix stop" waits five seconds.
const stopTimeout = 5 * time.Second

// Options are the circumstances of one start.
type Options struct {
	// Dir is the configuration directory.
	Dir string
	// Ready, when set, is called when the server serves.
	Ready func()
	// Reload and Stop, when set, replace signals: SIGHUP and SIGTERM.
	Reload <-chan struct{}
	// Metrics, when set, replaces a new set.
	Metrics *event.Metrics
	// Watch, when set, is called with the log before the server starts.
	Watch func(*event.Log)
}

// RunFolded runs master and worker as one process, until ctx is done or the
// server fails. It takes the lock of the queue.
func (p *Program) RunFolded(ctx context.Context, opt Options) error {
	cfg, settings, err := load(opt.Dir, stderrWarn)
	if err != nil {
		return err
	}
	if err := makeDirs(&settings, p.QueueDirs, nil); err != nil {
		return err
	}
	lock, err := AcquireLock(settings.QueueDirectory)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	f := &folded{p: p, opt: opt, rt: &Runtime{Metrics: opt.Metrics, Folded: true}}
	if f.rt.Metrics == nil {
		f.rt.Metrics = event.NewMetrics()
	}
	if f.rt.Log, err = openLog(&settings, f.rt.Metrics, nil); err != nil {
		return err
	}
	defer f.rt.Log.Close()
	if opt.Watch != nil {
		opt.Watch(f.rt.Log)
	}
	return f.run(ctx, cfg, settings)
}

// folded is a running folded server.
type folded struct {
	p   *Program
	opt Options
	rt  *Runtime

	mu        sync.Mutex // one reload at a time
	gen       *Generation
	sockets   sockets
	spawner   spawner
	listeners listenerSet
	server    Server
}

// run starts the server and waits for its end.
func (f *folded) run(ctx context.Context, cfg *postconf.Config, s Settings) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.rt.Master = event.NewLogger(f.rt.Log, s.SyslogName+"/master", os.Getpid())
	f.rt.DropPrivileges = func() error { return nil }
	f.rt.Open = os.Open
	f.rt.Reload = func(ctx context.Context) error { return f.reload(ctx) }
	f.rt.Stop = cancel
	f.p.warnUnserved(cfg, f.rt.Master)
	all, err := endpoints(cfg, f.p.Serves)
	if err != nil {
		return f.fatal(err)
	}
	if f.sockets, _, err = bind(nil, all); err != nil {
		return f.fatal(err)
	}
	defer func() { f.sockets.close() }()
	var list []Listener
	if f.listeners, list, err = listenerSet(nil).next(all, f.sockets, f.rt.Master.Warnf); err != nil {
		return f.fatal(err)
	}
	defer func() { f.listeners.closeExcept(nil) }()
	f.spawner.start = startHere
	plan, err := f.spawner.prepare(cfg, &s, nil, f.rt.Master)
	if err != nil {
		return f.fatal(err)
	}
	f.spawner.adopt(plan)
	defer f.spawner.close()
	f.gen = &Generation{Number: 1, Config: cfg, Settings: s, Listeners: list}
	if f.server, err = f.p.Start(ctx, f.gen, f.rt); err != nil {
		return f.fatal(err)
	}
	f.rt.Master.Infof("daemon started -- version %s, configuration %s", s.MailVersion, cfg.Dir)
	if f.opt.Ready != nil {
		f.opt.Ready()
	}
	return f.wait(ctx)
}

// wait serves reloads until the end.
func (f *folded) wait(ctx context.Context) error {
	var failed error
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-f.server.Failed():
			if failed = f.again(ctx); failed != nil {
				running = false
			}
		case <-f.opt.Reload:
			// The error is in the log already.
			_ = f.reload(ctx)
		}
	}
	if failed == nil {
		f.rt.Master.Infof("terminating on signal 15")
	}
	end, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := f.server.Shutdown(end); failed == nil {
		failed = err
	}
	return failed
}

// restartPause is the time between the failure of a server and the next one.
const restartPause = time.Second

// again replaces a server that cannot go on, as master replaces a worker that
// ended: the next one believes only what is on disk. An error ends the process.
func (f *folded) again(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rt.Master.Errorf("%v -- starting again", f.server.Err())
	end, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := f.server.Shutdown(end); err != nil {
		f.rt.Master.Warnf("end of the server that failed: %v", err)
	}
	f.listeners.closeExcept(nil)
	select {
	case <-ctx.Done():
		return nil // wait ends next
	case <-time.After(restartPause):
	}
	all, err := endpoints(f.gen.Config, f.p.Serves)
	if err != nil {
		return f.fatal(err)
	}
	listeners, list, err := listenerSet(nil).next(all, f.sockets, f.rt.Master.Warnf)
	if err != nil {
		return f.fatal(err)
	}
	g := &Generation{Number: f.gen.Number + 1, Config: f.gen.Config, Settings: f.gen.Settings, Listeners: list}
	server, err := f.p.Start(ctx, g, f.rt)
	if err != nil {
		listeners.closeExcept(nil)
		return f.fatal(err)
	}
	f.gen, f.listeners, f.server = g, listeners, server
	return nil
}

// reload goes over to a new generation.
func (f *folded) reload(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.next(ctx)
	if err != nil {
		f.rt.Master.Errorf("reload failed, the old configuration stays in force: %v", err)
		return err
	}
	f.rt.Master.Infof("reload -- version %s, configuration %s", f.gen.Settings.MailVersion, f.gen.Config.Dir)
	return nil
}

// next builds the next generation and hands it to the server.
func (f *folded) next(ctx context.Context) error {
	cfg, s, err := load(f.opt.Dir, f.rt.Master.Warnf)
	if err != nil {
		return err
	}
	if s.QueueDirectory != f.gen.Settings.QueueDirectory {
		return fmt.Errorf("queue_directory changed from %s to %s; stop and start instead", f.gen.Settings.QueueDirectory, s.QueueDirectory)
	}
	all, err := endpoints(cfg, f.p.Serves)
	if err != nil {
		return err
	}
	set, fresh, err := bind(f.sockets, all)
	if err != nil {
		return err
	}
	listeners, list, err := f.listeners.next(all, fresh, f.rt.Master.Warnf)
	if err != nil {
		fresh.close()
		return err
	}
	plan, err := f.spawner.prepare(cfg, &s, nil, f.rt.Master)
	if err != nil {
		listeners.closeExcept(f.listeners)
		fresh.close()
		return err
	}
	g := &Generation{Number: f.gen.Number + 1, Config: cfg, Settings: s, Listeners: list}
	if err := f.server.Reload(ctx, g); err != nil {
		plan.drop()
		listeners.closeExcept(f.listeners)
		fresh.close()
		return err
	}
	f.spawner.adopt(plan)
	f.listeners.closeExcept(listeners)
	f.sockets.closeExcept(set)
	f.gen, f.sockets, f.listeners = g, set, listeners
	f.p.warnUnserved(cfg, f.rt.Master)
	changeLog(f.rt.Log, &s, nil, f.rt.Master.Warnf)
	return nil
}

// fatal logs why the server cannot run and returns it.
func (f *folded) fatal(err error) error {
	f.rt.Master.Fatalf("%v", err)
	return err
}

// warnUnserved reports inet services that nobody serves.
func (p *Program) warnUnserved(cfg *postconf.Config, log *event.Logger) {
	for _, svc := range cfg.Active() {
		if svc.Type == "inet" && !p.Serves(svc) && svc.Program() != spawnProgram {
			log.Warnf("%v: service %s: command %s is not available; the service is not started",
				svc.Origin, svc.ID(), svc.Command)
		}
	}
}

// stderrWarn prints warnings from before the log is open.
func stderrWarn(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "postfix: warning: "+format+"\n", args...)
}
