//go:build oracle

package smtpd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// amavisConf looks for attachments only: no scanner, no network.
const amavisConf = `use strict;
$max_servers = 2;
$daemon_user = 'amavis'; $daemon_group = 'amavis';
$MYHOME = '%[1]s'; $TEMPBASE = $MYHOME; $QUARANTINEDIR = undef; $db_home = $MYHOME; $helpers_home = $MYHOME;
$pid_file = "$MYHOME/pid"; $lock_file = "$MYHOME/lock";
$mydomain = 'mx.test'; $myhostname = 'filter.mx.test';
$enable_db = 0; $enable_zmq = 0;
@bypass_virus_checks_maps = (1); @bypass_spam_checks_maps = (1);
@inet_acl = qw(127.0.0.1); $inet_socket_bind = '127.0.0.1'; $inet_socket_port = %[2]s;
$forward_method = 'smtp:[127.0.0.1]:%[3]s'; $notify_method = $forward_method;
@local_domains_maps = (1);
$do_syslog = 0; $log_level = 1;
$banned_filename_re = new_RE(qr'.\.exe$'i);
$final_banned_destiny = D_REJECT;
1;
`

// TestRealAmavis puts an amavisd-new of its own between the SMTP server and the
// one that takes the mail back.
func TestRealAmavis(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "amavis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	home := amavisHome(t, dir)

	// The way back in.
	after, queue := newServer(t, "smtpd_authorized_xforward_hosts = 127.0.0.1\nsmtpd_authorized_xclient_hosts =\n")
	afterLog := &journal{}
	after.Log = afterLog
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	// goroutine: the server behind; ends when the test closes the listener.
	go func() { _ = after.Serve(t.Context(), ln) }()
	_, back, _ := net.SplitHostPort(ln.Addr().String())
	filter := "127.0.0.1:" + strconv.Itoa(testkit.FreePort(t))
	_, port, _ := net.SplitHostPort(filter)

	startAmavis(t, dir, filter, fmt.Sprintf(amavisConf, home, port, back))

	for _, options := range []string{"", "speed_adjust"} {
		front, none := newServer(t, "smtpd_proxy_filter = "+filter+"\nsmtpd_proxy_options = "+options+"\n")
		j := &journal{}
		front.Log, front.Scratch = j, t.TempDir()
		mail := func(name string) string {
			return converse(t, front, proxyHello, proxyFrom, proxyTo, "DATA\r\n",
				"From: a@b.test\r\nTo: joe@mx.test\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name="+name+
					"\r\nContent-Disposition: attachment; filename="+name+"\r\n\r\n.a line\r\n..and one\r\n.\r\n")
		}
		good, bad := mail("letter.bin"), mail("game.exe")
		if !strings.Contains(good, "250 2.0.0 from MTA(smtp:[127.0.0.1]:"+back+"): 250 2.0.0 Ok: queued as ID") {
			t.Errorf("%s: a good message is answered by\n%s", options, good)
		}
		if !strings.Contains(bad, "\r\n554 5.7.0 ") || !strings.Contains(bad, "BANNED") {
			t.Errorf("%s: a banned message is answered by\n%s", options, bad)
		}
		if len(none.done) > 0 {
			t.Errorf("%s: queued in front of the filter: %q", options, none.done)
		}
		j.expect(t, options, "proxy-accept: END-OF-MESSAGE: 250 2.0.0 from MTA(")
		j.expect(t, options, "proxy-reject: END-OF-MESSAGE: 554 5.7.0 ")
	}
	queue.mu.Lock()
	defer queue.mu.Unlock()
	if len(queue.done) != 2 || !strings.Contains(queue.done[0], `a line\r\n.and one\r\n`) {
		t.Errorf("behind the filter: %q", queue.done)
	}
	// XFORWARD has told the way back who the client was.
	afterLog.expect(t, "the server behind", "orig_client=")
}

// amavisHome makes the directory of the filter, which only its account may change.
func amavisHome(t *testing.T, dir string) string {
	t.Helper()
	home := filepath.Join(dir, "home")
	u, err := user.Lookup("amavis")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Mkdir(home, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return home
}

// startAmavis runs the filter until the end of the test, and waits until it listens.
func startAmavis(t *testing.T, dir, filter, text string) {
	t.Helper()
	conf := filepath.Join(dir, "amavis.conf")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.Command("/usr/sbin/amavisd", "-c", conf, "foreground")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	// goroutine: waits for the filter; ends with it.
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
		}
	})
	ok := testkit.Poll(t.Context(), 100*time.Millisecond, func() bool {
		c, err := net.Dial("tcp4", filter)
		if err != nil {
			select {
			case <-ended:
				t.Fatalf("the filter is gone: %s", out.String())
			default:
			}
			return false
		}
		_ = c.Close()
		return true
	})
	if !ok {
		t.Fatal("the filter does not listen")
	}
}
