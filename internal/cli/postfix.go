package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"postroad/internal/control"
	"postroad/internal/event"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/sys"
)

const postfixUsage = "Usage: postfix start (or stop, reload, abort, flush, check, status, set-permissions, upgrade-configuration, logrotate, tls, non-bdb)"

// postfixCommand is one command of postfix(1).
type postfixCommand struct {
	name string
	run  func(*Env, *postfixRun) int
}

// postfixCommands are the rows of postfix(1).
func postfixCommands() []postfixCommand {
	return []postfixCommand{
		{"start", (*Env).postfixStart},
		{"start-fg", (*Env).postfixForeground},
		{"stop", (*Env).postfixStop},
		{"abort", (*Env).postfixAbort},
		{"reload", (*Env).postfixReload},
		{"flush", func(e *Env, c *postfixRun) int { return e.other(c.config, "postqueue", "-f") }},
		{"check", (*Env).postfixCheck},
		{"status", (*Env).postfixStatus},
		{"logrotate", (*Env).postfixLogrotate},
		{"set-permissions", (*Env).postfixPermissions},
		{"upgrade-configuration", (*Env).postfixUpgrade},
		{"post-install", (*Env).postfixUpgrade},
		{"tls", (*Env).postfixTLS},
		{"non-bdb", (*Env).postfixNonBDB},
		{"drain", (*Env).postfixStop},
		{"quick-stop", (*Env).postfixStop},
		{"quick-start", (*Env).postfixStart},
	}
}

// postfixRun is the configuration as postfix(1) needs it.
type postfixRun struct {
	*config
	master master.Settings
	args   []string
}

// runPostfix is postfix(1): it starts, stops and controls the mail system.
func runPostfix(e *Env) int {
	var dir string
	g := NewGetopt(e.Args, "c:Dv")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return e.Fatalf(1, "usage: postfix [-c config_dir] [-Dv] command")
		}
		if opt == 0 {
			break
		}
		if opt == 'c' {
			dir = g.Arg
			if !filepath.IsAbs(dir) {
				return e.Fatalf(1, "-c requires absolute pathname")
			}
		}
	}
	c, err := e.load(dir)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if e.EUID != 0 && !e.mayOwn(c) {
		e.Errorf("to submit mail, use the Postfix sendmail command")
		return e.Fatalf(1, "the postfix command is reserved for the superuser")
	}
	if wrapper := c.settings.MultiWrapper; wrapper != "" && dir == "" && e.Getenv("MAIL_CONFIG") == "" {
		return e.wrapped(wrapper, g.Args())
	}
	ctl := &postfixRun{config: c}
	for _, p := range c.View(nil).Decode(&ctl.master) {
		if p.Fatal {
			return e.Fatalf(1, "%v", p.Error())
		}
	}
	// The script of Postfix logs under its own name and prints that of postlog.
	e.Prog, e.tag = c.settings.SyslogName+"/postlog", c.settings.SyslogName+"/postfix-script"
	name := ""
	if rest := g.Args(); len(rest) > 0 {
		name, ctl.args = rest[0], rest[1:]
	}
	for _, row := range postfixCommands() {
		if row.name == name {
			return row.run(e, ctl)
		}
	}
	return e.Fatalf(1, "unknown command: '%s'. %s", name, postfixUsage)
}

