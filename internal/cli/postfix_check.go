package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"postroad/internal/event"
	"postroad/internal/master"
)

// postfixCheck reports what is wrong with the installation; missing directories
// are made.
func (e *Env) postfixCheck(c *postfixRun) int {
	if code := e.checkFatal(c); code != 0 {
		return code
	}
	e.checkWarn(c)
	return 0
}

// checkFatal finds what keeps the mail system from starting.
func (e *Env) checkFatal(c *postfixRun) int {
	if !exists(c.dir, "master.cf") {
		return e.Fatalf(1, "no %s/master.cf file found", c.dir)
	}
	if err := event.CheckLogFile(c.settings.MaillogFile, c.settings.MaillogFilePrefixes); err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if e.Host.Program != nil {
		if err := e.Host.Program.MakeDirs(&c.master); err != nil {
			return e.Fatalf(1, "unable to create missing queue directories: %v", err)
		}
	}
	return 0
}

// checkWarn finds what is questionable: names in the configuration, owners and
// permissions. Owners are root's business only.
func (e *Env) checkWarn(c *postfixRun) {
	e.lint(c)
	if e.EUID != 0 {
		return
	}
	queue := c.settings.QueueDirectory
	for _, dir := range []string{queue, filepath.Join(queue, "pid")} {
		e.checkOwner(dir, 0, "root")
		e.checkWritable(dir)
	}
	_ = filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		e.checkOwner(path, 0, "root")
		e.checkWritable(path)
		return nil
	})
	owner, err := master.LookupOwner(&c.master)
	if err != nil {
		e.Warnf("%v", err)
		return
	}
	e.checkOwner(c.master.DataDirectory, owner.UID, c.master.MailOwner)
	e.checkWritable(c.master.DataDirectory)
	for _, name := range []string{"private", "public", "maildrop"} {
		e.checkOwner(filepath.Join(queue, name), owner.UID, c.master.MailOwner)
	}
	for _, name := range []string{"public", "maildrop"} {
		path := filepath.Join(queue, name)
		if st := stat(path); st != nil && int(st.Gid) != owner.SetgidGroup {
			e.Warnf("not owned by group %s: %s", c.master.SetgidGroup, path)
		}
	}
	corrupt, _ := filepath.Glob(filepath.Join(queue, "corrupt", "*"))
	for _, path := range corrupt {
		e.Warnf("damaged message: corrupt/%s", filepath.Base(path))
	}
}

// checkOwner warns when a file exists and belongs to somebody else.
func (e *Env) checkOwner(path string, uid int, name string) {
	if st := stat(path); st != nil && int(st.Uid) != uid {
		e.Warnf("not owned by %s: %s", name, path)
	}
}

// checkWritable warns when others may write to a file.
func (e *Env) checkWritable(path string) {
	if st := stat(path); st != nil && st.Mode&0o022 != 0 && st.Mode&syscall.S_IFMT != syscall.S_IFLNK {
		e.Warnf("group or other writable: %s", path)
	}
}

// stat returns the status of a file itself, nil when there is none.
func stat(path string) *syscall.Stat_t {
	st, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	sys, _ := st.Sys().(*syscall.Stat_t)
	return sys
}
