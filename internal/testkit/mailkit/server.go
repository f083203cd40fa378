package mailkit

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// The servers by name.
const (
	Postfix  = "postfix"
	Postroad = "postroad"
)

// Programs says where the programs are: Bin has what "make build" makes, Sbin the
// commands of the Postfix to compare with. An empty Sbin is the system's.
type Programs struct{ Bin, Sbin string }

// Server is a private mail server.
type Server struct {
	// Name is Postfix or Postroad; Dir has etc, spool, data and the log.
	Name, Dir string

	// Resolver is the address of the name server that the server asks, in a mount
	// namespace of its own; nothing is that of the system.
	Resolver string

	t        testing.TB
	programs Programs
}

// layout makes the directories as "postfix set-permissions" does.
const layout = `cd "$1" && mkdir etc data spool && cd spool &&
mkdir active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace &&
chown postfix ../data active bounce corrupt defer deferred flush hold incoming private saved trace maildrop public &&
chgrp postdrop maildrop public && chmod 1730 maildrop && chmod 710 public && chmod 700 private`

// shown is how much of the log a test that fails shows, in bytes.
const shown = 1 << 16

// New makes the directories of a server.
func New(t testing.TB, name string, programs Programs) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", layout, "sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return &Server{Name: name, Dir: dir, t: t, programs: programs}
}

// Command is the path of a command of the server.
func (s *Server) Command(name string) string {
	switch {
	case s.Name == Postroad:
		return filepath.Join(s.programs.Bin, name)
	case s.programs.Sbin != "":
		return filepath.Join(s.programs.Sbin, name)
	}
	return "/usr/sbin/" + name
}

// Start runs the server with this main.cf, which need not name its directories, and
// this master.cf, and waits until it listens.
func (s *Server) Start(main, master, network, address string) {
	s.t.Helper()
	etc := filepath.Join(s.Dir, "etc")
	main += fmt.Sprintf("\nqueue_directory = %[1]s/spool\ndata_directory = %[1]s/data\nmaillog_file = %[1]s/log\nmaillog_file_prefixes = /\n", s.Dir)
	argv := []string{s.Command("postroad"), "postfix", "-c", etc, "start-fg"}
	if s.Name == Postfix {
		out, err := exec.Command(s.Command("postconf"), "-dh", "daemon_directory").Output()
		if err != nil {
			s.t.Fatalf("postconf: %v", err)
		}
		daemons := strings.TrimSpace(string(out))
		// Without a busy queue manager every message would wait.
		main += "in_flow_delay = 0\ndaemon_directory = " + daemons + "\n"
		argv = []string{filepath.Join(daemons, "master"), "-c", etc, "-d"}
	}
	for name, text := range map[string]string{"main.cf": main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.Resolver != "" {
		resolv := filepath.Join(s.Dir, "resolv.conf")
		if err := os.WriteFile(resolv, []byte("nameserver "+s.Resolver+"\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
			s.t.Fatal(err)
		}
		argv = append([]string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolv}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait() // it ends by our signal
		if s.t.Failed() {
			s.t.Logf("the end of the log of %s\n%s", s.Name, s.Log(max(0, len(s.Log(0))-shown)))
		}
	})
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	if !testkit.Poll(ctx, 50*time.Millisecond, func() bool {
		conn, err := net.Dial(network, address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		s.t.Fatalf("%s does not start: %s", s.Name, s.Log(0))
	}
}

// Log is the mail log from a position on.
func (s *Server) Log(from int) string {
	text, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil || len(text) < from {
		return ""
	}
	return string(text[from:])
}
