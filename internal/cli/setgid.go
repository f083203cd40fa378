package cli

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"postroad/internal/sys"
)

// postdrop and postqueue are installed with the set-gid bit of $setgid_group, so
// that ordinary users can submit mail and look at the queue. Everything that their
// caller controls is hostile: the name under which they run, the environment, the
// limits, the signals, the configuration directory.

// elevated tells whether this process has rights that its caller has not. The
// superuser is trusted.
func (e *Env) elevated() bool {
	return e.UID != 0 && (e.EGID != e.GID || e.EUID != e.UID)
}

// trustedEnviron are the variables that a process with more rights than its caller
// takes from it. MAIL_CONFIG is checked before it is used.
var trustedEnviron = []string{"MAIL_CONFIG", "TZ", "LANG"}

// harden makes a process with more rights than its caller forget what the caller
// set up, before anything reads it.
func (e *Env) harden() {
	kept := e.trusted()
	os.Clearenv()
	for _, v := range kept {
		name, value, _ := strings.Cut(v, "=")
		_ = os.Setenv(name, value) // the names are ours
	}
	e.Environ = kept
	syscall.Umask(0o077)
	// A file size limit or a reader that goes away shall be an error of a write, so
	// that what was begun is removed.
	signal.Ignore(syscall.SIGXFSZ, syscall.SIGPIPE)
}

// trusted are the variables that stay.
func (e *Env) trusted() []string {
	var kept []string
	for _, name := range trustedEnviron {
		if value := e.Getenv(name); value != "" && (name != "TZ" || safeZone(value)) {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// safeZone tells whether TZ names a zone or a rule; a path would make this process
// read a file.
func safeZone(tz string) bool {
	return len(tz) < 100 && tz[0] != ':' && tz[0] != '/' && !strings.Contains(tz, "..")
}

// imported leaves of the environment what import_environment lets through.
func imported(environ, list []string) []string {
	var out []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		for _, item := range list {
			if item == name {
				out = append(out, v)
			}
		}
	}
	for _, item := range list {
		if strings.Contains(item, "=") {
			out = append(out, item)
		}
	}
	return out
}

// setgidPath is the set-gid program of that name beside this program or, where
// there is none, in command_directory: that of Postfix will do.
func setgidPath(c *config, name string) string {
	if exe, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(exe), name); setgid(beside) {
			return beside
		}
	}
	dir, _ := c.View(nil).Value("command_directory")
	return filepath.Join(dir, name)
}

// setgid tells whether a program runs with the rights of its group.
func setgid(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&os.ModeSetgid != 0
}

// viaSetgid runs the set-gid program of a command for a caller who has not the
// rights that it takes; ok is false when this process can do the work itself.
func (e *Env) viaSetgid(c *config, prog string, args []string) (code int, ok bool) {
	command, found := Find(prog)
	if !found || !command.Setgid || e.UID == 0 || ownsDir(c.settings.QueueDirectory, e.UID) || e.elevated() {
		return 0, false
	}
	path := setgidPath(c, prog)
	if !setgid(path) {
		return 0, false
	}
	e.flushLog()
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.Stdin, e.Stdout, e.Stderr
	cmd.Env = append(append([]string(nil), e.Environ...), "MAIL_CONFIG="+c.dir)
	err := cmd.Run()
	var exit *exec.ExitError
	var path2 *fs.PathError
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1), true
	case errors.As(err, &path2):
		err = path2.Err
	}
	return e.Fatalf(exTempfail, "execvp %s: %s", path, sys.Reason(err)), true
}
