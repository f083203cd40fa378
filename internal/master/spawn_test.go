package master

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// spawnSite is a site with services that run commands as the user of the test.
func spawnSite(t *testing.T, lines string) *site {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, testkit.FreePort(t))
	file := filepath.Join(s.dir, "master.cf")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.write("master.cf", string(text)+strings.ReplaceAll(lines, "USER", me.Username))
	return s
}

// talk sends text to a service, closes that side and returns what comes back.
func talk(t *testing.T, path, text string) (string, error) {
	t.Helper()
	return talkTo(t, "unix", path, text)
}

func talkTo(t *testing.T, network, addr, text string) (string, error) {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	out, err := io.ReadAll(conn)
	return string(out), err
}

func TestSpawn(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	s := spawnSite(t, fmt.Sprintf("127.0.0.1:%d inet n n n - 0 spawn user=USER argv=echo tcp\n", port)+`echo unix - n n - 0 spawn user=USER argv=cat
shell unix n n n - 0 spawn
  user=USER argv=/bin/sh -c { echo one two; pwd; echo $PATH $EXTRA $HOME; read x; echo got $x >&2; exit 3 }
one unix - n n - 1 spawn user=USER argv=cat
slow unix - n n - 0 spawn user=USER argv=/bin/sh -c { echo ready; sleep 100 & sleep 100 }
nobody unix - n n - 0 spawn user=no-such-user argv=cat
nothing unix - n n - 0 spawn user=USER
missing unix - n n - 0 spawn user=USER argv=/no/such/program
`)
	s.main("export_environment = EXTRA=extra TZ\nslow_time_limit = 1s\n")
	_, stop := runFolded(t, s)
	queue := filepath.Join(s.dir, "queue")
	private := func(name string) string { return filepath.Join(queue, "private", name) }
	if out, err := talk(t, private("echo"), "hello\n"); out != "hello\n" || err != nil {
		t.Errorf("echo: %q, %v", out, err)
	}
	if out, err := talkTo(t, "tcp", fmt.Sprintf("127.0.0.1:%d", port), ""); out != "tcp\n" || err != nil {
		t.Errorf("tcp: %q, %v", out, err)
	}
	want := fmt.Sprintf("one two\n%s\n/usr/bin:/bin extra\ngot text\n", queue)
	if out, err := talk(t, filepath.Join(queue, "public", "shell"), "text\n"); out != want || err != nil {
		t.Errorf("shell: %q, want %q, %v", out, want, err)
	}
	eventually(t, "the exit status is logged", func() bool {
		return strings.Contains(s.log(), "spawn[") && strings.Contains(s.log(), "command /bin/sh exit status 3")
	})
	if out, err := talk(t, private("missing"), ""); out != "" {
		t.Errorf("missing: %q, %v", out, err)
	}
	if out, err := talk(t, private("slow"), ""); out != "ready\n" || err != nil {
		t.Errorf("slow: %q, %v", out, err)
	}
	eventually(t, "the end is logged", func() bool { return strings.Contains(s.log(), "command /bin/sh killed by signal 9") })
	for _, want := range []string{
		"service nobody/unix: unknown user name: no-such-user", "service nothing/unix: missing argv= attribute",
		"/no/such/program: no such file or directory", ": command time limit exceeded",
	} {
		if !strings.Contains(s.log(), want) {
			t.Errorf("the log has no %q:\n%s", want, s.log())
		}
	}
	spawnOneAtATime(t, private("one"))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := talk(t, private("echo"), ""); err == nil {
		t.Error("the service answers after the end")
	}
}

// spawnTalker connects to a service that runs cat(1) and says something.
func spawnTalker(t *testing.T, path, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// readByte waits for a byte.
func readByte(t *testing.T, conn net.Conn, want byte) {
	t.Helper()
	buf := make([]byte, 1)
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, buf); err != nil || buf[0] != want {
		t.Errorf("the client got %q, %v, want %q", buf, err, want)
	}
}

// spawnWaiting takes the one command of a service, and returns the client that waits
// for the next.
func spawnWaiting(t *testing.T, path string) net.Conn {
	t.Helper()
	readByte(t, spawnTalker(t, path, "x"), 'x')
	return spawnTalker(t, path, "y")
}

// spawnOneAtATime: the process limit makes the second client wait for the first.
func spawnOneAtATime(t *testing.T, path string) {
	t.Helper()
	first := spawnTalker(t, path, "x")
	readByte(t, first, 'x')
	second := spawnTalker(t, path, "y")
	buf := make([]byte, 1)
	if err := second.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _ := second.Read(buf); n != 0 {
		t.Error("two commands run at a time")
	}
	first.Close()
	readByte(t, second, 'y')
}

// TestSpawnReload: services come, change and go.
func TestSpawnReload(t *testing.T) {
	t.Parallel()
	s := spawnSite(t, "a unix - n n - 0 spawn user=USER argv=echo 1\nb unix - n n - 0 spawn user=USER argv=echo b\n"+
		"one unix - n n - 1 spawn user=USER argv=cat\n")
	reload, stop := runFolded(t, s)
	private := func(name string) string { return filepath.Join(s.dir, "queue", "private", name) }
	if out, err := talk(t, private("b"), ""); out != "b\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	waiting := spawnWaiting(t, private("one"))
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s.services(testkit.FreePort(t))
	text, err := os.ReadFile(filepath.Join(s.dir, "master.cf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("master.cf", string(text)+"a unix - n n - 0 spawn user="+me.Username+" argv=echo 2\nc unix - n n - 0 spawn user="+me.Username+" argv=echo c\n"+
		"one unix - n n - 2 spawn user="+me.Username+" argv=cat\n")
	reload <- struct{}{}
	eventually(t, "the new service answers", func() bool { out, _ := talk(t, private("c"), ""); return out == "c\n" })
	if out, err := talk(t, private("a"), ""); out != "2\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := talk(t, private("b"), ""); err == nil {
		t.Error("a service that is gone answers")
	}
	readByte(t, waiting, 'y') // the limit is higher now
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestSpawnRefusesAccounts(t *testing.T) {
	t.Parallel()
	owner := &Owner{UID: 101, GID: 102}
	for _, test := range []struct {
		uid, gid int
		want     string
	}{
		{0, 5, "root"}, {101, 5, "mail system owner"}, {5, 0, "privileged group"}, {5, 102, "mail system owner group"}, {5, 5, ""},
	} {
		err := (&spawnService{uid: test.uid, gid: test.gid}).mayRun(owner)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("uid %d, gid %d: %v", test.uid, test.gid, err)
		}
	}
	if err := (&spawnService{uid: os.Geteuid() + 1}).mayRun(nil); err == nil {
		t.Error("an ordinary user may run commands as somebody else")
	}
}
