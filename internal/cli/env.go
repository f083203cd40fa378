package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"postroad/internal/control"
	"postroad/internal/event"
	"postroad/internal/master"
	"postroad/internal/postconf"
)

// Env is the world of one run of a command.
type Env struct {
	// Prog is the name under which the command was run; it opens diagnostics.
	Prog string
	// Args are the arguments without the name.
	Args []string
	// Stdin, Stdout and Stderr are the standard streams.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Environ is the environment as "name=value".
	Environ []string
	// UID, EUID, GID and EGID are those of the caller.
	UID, EUID, GID, EGID int
	// Now is the clock.
	Now func() time.Time
	// Context, when set, ends a command that runs until it is stopped; else
	// signals do.
	Context context.Context
	// Host is what the binary around the commands can do.
	Host Host

	// log takes diagnostics as tag, once the configuration is read.
	log diagLog
	tag string
}

// Host is what commands need of the rooms that only the whole binary has.
type Host struct {
	// Program runs the mail system.
	Program *master.Program
	// OpenQueue opens the queue of a server that does not run; an error says
	// that the caller may not, or that somebody has it open.
	OpenQueue func(ctx context.Context, cfg *postconf.Config) (Queue, error)
	// Check builds all that the server is made of from a configuration, serves
	// nothing, and reports every problem.
	Check func(cfg *postconf.Config) []postconf.Problem
	// Explain tells what would become of a transaction; nothing is sent.
	Explain func(ctx context.Context, cfg *postconf.Config, q *Question) (*Explanation, error)
}

// Queue is an open queue.
type Queue interface {
	control.Queue
	io.Closer
}

// OSEnv returns the Env of this process for the command prog.
func OSEnv(prog string, args []string, host Host) *Env {
	return &Env{
		Prog: prog, Args: args,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ: os.Environ(), Now: time.Now, Host: host,
		UID: os.Getuid(), EUID: os.Geteuid(), GID: os.Getgid(), EGID: os.Getegid(),
	}
}

// as returns the Env for another command that finishes the work of this one.
func (e *Env) as(prog string, args ...string) *Env {
	other := *e
	other.Prog, other.Args = prog, args
	other.log, other.tag = nil, ""
	return &other
}

// Close writes what is left of the diagnostics to the log.
func (e *Env) Close() {
	if e.log != nil {
		e.log.Close()
		e.log = nil
	}
}

// Getenv returns the value of the last setting of name, or "".
func (e *Env) Getenv(name string) string {
	for i := len(e.Environ) - 1; i >= 0; i-- {
		if n, v, ok := strings.Cut(e.Environ[i], "="); ok && n == name {
			return v
		}
	}
	return ""
}

// now is the time; an Env without a clock has the real one.
func (e *Env) now() time.Time {
	if e.Now == nil {
		return time.Now()
	}
	return e.Now()
}

// Printf writes to the standard output.
func (e *Env) Printf(format string, args ...any) { fmt.Fprintf(e.Stdout, format, args...) }

// Infof writes "prog: text" to the standard error and the mail log.
func (e *Env) Infof(format string, args ...any) { e.diag("", format, args) }

// Warnf writes "prog: warning: text" to the standard error and the mail log.
func (e *Env) Warnf(format string, args ...any) { e.diag("warning", format, args) }

// Errorf writes "prog: error: text" to the standard error and the mail log.
func (e *Env) Errorf(format string, args ...any) { e.diag("error", format, args) }

// Fatalf writes "prog: fatal: text" to the standard error and the mail log and
// returns code, so that a command can end with "return e.Fatalf(1, ...)".
func (e *Env) Fatalf(code int, format string, args ...any) int {
	e.diag("fatal", format, args)
	return code
}

// diag writes one line of diagnostics.
func (e *Env) diag(severity, format string, args []any) {
	n := event.Notice{Severity: severity, Text: fmt.Sprintf(format, args...)}
	fmt.Fprintf(e.Stderr, "%s: %s\n", e.Prog, n.AppendText(nil))
	if e.log != nil {
		e.log.Write(e.now(), e.tag, os.Getpid(), n)
	}
}
