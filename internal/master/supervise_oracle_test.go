//go:build oracle

package master

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// TestSupervisor runs a real master and its worker as root.
func TestSupervisor(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root")
	}
	one, two := testkit.FreePort(t), testkit.FreePort(t)
	s := newSite(t, one)
	secret := filepath.Join(s.dir, "secret")
	s.write("secret", "sesame\n")
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	s.main("fake_secret = " + secret + "\n")
	if err := Detach([]string{"master", "-c", s.dir}); err != nil {
		t.Fatal(err)
	}
	queue := filepath.Join(s.dir, "queue")
	pid, running, err := RunningPID(queue)
	if err != nil || !running {
		t.Fatalf("not running: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	first := mustGreet(t, one)
	if first["uid"] == "0" || first["secret"] != "sesame" {
		t.Errorf("the worker has uid %s, secret %s", first["uid"], first["secret"])
	}

	// A second start says why not.
	if err := Detach([]string{"master", "-c", s.dir}); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("second start: %v", err)
	}

	// Reload with one more port; then with one that fails.
	s.services(one, two)
	_ = syscall.Kill(pid, syscall.SIGHUP)
	eventually(t, "the new port serves", func() bool { _, err := greeting(two); return err == nil })
	s.main("fake_fails = on purpose\n")
	_ = syscall.Kill(pid, syscall.SIGHUP)
	eventually(t, "the failure is logged", func() bool { return strings.Contains(s.log(), "cannot reload: on purpose") })
	if got := mustGreet(t, one); got["gen"] != "2" || got["pid"] != first["pid"] {
		t.Errorf("after a failed reload: %v", got)
	}
	s.main("fake_secret = " + secret + "\n")

	// A worker that is killed is replaced within a second; clients wait in the
	// backlog meanwhile.
	worker, _ := strconv.Atoi(first["pid"])
	killed := time.Now()
	_ = syscall.Kill(worker, syscall.SIGKILL)
	eventually(t, "a new worker serves", func() bool {
		got, err := greeting(one)
		return err == nil && got["pid"] != first["pid"]
	})
	if d := time.Since(killed); d > time.Second {
		t.Errorf("the new worker took %v", d)
	}
	if !strings.Contains(s.log(), "pid "+first["pid"]+" killed by signal 9") {
		t.Errorf("the log does not say so:\n%s", s.log())
	}

	// When master is killed, the worker goes too, and the lock with it.
	_ = syscall.Kill(pid, syscall.SIGKILL)
	eventually(t, "everything is gone", func() bool {
		_, running, _ := Running(queue)
		_, err := greeting(one)
		return !running && err != nil
	})

	// A clean stop.
	if err := Detach([]string{"master", "-c", s.dir}); err != nil {
		t.Fatal(err)
	}
	if pid, _, err = RunningPID(queue); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	eventually(t, "the lock is free", func() bool { _, running, _ := Running(queue); return !running })
	if !strings.Contains(s.log(), "terminating on signal 15") {
		t.Error("the log does not say that it stops")
	}

	// A start that fails says why to the caller.
	s.main("fake_fails = at the start\n")
	if err := Detach([]string{"master", "-c", s.dir}); err == nil || !strings.Contains(err.Error(), "cannot start: at the start") {
		t.Errorf("failing start: %v", err)
	}
}
