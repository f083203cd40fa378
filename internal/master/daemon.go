package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// notifyFD is the descriptor on which a detached master reports, ready its word.
const (
	notifyFD = 3
	ready    = "ready"
)

// Main runs the mail system in this process until SIGTERM or SIGINT. With
// detached set it was started by Detach and reports there.
func (p *Program) Main(dir string, detached bool) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	signal.Ignore(syscall.SIGPIPE)
	reload := make(chan struct{}, 1)
	// goroutine: turns SIGHUP into reloads; ends with ctx.
	go func() {
		for {
			select {
			case <-hup:
				poke(reload)
			case <-ctx.Done():
				return
			}
		}
	}()
	opt := Options{Dir: dir, Reload: reload}
	if !detached {
		return p.Run(ctx, opt)
	}
	unix.CloseOnExec(notifyFD)
	notify := os.NewFile(notifyFD, "notify")
	opt.Ready = func() {
		io.WriteString(notify, ready)
		notify.Close()
	}
	err := p.Run(ctx, opt)
	if err != nil {
		// Fails when we were ready before: then only the log is told.
		io.WriteString(notify, err.Error())
	}
	return err
}

// Detach starts this binary with args in a session of its own, as a process
// that calls Main with detached set, and waits until it serves or says why not.
func Detach(args []string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	n := null.Fd()
	_, err = syscall.ForkExec(exe, append([]string{"postroad"}, args...), &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(),
		Files: []uintptr{n, n, n, w.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	w.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", exe, err)
	}
	r.SetReadDeadline(time.Now().Add(startTimeout + time.Minute))
	said, err := io.ReadAll(io.LimitReader(r, 8<<10))
	switch {
	case string(said) == ready:
		return nil
	case len(said) > 0:
		return errors.New(strings.ReplaceAll(string(said), "\n", " "))
	case err != nil:
		return fmt.Errorf("the mail system does not become ready: %w", err)
	}
	return errors.New("the master process ended without a word")
}
