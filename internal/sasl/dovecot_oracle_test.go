//go:build oracle

package sasl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRealDovecot logs in with a Dovecot of its own.
func TestRealDovecot(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "sasl") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_mechanisms = plain login cram-md5
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
}
`, dir)
	users := "joe:{PLAIN}secret\nsue:{SHA512-CRYPT}$6$abcdefgh$T2WXtwktTC2b5B5eLgYoBNSaruzkNaEhxCMZO6BjUUifAydP30r5J1X72mBVJN1tky9srX4MgNXnjeofwkiU51\n"
	for name, text := range map[string]string{"dovecot.conf": conf, "users": users} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	srv, err := New(&Settings{Type: "dovecot", Path: "auth", QueueDir: dir, Service: "smtp", Options: []string{"noanonymous"}}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	var mechs []string
	for range 100 { // until it listens
		if mechs, err = srv.Mechanisms(context.Background(), false); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got := strings.Join(mechs, " "); got != "PLAIN LOGIN CRAM-MD5" {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("mechanisms %q, %v\n%s", got, err, log)
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
		{"LOGIN", false, []string{"joe", "secret"}, "joe", nil},
		{"LOGIN", true, []string{"sue", "secret pass"}, "sue", nil},
		{"PLAIN", true, []string{"\x00joe\x00wrong"}, "joe", ErrAuth},
		{"LOGIN", false, []string{"nobody", "secret"}, "nobody", ErrAuth},
		{"PLAIN", true, []string{"nonsense"}, "", ErrAuth},
		{"CRAM-MD5", false, []string{"joe 0123456789abcdef0123456789abcdef"}, "joe", ErrAuth},
	}
	for _, tt := range tests {
		user, _, err := login(srv, tt.mech, tt.has, tt.in...)
		if user != tt.user || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s %q: user %q, %v; want %q, %v", tt.mech, tt.in, user, err, tt.user, tt.want)
		}
	}
}
