package box

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// HostName is the name of the machine that a subject believes to be on.
const HostName = "mx.example.test"

// runInit is the part of the first process of the box: it lays the private
// file systems, starts the runner in a second network, and collects the dead
// until the runner has ended. Its own end takes every other process along.
func runInit() (int, error) {
	work := os.Getenv(workVar)
	if err := layFiles(work); err != nil {
		return 0, err
	}
	if err := syscall.Sethostname([]byte(HostName)); err != nil {
		return 0, err
	}
	for name, value := range map[string]string{roleVar: "run", "TZ": "UTC", "LC_ALL": "C"} {
		if err := os.Setenv(name, value); err != nil {
			return 0, err
		}
	}
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2, 3},
		Sys:   &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET},
	})
	if err != nil {
		return 0, err
	}
	// Only the runner may hold the result's pipe, or its end is never seen.
	if err := syscall.Close(3); err != nil {
		return 0, err
	}
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case got == pid:
			return ws.ExitStatus(), nil
		}
	}
}

// layFiles mounts everything that is private to the box.
func layFiles(work string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	dir := filepath.Join(work, "box")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	mem := filepath.Join(work, "mem")
	if err := os.MkdirAll(mem, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", mem, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if !onDisk() {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs: %w", err)
		}
	}
	if err := overlay(mem, "/etc"); err != nil {
		return err
	}
	// A directory of the box in the place of each that a subject writes to.
	for _, p := range []string{"/var/spool/postfix", "/var/lib/postfix", "/var/log", "/var/mail", "/home", "/srv"} {
		own := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(p, "/"), "/", "-"))
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if err := os.MkdirAll(p, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(own, p, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", p, err)
		}
	}
	if err := spool(); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(dir, "work"), 0o755)
}

// spool makes /var/mail as Debian does: users create their mailbox files with the
// rights of a group.
func spool() error {
	g, err := user.LookupGroup("mail")
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	if err := os.Chown("/var/mail", 0, gid); err != nil {
		return err
	}
	return os.Chmod("/var/mail", 0o775|os.ModeSetgid)
}

// diskVar tells the box to keep its files on disk.
const diskVar = "POSTROAD_BOX_DISK"

// onDisk tells whether the box keeps its files on disk.
func onDisk() bool { return os.Getenv(diskVar) != "" }

// overlay makes the directory at path private: changes go to memory.
func overlay(mem, path string) error {
	name := strings.Trim(strings.ReplaceAll(path, "/", "-"), "-")
	upper, wrk := filepath.Join(mem, name+"-upper"), filepath.Join(mem, name+"-work")
	for _, d := range []string{upper, wrk} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	opt := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, wrk)
	if err := syscall.Mount("overlay", path, "overlay", 0, opt); err != nil {
		return fmt.Errorf("overlay %s: %w", path, err)
	}
	return nil
}

// command runs a helper program and puts its output into the error.
func command(name string, arg ...string) error {
	out, err := exec.Command(name, arg...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arg, " "), err, out)
	}
	return nil
}