// mayOwn tells whether an ordinary user may run a mail system of their own
// here: the queue directory is theirs, or they can make it.
func (e *Env) mayOwn(c *config) bool {
	queue := c.settings.QueueDirectory
	if exists(queue) {
		return ownsDir(queue, e.EUID)
	}
	for dir := filepath.Dir(queue); ; dir = filepath.Dir(dir) {
		if exists(dir) {
			return ownsDir(dir, e.EUID)
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

// running returns the process id of the running master, 0 when there is none.
func (e *Env) running(c *postfixRun) (int, error) {
	pid, running, err := master.RunningPID(c.master.QueueDirectory)
	if err != nil || !running {
		return 0, err
	}
	return pid, nil
}

// prepare is what start and start-fg do first.
func (e *Env) prepare(c *postfixRun) int {
	pid, err := e.running(c)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if pid != 0 {
		return e.Fatalf(1, "the Postfix mail system is already running")
	}
	if e.Host.Program == nil {
		return e.Fatalf(1, "this binary has no mail system")
	}
	if code := e.checkFatal(c); code != 0 {
		return e.Fatalf(1, "Postfix integrity check failed!")
	}
	e.checkWarn(c)
	e.Infof("starting the Postfix mail system")
	return 0
}

// postfixStart runs the mail system in the background and waits until it serves.
func (e *Env) postfixStart(c *postfixRun) int {
	if c.settings.MaillogFile == "/dev/stdout" {
		return e.Fatalf(1, "maillog_file = /dev/stdout requires \"postfix start-fg\"")
	}
	if code := e.prepare(c); code != 0 {
		return code
	}
	e.flushLog()
	if err := master.Detach([]string{"master", "-c", c.dir}); err != nil {
		// The mail log has the reason already; the terminal has not.
		fmt.Fprintf(e.Stderr, "%s: fatal: %v\n", e.Prog, err)
		return e.Fatalf(1, "mail system startup failed")
	}
	return 0
}

// postfixForeground runs the mail system in this process.
func (e *Env) postfixForeground(c *postfixRun) int {
	if len(c.settings.MultiDirs) > 0 {
		return e.Fatalf(1, "start-fg does not support multi_instance_directories")
	}
	if code := e.prepare(c); code != 0 {
		return code
	}
	e.flushLog()
	if err := e.Host.Program.Main(c.dir, false); err != nil {
		fmt.Fprintf(e.Stderr, "%s: fatal: %v\n", e.Prog, err)
		return 1
	}
	return 0
}

// runMaster is the detached process behind "postfix start".
func runMaster(e *Env) int {
	var dir string
	g := NewGetopt(e.Args, "c:")
	for {
		opt, err := g.Next()
		if err != nil || opt == 0 {
			break
		}
		dir = g.Arg
	}
	if e.Host.Program == nil || dir == "" {
		return e.Fatalf(1, "use \"postfix start\"")
	}
	if e.Host.Program.Main(dir, true) != nil {
		return 1
	}
	return 0
}

// runWorker is the worker process of a master that runs as root.
func runWorker(e *Env) int {
	if e.Host.Program == nil {
		return e.Fatalf(1, "use \"postfix start\"")
	}
	return e.Host.Program.Worker()
}

// flushLog writes what was logged before another process logs.
func (e *Env) flushLog() {
	if e.log != nil {
		_ = e.log.Flush()
	}
}

// stopPolls is how often a second is waited for the end after "stop".
const stopPolls = 5

// postfixStop ends the mail system, by force when it does not end by itself.
func (e *Env) postfixStop(c *postfixRun) int {
	pid, code := e.mustRun(c)
	if code != 0 {
		return code
	}
	e.Infof("stopping the Postfix mail system")
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return e.Fatalf(1, "cannot signal process %d: %s", pid, sys.Reason(err))
	}
	for range stopPolls {
		if e.ended(c) {
			return 0
		}
		e.Infof("waiting for the Postfix mail system to terminate")
	}
	if e.ended(c) {
		return 0
	}
	e.Warnf("stopping the Postfix mail system with force")
	if syscall.Kill(-pid, syscall.SIGKILL) != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return 0
}

// ended waits up to a second for the end.
func (e *Env) ended(c *postfixRun) bool {
	for range 50 {
		if pid, err := e.running(c); err == nil && pid == 0 {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// mustRun returns the process id, or an exit code when nothing runs.
func (e *Env) mustRun(c *postfixRun) (int, int) {
	pid, err := e.running(c)
	if err != nil {
		return 0, e.Fatalf(1, "%v", err)
	}
	if pid == 0 {
		return 0, e.Fatalf(1, "the Postfix mail system is not running")
	}
	return pid, 0
}

// postfixAbort ends the mail system without waiting.
func (e *Env) postfixAbort(c *postfixRun) int {
	pid, code := e.mustRun(c)
	if code != 0 {
		return code
	}
	e.Infof("aborting the Postfix mail system")
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return e.Fatalf(1, "cannot signal process %d: %s", pid, sys.Reason(err))
	}
	return 0
}

// postfixReload makes the mail system read its configuration again. Unlike
// Postfix it waits and says why when the new configuration does not work.
func (e *Env) postfixReload(c *postfixRun) int {
	e.lint(c)
	pid, code := e.mustRun(c)
	if code != 0 {
		return code
	}
	e.Infof("refreshing the Postfix mail system")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	err := control.NewClient(c.settings.QueueDirectory).Reload(ctx)
	if errors.Is(err, control.ErrUnavailable) {
		// The worker is being replaced; master reloads when it is told.
		err = syscall.Kill(pid, syscall.SIGHUP)
	}
	if err != nil {
		return e.Fatalf(1, "reload failed, the old configuration stays in force: %v", err)
	}
	return 0
}

// postfixStatus tells whether the mail system runs.
func (e *Env) postfixStatus(c *postfixRun) int {
	e.lint(c)
	line, running, err := master.Running(c.master.QueueDirectory)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if !running {
		e.Infof("the Postfix mail system is not running")
		return 1
	}
	e.Infof("the Postfix mail system is running: PID: %s", strings.TrimSpace(line))
	return 0
}

// lint prints what is questionable in the configuration.
func (e *Env) lint(c *postfixRun) {
	_, problems := postconf.Load(c.dir, postconf.LoadOptions{})
	for i := range problems {
		e.Warnf("%v", problems[i].Error())
	}
}

// postfixLogrotate renames the log file, makes everybody open a new one, and
// compresses the old one.
func (e *Env) postfixLogrotate(c *postfixRun) int {
	s := &c.settings
	for _, p := range []struct{ name, value string }{
		{"maillog_file", s.MaillogFile}, {"maillog_file_compressor", s.MaillogCompressor}, {"maillog_file_rotate_suffix", s.MaillogRotateSuffix},
	} {
		if p.value == "" {
			return e.Fatalf(1, "empty '%s' parameter value - logfile rotation failed", p.name)
		}
	}
	if strings.HasPrefix(s.MaillogFile, "/dev/") {
		return e.Fatalf(1, "not rotating '%s'", s.MaillogFile)
	}
	old := s.MaillogFile + "." + strftime(s.MaillogRotateSuffix, e.now().Local())
	if err := e.rotate(c, old); err != nil {
		return e.Fatalf(1, "logfile '%s' rotation failed: %v", s.MaillogFile, err)
	}
	return 0
}

// rotate does the work of logrotate.
func (e *Env) rotate(c *postfixRun, old string) error {
	if err := event.CheckLogFile(c.settings.MaillogFile, c.settings.MaillogFilePrefixes); err != nil {
		return err
	}
	if exists(old) {
		return fmt.Errorf("%s exists", old)
	}
	if err := os.Rename(c.settings.MaillogFile, old); err != nil {
		return err
	}
	if e.log != nil {
		_ = e.log.Reopen()
	}
	pid, err := e.running(c)
	if err == nil && pid != 0 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := control.NewClient(c.settings.QueueDirectory).Reload(ctx); err != nil {
			return err
		}
	}
	out, err := exec.Command(c.settings.MaillogCompressor, old).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w %s", c.settings.MaillogCompressor, err, out)
	}
	return nil
}

// strftime knows the conversions that name a time in a file name.
func strftime(format string, t time.Time) string {
	layouts := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'M': "04", 'S': "05",
		'j': "002", 'b': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'F': "2006-01-02", 'T': "15:04:05", 'z': "-0700", 'Z': "MST",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch layout, ok := layouts[format[i]]; {
		case ok:
			b.WriteString(t.Format(layout))
		case format[i] == 's':
			fmt.Fprint(&b, t.Unix())
		case format[i] == '%':
			b.WriteByte('%')
		default:
			b.WriteString(format[i-1 : i+1])
		}
	}
	return b.String()
}
