package master

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"postroad/internal/event"
	"postroad/internal/postconf"
)

// Bounds of the supervisor. startTimeout is how long a worker may take until
// it serves: opening a large queue after a crash takes time.
const (
	startTimeout  = 5 * time.Minute
	reloadTimeout = 2 * time.Minute
	backoffFirst  = 100 * time.Millisecond
	backoffLast   = 30 * time.Second
	backoffReset  = time.Minute
)

// Run runs the mail system until ctx is done: as root a master with a worker,
// as an ordinary user one folded process.
func (p *Program) Run(ctx context.Context, opt Options) error {
	if os.Geteuid() != 0 {
		return p.RunFolded(ctx, opt)
	}
	return p.supervise(ctx, opt)
}

// supervisor is the master process.
type supervisor struct {
	p     *Program
	opt   Options
	exe   string
	lock  *Lock
	file  *event.Log
	log   *event.Logger
	stop  context.CancelFunc
	reap  func(*process)
	fresh chan struct{} // tells the reaper of PID 1 about a new child

	reloading sync.Mutex // one reload at a time

	mu       sync.Mutex // guards what follows
	cfg      *postconf.Config
	settings Settings
	sockets  sockets
	spawner  spawner
	worker   *process
	children map[int]*process
}

// process is one worker.
type process struct {
	pid     int
	ch      *channel
	started time.Time
	// ready gets nil when the worker serves, or why it does not.
	ready chan error
	// exited gets the end of the process.
	exited chan syscall.WaitStatus
}

// supervise is Run as root.
func (p *Program) supervise(ctx context.Context, opt Options) error {
	m := &supervisor{p: p, opt: opt, fresh: make(chan struct{}, 1), children: map[int]*process{}}
	ctx, m.stop = context.WithCancel(ctx)
	defer m.stop()
	if err := m.open(); err != nil {
		return err
	}
	defer m.lock.Release()
	defer m.file.Close()
	defer func() { m.sockets.close() }()
	defer m.spawner.close()
	m.reap = m.reapOne
	if os.Getpid() == 1 {
		m.reap = func(*process) { poke(m.fresh) }
		// goroutine: reaps orphans for a container; ends with the process.
		go m.reapAll()
	}
	m.spawner.start = m.startSpawned
	if err := m.startSpawners(); err != nil {
		m.log.Fatalf("%v", err)
		return err
	}
	if err := m.first(ctx); err != nil {
		m.log.Fatalf("%v", err)
		return err
	}
	m.log.Infof("daemon started -- version %s, configuration %s", m.settings.MailVersion, m.cfg.Dir)
	if opt.Ready != nil {
		opt.Ready()
	}
	m.loop(ctx)
	return nil
}

// open reads the configuration, takes the lock, and opens log and sockets.
func (m *supervisor) open() error {
	var err error
	if m.exe, err = os.Executable(); err != nil {
		return err
	}
	if m.cfg, m.settings, err = load(m.opt.Dir, stderrWarn); err != nil {
		return err
	}
	owner, err := LookupOwner(&m.settings)
	if err != nil {
		return err
	}
	if err := makeDirs(&m.settings, m.p.QueueDirs, owner); err != nil {
		return err
	}
	if m.lock, err = AcquireLock(m.settings.QueueDirectory); err != nil {
		return err
	}
	if m.file, err = openLog(&m.settings, nil, nil); err != nil {
		m.lock.Release()
		return err
	}
	m.log = event.NewLogger(m.file, m.settings.SyslogName+"/master", os.Getpid())
	m.p.warnUnserved(m.cfg, m.log)
	all, err := endpoints(m.cfg, m.p.Serves)
	if err == nil {
		m.sockets, _, err = bind(nil, all)
	}
	if err != nil {
		m.log.Fatalf("%v", err)
		m.file.Close()
		m.lock.Release()
	}
	return err
}

// startSpawners begins to serve the spawn services.
func (m *supervisor) startSpawners() error {
	owner, err := LookupOwner(&m.settings)
	if err != nil {
		return err
	}
	plan, err := m.spawner.prepare(m.cfg, &m.settings, owner, m.log)
	if err != nil {
		return err
	}
	m.spawner.adopt(plan)
	return nil
}

// first starts the first worker and waits until it serves.
func (m *supervisor) first(ctx context.Context) error {
	w, err := m.spawn(ctx)
	if err != nil {
		return err
	}
	select {
	case err = <-w.ready:
	case status := <-w.exited:
		w.exited <- status
		err = w.why(status)
	case <-time.After(startTimeout):
		err = errors.New("the worker does not become ready")
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		m.end(w)
	}
	return err
}

// why is the reason of an early end: what the worker said, or how it ended.
func (w *process) why(status syscall.WaitStatus) error {
	select {
	case err := <-w.ready:
		if err != nil {
			return err
		}
	case <-time.After(100 * time.Millisecond):
	}
	return fmt.Errorf("worker pid %d %s", w.pid, describe(status))
}

