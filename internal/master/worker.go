package master

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"postroad/internal/event"
	"postroad/internal/postconf"
)

// Descriptors that a worker inherits: its end of the channel and the lock of
// the queue, which it only keeps open (invariant 2).
const (
	channelFD = 3
	lockFD    = 4
)

// Worker runs the worker process; it returns its exit code. It is started by
// master only.
func (p *Program) Worker() int {
	unix.CloseOnExec(lockFD)
	ch, err := newChannel(os.NewFile(channelFD, "channel"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "postroad: fatal: the worker is started by \"postfix start\" only")
		return 1
	}
	// A terminal sends SIGINT to the whole group; master decides what it means.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	w := &worker{p: p, ch: ch, cancel: cancel, received: sockets{}, started: make(chan string, 1)}
	// goroutine: reads the channel; ends with it, and then the worker ends.
	go func() {
		_ = ch.serve(func(m *packet) { w.handle(ctx, m) })
		cancel()
	}()
	if err := w.run(ctx); err != nil {
		_ = ch.send(&packet{Kind: kindFailed, Error: err.Error()})
		return 1
	}
	return 0
}

// worker is the state of the worker process.
type worker struct {
	p      *Program
	ch     *channel
	cancel context.CancelFunc
	// received are sockets that came ahead of start or reload; only the reader
	// of the channel uses it.
	received sockets
	started  chan string

	mu        sync.Mutex
	initial   sockets
	dir       string
	rt        *Runtime
	gen       *Generation
	listeners listenerSet
	server    Server
}

// handle takes one message of master.
func (w *worker) handle(ctx context.Context, m *packet) {
	switch m.Kind {
	case kindSockets:
		for i, f := range m.files {
			if i < len(m.Keys) {
				w.received[m.Keys[i]] = f
			} else {
				f.Close()
			}
		}
	case kindStart:
		w.mu.Lock()
		w.initial, w.received = w.received, sockets{}
		w.mu.Unlock()
		select {
		case w.started <- m.Dir:
		default:
		}
	case kindReload:
		fresh := w.received
		w.received = sockets{}
		// goroutine: one reload; it asks master for files, so that the reader
		// must not wait for it. It ends with the server's Reload.
		go func() {
			err := w.reload(ctx, fresh)
			_ = w.ch.answer(m, err)
		}()
	default:
		closeFiles(m.files)
	}
}

// run starts the server and waits for the end.
func (w *worker) run(ctx context.Context) error {
	select {
	case w.dir = <-w.started:
	case <-ctx.Done():
		return nil
	}
	cfg, s, err := load(w.dir, stderrWarn)
	if err != nil {
		return err
	}
	if err := w.prepare(cfg, &s); err != nil {
		return err
	}
	defer w.rt.Log.Close()
	if err := w.start(ctx, cfg, s); err != nil {
		w.rt.Master.Fatalf("%v", err)
		return err
	}
	if err := w.ch.send(&packet{Kind: kindReady}); err != nil {
		return err
	}
	var failed error
	select {
	case <-ctx.Done():
	case <-w.server.Failed():
		failed = w.server.Err()
		w.rt.Master.Fatalf("%v", failed)
	}
	end, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return errors.Join(failed, w.server.Shutdown(end))
}

// prepare opens the log and fills the runtime.
func (w *worker) prepare(cfg *postconf.Config, s *Settings) error {
	w.rt = &Runtime{Metrics: event.NewMetrics(), Stop: w.askStop, Reload: w.askReload, Open: w.open}
	if os.Geteuid() == 0 {
		w.rt.User = w.user
	}
	w.rt.DropPrivileges = func() error { return dropPrivileges(s) }
	var err error
	w.rt.Log, err = openLog(s, w.rt.Metrics, func() (*os.File, error) { return w.openLog(s) })
	if err != nil {
		return err
	}
	w.rt.Master = event.NewLogger(w.rt.Log, s.SyslogName+"/master", os.Getpid())
	return nil
}

// start makes listeners of the inherited sockets and starts the server.
func (w *worker) start(ctx context.Context, cfg *postconf.Config, s Settings) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, err := endpoints(cfg, w.p.Serves)
	if err != nil {
		return err
	}
	var list []Listener
	if w.listeners, list, err = listenerSet(nil).next(all, w.initial, w.rt.Master.Warnf); err != nil {
		return err
	}
	w.initial.close()
	w.gen = &Generation{Number: 1, Config: cfg, Settings: s, Listeners: list}
	if w.server, err = w.p.Start(ctx, w.gen, w.rt); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		return errors.New("the worker still has privileges")
	}
	return nil
}

// reload goes over to a new generation.
func (w *worker) reload(ctx context.Context, fresh sockets) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer fresh.close()
	if w.server == nil {
		return errors.New("the server is still starting")
	}
	cfg, s, err := load(w.dir, w.rt.Master.Warnf)
	if err != nil {
		return err
	}
	all, err := endpoints(cfg, w.p.Serves)
	if err != nil {
		return err
	}
	listeners, list, err := w.listeners.next(all, fresh, w.rt.Master.Warnf)
	if err != nil {
		return err
	}
	g := &Generation{Number: w.gen.Number + 1, Config: cfg, Settings: s, Listeners: list}
	if err := w.server.Reload(ctx, g); err != nil {
		listeners.closeExcept(w.listeners)
		return err
	}
	w.listeners.closeExcept(listeners)
	w.gen, w.listeners = g, listeners
	changeLog(w.rt.Log, &s, func() (*os.File, error) { return w.openLog(&s) }, w.rt.Master.Warnf)
	return nil
}

// open opens a file, by way of master when this process may not.
func (w *worker) open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if !errors.Is(err, os.ErrPermission) {
		return f, err
	}
	return w.askFile(&packet{Kind: kindOpen, Path: path}, err)
}

// openLog opens the log file likewise.
func (w *worker) openLog(s *Settings) (*os.File, error) {
	f, err := event.OpenLogFile(s.MaillogFile, s.LogMode())
	if !errors.Is(err, os.ErrPermission) {
		return f, err
	}
	return w.askFile(&packet{Kind: kindLog}, err)
}

// askFile asks master for a file. refused is our own failure, returned when
// master does not answer.
func (w *worker) askFile(m *packet, refused error) (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	a, err := w.ch.ask(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("%w (%v)", refused, err)
	}
	if len(a.files) != 1 {
		closeFiles(a.files)
		return nil, refused
	}
	return a.files[0], nil
}

// askReload asks master to reload everything.
func (w *worker) askReload(ctx context.Context) error {
	_, err := w.ch.ask(ctx, &packet{Kind: kindAskReload})
	return err
}

// askStop asks master to end everything.
func (w *worker) askStop() {
	if w.ch.send(&packet{Kind: kindStop}) != nil {
		w.cancel()
	}
}

// dropPrivileges becomes mail_owner, for all threads and for good.
func dropPrivileges(s *Settings) error {
	if os.Geteuid() != 0 {
		return nil
	}
	o, err := LookupOwner(s)
	if err != nil {
		return err
	}
	if err := syscall.Setgroups([]int{o.GID}); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setresgid(o.GID, o.GID, o.GID); err != nil {
		return fmt.Errorf("setgid %d: %w", o.GID, err)
	}
	if err := syscall.Setresuid(o.UID, o.UID, o.UID); err != nil {
		return fmt.Errorf("setuid %d: %w", o.UID, err)
	}
	return nil
}
