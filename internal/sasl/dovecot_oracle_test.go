//go:build oracle

package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postroad/internal/mail"
	"postroad/internal/testkit"
)

// realDovecot is a Dovecot of its own, with its auth socket and a TCP port.
type realDovecot struct {
	t         *testing.T
	dir, port string
	cmd       *exec.Cmd
}

func newRealDovecot(t *testing.T) *realDovecot {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sasl") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(testkit.FreePort(t))
	conf := fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_mechanisms = plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256 anonymous
auth_anonymous_username = guest
auth_realms = mx.test
passdb {
  driver = passwd-file
  args = scheme=PLAIN %[1]s/users
}
userdb {
  driver = static
  args = uid=1 gid=1 home=/
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener %[1]s/auth {
    mode = 0666
  }
  inet_listener {
    address = 127.0.0.1
    port = %[2]s
  }
}
`, dir, port)
	users := "joe:{PLAIN}secret\nscram:{SCRAM-SHA-256}" + strings.TrimPrefix(hashes["scram-sha-256"], "{SCRAM-SHA-256}") + "\n" +
		"sue:{SHA512-CRYPT}$6$abcdefgh$T2WXtwktTC2b5B5eLgYoBNSaruzkNaEhxCMZO6BjUUifAydP30r5J1X72mBVJN1tky9srX4MgNXnjeofwkiU51\n" +
		"off:{PLAIN}secret::::::nologin=y reason=Not=today\n"
	for name, text := range map[string]string{"dovecot.conf": conf, "users": users} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := &realDovecot{t: t, dir: dir, port: port}
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *realDovecot) start() {
	d.t.Helper()
	d.cmd = exec.Command("dovecot", "-F", "-c", filepath.Join(d.dir, "dovecot.conf"))
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	srv := d.server("auth", Settings{})
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := srv.Mechanisms(context.Background(), false); err == nil {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(d.dir, "log"))
			d.t.Fatalf("Dovecot does not listen\n%s", log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (d *realDovecot) stop() {
	_ = d.cmd.Process.Signal(os.Interrupt)
	_ = d.cmd.Wait()
}

// authPID is the process that serves the socket.
func (d *realDovecot) authPID() int {
	d.t.Helper()
	out, err := exec.Command("pgrep", "-P", fmt.Sprint(d.cmd.Process.Pid), "-x", "auth").Output()
	var pid int
	if _, serr := fmt.Sscan(string(out), &pid); err != nil || serr != nil {
		d.t.Fatalf("no auth process: %q, %v, %v", out, err, serr)
	}
	return pid
}

func (d *realDovecot) server(path string, s Settings) Server {
	d.t.Helper()
	s.Type, s.Path, s.QueueDir, s.Service = "dovecot", path, d.dir, "smtp"
	srv, err := New(&s, testDeps())
	if err != nil {
		d.t.Fatal(err)
	}
	return srv
}

// TestRealDovecot logs in with each mechanism, over both kinds of socket.
func TestRealDovecot(t *testing.T) {
	t.Parallel()
	d := newRealDovecot(t)
	for option, want := range map[string]string{
		"noanonymous":  "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256",
		"noplaintext":  "CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256 ANONYMOUS",
		"noactive":     "PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256 ANONYMOUS",
		"nodictionary": "PLAIN LOGIN SCRAM-SHA-1 SCRAM-SHA-256 ANONYMOUS",
		"mutual_auth":  "DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256", "forward_secrecy": "",
	} {
		got, err := d.server("auth", Settings{Options: []string{option}}).Mechanisms(context.Background(), false)
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%s: %q, %v", option, got, err)
		}
	}
	tests := []struct {
		mech string
		has  bool
		in   []string
		user string
		want error
	}{
		{"PLAIN", true, []string{"\x00joe\x00secret"}, "joe", nil},
		{"PLAIN", false, []string{"\x00joe\x00secret"}, "joe", nil},
		{"login", false, []string{"joe", "secret"}, "joe", nil},
		{"LOGIN", true, []string{"sue", "secret pass"}, "sue", nil},
		{"PLAIN", true, []string{"\x00joe\x00wrong"}, "joe", ErrAuth},
		{"LOGIN", false, []string{"nobody", "secret"}, "nobody", ErrAuth},
		{"PLAIN", true, []string{"nonsense"}, "", ErrAuth},
		{"PLAIN", true, []string{""}, "", ErrAuth},
		{"ANONYMOUS", true, []string{""}, "guest", nil},
		{"ANONYMOUS", true, []string{"trace"}, "guest", nil},
		{"CRAM-MD5", false, []string{"joe 0123456789abcdef0123456789abcdef"}, "joe", ErrAuth},
		{"SCRAM-SHA-1", true, []string{"n,,n=joe,r=abc", "nonsense"}, "joe", ErrAuth},
	}
	for _, path := range []string{"auth", "inet:127.0.0.1:" + d.port, "unix:" + filepath.Join(d.dir, "auth")} {
		srv := d.server(path, Settings{})
		for _, tt := range tests {
			user, _, err := login(srv, tt.mech, tt.has, tt.in...)
			if user != tt.user || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%s: %s %q: user %q, %v; want %q, %v", path, tt.mech, tt.in, user, err, tt.user, tt.want)
			}
		}
		for _, tt := range [][3]string{
			{"SCRAM-SHA-1", "joe", "secret"}, {"SCRAM-SHA-256", "joe", "secret"}, {"SCRAM-SHA-256", "scram", "secret pass"},
		} {
			if user, err := scramLogin(srv, tt[0], tt[1], tt[2], ""); user != tt[1] || err != nil {
				t.Errorf("%s: %q: %q, %v", path, tt, user, err)
			}
			if _, err := scramLogin(srv, tt[0], tt[1], "wrong", ""); !errors.Is(err, ErrAuth) {
				t.Errorf("%s: %q with a wrong password: %v", path, tt, err)
			}
		}
		realCram(t, srv)
	}
}

// realCram is CRAM-MD5, in a session whose parameters are told.
func realCram(t *testing.T, srv Server) {
	t.Helper()
	x, err := srv.Begin(context.Background(), &Request{Mechanism: "CRAM-MD5", Session: &mail.Session{TLS: &mail.TLS{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	challenge, _, err := x.Next(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := hmac.New(md5.New, []byte("secret"))
	_, _ = m.Write(challenge)
	_, done, err := x.Next(context.Background(), []byte("joe "+hex.EncodeToString(m.Sum(nil))))
	if !done || err != nil || x.Username() != "joe" {
		t.Errorf("CRAM-MD5: %q, %v, %v", x.Username(), done, err)
	}
}

// TestRealDovecotTrouble: a Dovecot that is started again, is killed in the
// middle of an exchange, or does not answer.
func TestRealDovecotTrouble(t *testing.T) {
	t.Parallel()
	d := newRealDovecot(t)
	srv := d.server("auth", Settings{})
	const good = "\x00joe\x00secret"
	if user, _, err := login(srv, "PLAIN", true, good); user != "joe" || err != nil {
		t.Errorf("before: %q, %v", user, err)
	}
	x, err := srv.Begin(context.Background(), &Request{Mechanism: "LOGIN"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Next(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(d.authPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Next(context.Background(), []byte("joe")); !errors.Is(err, ErrTemporary) {
		t.Errorf("killed in the middle: %v", err)
	}
	x.Close()
	d.stop()
	if _, _, err := login(srv, "PLAIN", true, good); !errors.Is(err, ErrTemporary) {
		t.Errorf("stopped: %v", err)
	}
	d.start()
	if user, _, err := login(srv, "PLAIN", true, good); user != "joe" || err != nil {
		t.Errorf("started again: %q, %v", user, err)
	}
	pid := d.authPID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	x, err = srv.Begin(ctx, &Request{Mechanism: "PLAIN", Initial: []byte(good), HasInitial: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Next(ctx, nil); !errors.Is(err, ErrTemporary) {
		t.Errorf("does not answer: %v", err)
	}
	x.Close()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if user, _, err := login(srv, "PLAIN", true, good); user != "joe" || err != nil {
		t.Errorf("answers again: %q, %v", user, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		user, _, err := login(srv, "PLAIN", true, good)
		if user == "joe" && err == nil {
			break
		}
		if !errors.Is(err, ErrTemporary) || time.Now().After(deadline) {
			t.Fatalf("killed: %q, %v", user, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestDoveadm compares passwords that doveadm makes, in every scheme that is
// known here.
func TestDoveadm(t *testing.T) {
	t.Parallel()
	decoder, err := newDecoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range schemes {
		for _, suffix := range []string{"", ".hex", ".b64"} {
			out, err := exec.Command("doveadm", "pw", "-s", s.name+suffix, "-u", "joe", "-p", "secret pass").Output()
			if err != nil {
				t.Errorf("%s%s: %v", s.name, suffix, err)
				continue
			}
			value := strings.TrimSuffix(string(out), "\n")
			for password, want := range map[string]bool{"secret pass": true, "secret": false} {
				if ok, err := checkPassword(decoder, value, password); ok != want || err != nil {
					t.Errorf("%s with %q: %v, %v", value, password, ok, err)
				}
			}
		}
	}
}
