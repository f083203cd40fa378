package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"postroad/internal/event"
	"postroad/internal/master"
)

// watchLines is how many lines the terminal may be behind.
const watchLines = 1024

// runRun is "postroad run": a complete server for example.test in one folder,
// for trying it out. It listens on this machine only.
func runRun(e *Env) int {
	flags := flag.NewFlagSet("postroad run", flag.ContinueOnError)
	flags.SetOutput(e.Stderr)
	dir := flags.String("dir", "run", "the folder with configuration, mailboxes and queue")
	quiet := flags.Bool("quiet", false, "do not show mail events")
	if err := flags.Parse(e.Args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if e.Host.Program == nil {
		return e.Fatalf(1, "this binary has no mail system")
	}
	path, err := filepath.Abs(*dir)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	fresh, err := makeTrial(path)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	ctx := e.Context
	if ctx == nil {
		var cancel context.CancelFunc
		ctx, cancel = signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer cancel()
	}
	view := &trialView{env: e, quiet: *quiet, dir: path, fresh: fresh, done: make(chan struct{})}
	close(view.done)
	opt := master.Options{Dir: path, Ready: view.welcome, Watch: view.watch}
	err = e.Host.Program.RunFolded(ctx, opt)
	<-view.done
	switch {
	case errors.Is(err, master.ErrRunning):
		return e.Fatalf(1, "a server runs in %s already", path)
	case err != nil:
		return e.Fatalf(1, "%v", err)
	}
	e.Printf("\nStopped. The mail stays in %s.\n", path)
	return 0
}

// trialView is what the terminal shows of a trial server.
type trialView struct {
	env   *Env
	quiet bool
	dir   string
	fresh bool
	// done is closed when the last event is shown.
	done chan struct{}
}

// watch shows events until the log is closed.
func (v *trialView) watch(log *event.Log) {
	if v.quiet {
		return
	}
	lines, _ := log.Subscribe(watchLines)
	v.done = make(chan struct{})
	// goroutine: prints events; ends when the log is closed.
	go func() {
		defer close(v.done)
		for line := range lines {
			v.env.Printf("%s\n", showLine(&line))
		}
	}()
}

// showLine is an event for people: the time, who speaks, and what happened.
func showLine(l *event.Line) string {
	who := l.Tag[strings.LastIndexByte(l.Tag, '/')+1:]
	return fmt.Sprintf("%s  %-10s %s", l.When.Local().Format("15:04:05"), who, l.Text)
}

// welcome says how to send the first message and where it arrives.
func (v *trialView) welcome() {
	state := "The folder is kept as it was; delete it to begin anew."
	if v.fresh {
		state = "The folder is new."
	}
	password, err := trialPassword(v.dir)
	if err != nil {
		password = "see " + filepath.Join(v.dir, "users")
	}
	command := "postroad sendmail"
	if exe, err := os.Executable(); err == nil {
		command = filepath.Join(filepath.Dir(exe), "sendmail")
		if !exists(command) {
			command = exe + " sendmail"
		}
	}
	v.env.Printf(`
Postroad %s serves example.test from %s. %s

  127.0.0.1:2525  mail from the world      127.0.0.1:2587  submission, STARTTLS
  127.0.0.1:8025  metrics (/metrics)       127.0.0.1:2465  submission, TLS from the start

Users: alice@example.test and bob@example.test, password %s

Send the first message:

  printf 'Subject: hello\n\nIt works.\n' | %s -C %s alice@example.test

or as a stranger, and as bob:

  swaks --server 127.0.0.1:2525 --from you@elsewhere.test --to alice@example.test
  swaks --server 127.0.0.1:2587 -tls -a -au bob@example.test -ap %s --from bob@example.test --to alice@example.test

It arrives in %s. The configuration is main.cf and master.cf in the folder;
after a change: %s -c %s reload. Ctrl-C stops.

`, Version, v.dir, state, password, command, v.dir, password, filepath.Join(v.dir, "mail", "alice", "new"),
		strings.TrimSuffix(command, "sendmail")+"postfix", v.dir)
}
