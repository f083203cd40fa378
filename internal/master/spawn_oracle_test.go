//go:build oracle

package master

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSpawnChroot: a command of a service with chroot sees the queue directory as
// the whole file system. The program is this test, which needs no libraries.
func TestSpawnChroot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "prog"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, chroot := range []bool{true, false} {
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s := &spawnService{argv: []string{"/prog", "-test.run=^$", "-test.v"}, dir: root, chroot: chroot}
		pid, err := forkCommand(s, out, true)
		_ = out.Close()
		if (err == nil) != chroot {
			t.Errorf("chroot %v: %v", chroot, err)
		}
		said, readErr := io.ReadAll(in)
		if chroot && (readErr != nil || !strings.Contains(string(said), "PASS")) {
			t.Errorf("the program says %q, %v", said, readErr)
		}
		if err == nil {
			if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
				t.Error(err)
			}
		}
		_ = in.Close()
	}
}
