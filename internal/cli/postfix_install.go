package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"postroad/internal/master"
	"postroad/internal/sys"
)

// wrapped hands a command of postfix(1) to multi_instance_wrapper, which runs it
// for every instance.
func (e *Env) wrapped(wrapper string, args []string) int {
	words := append(strings.Fields(wrapper), args...)
	if filepath.Base(words[0]) == "postmulti" {
		return Run(e.as("postmulti", words[1:]...))
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = e.Stdin, e.Stdout, e.Stderr, e.Environ
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	}
	return e.Fatalf(1, "execvp %s: %s", words[0], sys.Reason(err))
}

// postfixPermissions makes the directories that are missing, and gives the set-gid
// programs beside this one their group and their mode.
func (e *Env) postfixPermissions(c *postfixRun) int {
	if e.Host.Program == nil {
		return e.Fatalf(1, "this binary has no mail system")
	}
	if err := e.Host.Program.MakeDirs(&c.master); err != nil {
		return e.Fatalf(1, "unable to create missing queue directories: %v", err)
	}
	if e.EUID != 0 {
		return 0
	}
	owner, err := master.LookupOwner(&c.master)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	for _, name := range []string{"postdrop", "postqueue"} {
		path := filepath.Join(filepath.Dir(exe), name)
		st, err := os.Lstat(path)
		if err != nil || !st.Mode().IsRegular() {
			continue // a link shares its file with commands that must not have the mode
		}
		// The mode last: a change of the group takes the bit away.
		if err := errors.Join(os.Chown(path, 0, owner.SetgidGroup), os.Chmod(path, 0o755|os.ModeSetgid)); err != nil {
			return e.Fatalf(1, "%v", err)
		}
	}
	return 0
}

// postfixUpgrade has nothing to do: there are no files that a release must change.
func (e *Env) postfixUpgrade(c *postfixRun) int {
	e.lint(c)
	e.Infof("nothing to upgrade: %s needs no change for this release", c.dir)
	return 0
}

// postfixTLS says what to do by hand.
func (e *Env) postfixTLS(*postfixRun) int {
	e.Errorf("\"postfix tls\" is not available. To enable TLS for the SMTP server put a private key and its certificate chain into one file " +
		"and run: postconf \"smtpd_tls_chain_files = /path/to/file\" \"smtpd_tls_security_level = may\"; for the client run: " +
		"postconf \"smtp_tls_security_level = may\"")
	return e.Fatalf(1, "no change was made")
}

// postfixNonBDB answers "non-bdb status": tables of Berkeley DB are read and written
// without that library, so that nothing has to be redirected.
func (e *Env) postfixNonBDB(c *postfixRun) int {
	if len(c.args) == 1 && c.args[0] == "status" {
		e.Printf("disable\n")
		return 0
	}
	if len(c.args) == 0 {
		return e.Fatalf(1, "usage: postfix non-bdb status (or enable-redirect, or enable-reindex, or disable)")
	}
	return e.Fatalf(1, "\"postfix non-bdb %s\" is not needed: hash and btree tables work without Berkeley DB", c.args[0])
}
