//go:build oracle

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSetgidNames runs the set-gid programs under the names of other commands, as
// any user can: with the group of the maildrop they must do nothing else than what
// they are made for.
func TestSetgidNames(t *testing.T) {
	t.Parallel()
	s := other(t)
	if s.Name != "postroad" {
		return // Postfix's programs are one for each name
	}
	target := filepath.Join(t.TempDir(), "target")
	for _, program := range []string{"postdrop", "postqueue"} {
		for _, args := range [][]string{
			{"postmap", target}, {"postconf", "-n"}, {"sendmail", "-bs"}, {"postsuper", "-d", "ALL"}, {"postlock", target, "id"},
			{"postroad", "postmap", target}, {"postroad", "worker"}, {"postroad", "master", "-c", "/etc/postfix"}, {"postroad", "run"},
			{"postroad"}, {"", ""}, {"postmulti", "-x", "id"}, {"postcat", "-q", "ABCDEF"},
		} {
			cmd := exec.Command(filepath.Join(s.Bin, program))
			cmd.Args = args
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "not to be run with the rights of a group") {
				t.Errorf("%s as %q: %v, %q", program, args, err, out)
			}
		}
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("a file was made")
	}
}
