package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
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
	// UID, EUID and GID are those of the caller.
	UID, EUID, GID int
}

// OSEnv returns the Env of this process for the command prog.
func OSEnv(prog string, args []string) *Env {
	return &Env{
		Prog: prog, Args: args,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ: os.Environ(),
		UID:     os.Getuid(), EUID: os.Geteuid(), GID: os.Getgid(),
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

// Printf writes to the standard output.
func (e *Env) Printf(format string, args ...any) { fmt.Fprintf(e.Stdout, format, args...) }

// Infof writes "prog: text" to the standard error.
func (e *Env) Infof(format string, args ...any) { e.diag("", format, args) }

// Warnf writes "prog: warning: text" to the standard error.
func (e *Env) Warnf(format string, args ...any) { e.diag("warning: ", format, args) }

// Errorf writes "prog: error: text" to the standard error.
func (e *Env) Errorf(format string, args ...any) { e.diag("error: ", format, args) }

// Fatalf writes "prog: fatal: text" to the standard error and returns code, so
// that a command can end with "return e.Fatalf(1, ...)".
func (e *Env) Fatalf(code int, format string, args ...any) int {
	e.diag("fatal: ", format, args)
	return code
}

// diag writes one line of diagnostics.
func (e *Env) diag(severity, format string, args []any) {
	fmt.Fprintf(e.Stderr, "%s: %s%s\n", e.Prog, severity, fmt.Sprintf(format, args...))
}
