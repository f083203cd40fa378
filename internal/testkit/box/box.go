package box

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"postroad/internal/testkit"
)

// Box is the private machine, seen from the job that runs in it.
type Box struct {
	// Dir is the directory of the box, on its private file system.
	Dir string
	// Subject is the mail server under test.
	Subject Subject

	server, world *os.File
	dns           *testkit.DNS
}

// Users are the accounts of every box besides the system's: name and number.
var Users = []struct {
	Name string
	UID  int
}{{"alice", 2001}, {"bob", 2002}, {"carol", 2003}, {"vmail", 5000}}

// open completes the box: cable, accounts, commands of the subject.
func (b *Box) open() error {
	if err := b.layCable(); err != nil {
		return err
	}
	for _, f := range []struct{ path, text string }{
		{"/etc/resolv.conf", "nameserver 127.0.0.1\n"},
		{"/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"},
		{"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\nnetgroup: files\n"},
		{"/etc/mailname", HostName + "\n"},
		{"/etc/hostname", HostName + "\n"},
	} {
		if err := os.WriteFile(f.path, []byte(f.text), 0o644); err != nil {
			return err
		}
	}
	if err := addUsers(); err != nil {
		return err
	}
	if err := command("chown", "postfix:postfix", "/var/lib/postfix"); err != nil {
		return err
	}
	// Postfix's programs write to the log themselves while nobody else does,
	// some of them as an ordinary user.
	if err := os.WriteFile("/var/log/mail.log", nil, 0o666); err != nil {
		return err
	}
	if err := os.Chmod("/var/log/mail.log", 0o666); err != nil {
		return err
	}
	return b.Subject.install(b)
}

// addUsers gives the box its accounts.
func addUsers() error {
	var passwd, group strings.Builder
	for _, u := range Users {
		fmt.Fprintf(&passwd, "%s:x:%d:%d:%s of the box:/home/%s:/bin/sh\n", u.Name, u.UID, u.UID, u.Name, u.Name)
		fmt.Fprintf(&group, "%s:x:%d:\n", u.Name, u.UID)
		home := "/home/" + u.Name
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		if err := os.Chown(home, u.UID, u.UID); err != nil {
			return err
		}
	}
	if err := appendFile("/etc/passwd", passwd.String()); err != nil {
		return err
	}
	return appendFile("/etc/group", group.String())
}

// appendFile adds text to the end of a file.
func appendFile(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		text = "\n" + text
	}
	return os.WriteFile(path, append(old, text...), 0o644)
}

// Command is a program to run on the server's machine.
type Command struct {
	// Line is run by sh.
	Line string
	// User is who runs it; "" is root.
	User string
	// Stdin is its input.
	Stdin io.Reader
	// Dir is where it starts; "" is the box's work directory.
	Dir string
}

// Output is what a Command said.
type Output struct {
	Stdout, Stderr string
	// Code is the exit status, or 128 and the signal's number.
	Code int
}

// Exec runs a command on the server's machine, with the subject's programs
// first in its path, and waits for its end.
func (b *Box) Exec(ctx context.Context, c Command) (Output, error) {
	cmd := b.prepare(ctx, c)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := b.InServer(cmd.Start); err != nil {
		return Output{}, err
	}
	err := cmd.Wait()
	out := Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		return out, fmt.Errorf("%s: %w", c.Line, ctx.Err())
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the command has ended; a daemon it started has our pipes
	}
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		return out, fmt.Errorf("%s: %w", c.Line, err)
	}
	return out, nil
}

// Start starts a command on the server's machine and leaves it running.
func (b *Box) Start(ctx context.Context, c Command) (*exec.Cmd, error) {
	cmd := b.prepare(ctx, c)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd, b.InServer(cmd.Start)
}

// prepare builds the process for a command.
func (b *Box) prepare(ctx context.Context, c Command) *exec.Cmd {
	argv := []string{"/bin/sh", "-c", c.Line}
	if c.User != "" {
		argv = append([]string{"setpriv", "--reuid", c.User, "--regid", c.User, "--init-groups", "--"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + b.Subject.path() + "/usr/sbin:/usr/bin:/sbin:/bin", "TZ=UTC", "LC_ALL=C", "HOME=/root", "USER=root", "LOGNAME=root"}
	if c.User != "" {
		cmd.Env = append(cmd.Env, "HOME=/home/"+c.User, "USER="+c.User, "LOGNAME="+c.User)
	}
	cmd.Dir = c.Dir
	if cmd.Dir == "" {
		cmd.Dir = filepath.Join(b.Dir, "work")
	}
	cmd.Stdin = c.Stdin
	// A daemon that keeps our pipes open must not keep us waiting.
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// Must is Exec for a command that has to succeed.
func (b *Box) Must(ctx context.Context, line string) (Output, error) {
	out, err := b.Exec(ctx, Command{Line: line})
	if err != nil {
		return out, err
	}
	if out.Code != 0 {
		return out, fmt.Errorf("%s: exit status %d: %s%s", line, out.Code, out.Stdout, out.Stderr)
	}
	return out, nil
}

// ServeDNS starts the name server of the box, or gives it another zone.
func (b *Box) ServeDNS(zone string) error {
	if b.dns != nil {
		return b.dns.SetZone(zone)
	}
	var pc net.PacketConn
	var l net.Listener
	err := b.InServer(func() (err error) {
		if pc, err = net.ListenPacket("udp", "127.0.0.1:53"); err != nil {
			return err
		}
		l, err = net.Listen("tcp", "127.0.0.1:53")
		return err
	})
	if err != nil {
		return err
	}
	b.dns, err = testkit.ServeDNS(pc, l, zone)
	return err
}

// DNS is the name server of the box, nil before ServeDNS.
func (b *Box) DNS() *testkit.DNS { return b.dns }