// describe says how a process ended, in master(8)'s words.
func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("killed by signal %d", status.Signal())
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// loop watches the worker until ctx is done.
func (m *supervisor) loop(ctx context.Context) {
	delay := backoffFirst
	for {
		w := m.current()
		select {
		case <-ctx.Done():
			m.log.Infof("terminating on signal 15")
			m.end(w)
			return
		case <-m.opt.Reload:
			// goroutine: one reload; bounded by reloadTimeout. The loop must
			// see the end of the worker meanwhile.
			go func() { _ = m.reload() }()
			continue
		case status := <-w.exited:
			w.ch.close()
			if ctx.Err() != nil {
				return
			}
			m.log.Warnf("process %s pid %d %s", m.exe, w.pid, describe(status))
			if time.Since(w.started) > backoffReset {
				delay = backoffFirst
			}
		}
		for {
			select {
			case <-ctx.Done():
				m.log.Infof("terminating on signal 15")
				return
			case <-time.After(delay):
			}
			delay = min(delay*2, backoffLast)
			if _, err := m.spawn(ctx); err == nil {
				break
			} else {
				m.log.Warnf("%s: bad command startup -- throttling: %v", m.exe, err)
			}
		}
	}
}

func (m *supervisor) current() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.worker
}

// end stops a worker: SIGTERM, and SIGKILL when it takes too long.
func (m *supervisor) end(w *process) {
	_ = syscall.Kill(w.pid, syscall.SIGTERM)
	select {
	case <-w.exited:
	case <-time.After(stopTimeout + time.Second):
		m.log.Warnf("process %s pid %d does not end; killing it", m.exe, w.pid)
		_ = syscall.Kill(w.pid, syscall.SIGKILL)
		<-w.exited
	}
	w.ch.close()
}

// spawn starts a worker and gives it the sockets.
func (m *supervisor) spawn(ctx context.Context) (*process, error) {
	ch, theirs, err := channelPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		ch.close()
		return nil, err
	}
	defer null.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	pid, err := syscall.ForkExec(m.exe, append([]string{"postroad"}, m.p.WorkerArgs...), &syscall.ProcAttr{
		Dir: "/",
		Env: workerEnv(os.Environ()),
		// The order is that of channelFD and lockFD.
		Files: []uintptr{null.Fd(), os.Stdout.Fd(), os.Stderr.Fd(), theirs.Fd(), m.lock.f.Fd()},
	})
	if err != nil {
		ch.close()
		return nil, fmt.Errorf("start %s: %w", m.exe, err)
	}
	w := &process{pid: pid, ch: ch, started: time.Now(), ready: make(chan error, 1), exited: make(chan syscall.WaitStatus, 1)}
	m.worker, m.children[pid] = w, w
	m.reap(w)
	// goroutine: reads what the worker asks; ends with the channel.
	go func() { _ = ch.serve(func(p *packet) { m.handle(ctx, w, p) }) }()
	if err := ch.sendSockets(m.sockets); err != nil {
		m.log.Warnf("worker pid %d: %v", pid, err)
	}
	if err := ch.send(&packet{Kind: kindStart, Dir: m.opt.Dir}); err != nil {
		m.log.Warnf("worker pid %d: %v", pid, err)
	}
	return w, nil
}

// workerEnv keeps the variables that a worker needs.
func workerEnv(environ []string) []string {
	env := []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "MAIL_CONFIG", "MAIL_DEBUG", "MAIL_LOGTAG", "TZ", "LANG",
			"GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG", "GOTRACEBACK":
			env = append(env, e)
		}
	}
	return env
}

// handle answers a message of the worker.
func (m *supervisor) handle(ctx context.Context, w *process, p *packet) {
	defer closeFiles(p.files)
	switch p.Kind {
	case kindReady:
		w.ready <- nil
	case kindFailed:
		select {
		case w.ready <- errors.New(p.Error):
		default:
		}
	case kindOpen:
		m.answerFile(w, p, func() (*os.File, error) { return m.openFor(p.Path) })
	case kindLog:
		m.answerFile(w, p, m.openLogFile)
	case kindUser:
		m.answerFile(w, p, func() (*os.File, error) { return m.startUser(p.UID, p.GID) })
	case kindAskReload:
		// goroutine: one reload, bounded by reloadTimeout; it asks the worker,
		// so that the reader must not wait for it.
		go func() { _ = w.ch.answer(p, m.reload()) }()
	case kindStop:
		m.stop()
	}
}

// answerFile sends the worker a file or why it cannot have it.
func (m *supervisor) answerFile(w *process, p *packet, open func() (*os.File, error)) {
	f, err := open()
	if err != nil {
		_ = w.ch.answer(p, err)
		return
	}
	_ = w.ch.answer(p, nil, f)
	f.Close()
}

func (m *supervisor) openLogFile() (*os.File, error) {
	m.mu.Lock()
	s := m.settings
	m.mu.Unlock()
	if s.MaillogFile == "" {
		return nil, errors.New("there is no log file")
	}
	return event.OpenLogFile(s.MaillogFile, s.LogMode())
}

// reapOne waits for one child.
func (m *supervisor) reapOne(w *process) {
	// goroutine: waits for the child; ends with it.
	go func() {
		for {
			var status syscall.WaitStatus
			_, err := syscall.Wait4(w.pid, &status, 0, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			w.exited <- status
			return
		}
	}()
}

// reapAll waits for every child, those of others too that the kernel gave to
// process 1.
func (m *supervisor) reapAll() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			<-m.fresh
		case err == nil:
			m.mu.Lock()
			w := m.children[pid]
			delete(m.children, pid)
			m.mu.Unlock()
			if w != nil {
				w.exited <- status
			}
		}
	}
}

// poke wakes the receiver of c unless a wake-up is already waiting.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
