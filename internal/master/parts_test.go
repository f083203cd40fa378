package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"postroad/internal/postconf"
	"postroad/internal/testkit"
)

func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, running, err := Running(dir); running || err != nil {
		t.Fatalf("without a file: %v %v", running, err)
	}
	l, err := AcquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := AcquireLock(dir); !errors.Is(err, ErrRunning) {
		t.Errorf("second lock: %v", err)
	}
	pid, running, err := RunningPID(dir)
	if pid != os.Getpid() || !running || err != nil {
		t.Errorf("RunningPID = %d %v %v", pid, running, err)
	}
	if line, _, _ := Running(dir); len(line) != 32 {
		t.Errorf("pid line %q is not 32 wide", line)
	}
	// Not Release: a program that another test starts now may have the file for a moment.
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, running, _ := RunningPID(dir); running {
		t.Error("running after release")
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	const mainCF = "compatibility_level=3.11\ninet_protocols = all\ninet_interfaces = 127.0.0.1, 127.0.0.2\n"
	tests := []struct {
		master string
		want   []string
	}{
		{"2525 inet n - n - - smtpd\n", []string{"2525 tcp4 127.0.0.1:2525", "2525 tcp4 127.0.0.2:2525"}},
		{"smtp inet n - n - - smtpd\n", []string{"smtp tcp4 127.0.0.1:25", "smtp tcp4 127.0.0.2:25"}},
		{"127.0.0.9:25 inet n - n - - smtpd\n", []string{"127.0.0.9:25 tcp4 127.0.0.9:25"}},
		{"[::1]:25 inet n - n - - smtpd\n", []string{"[::1]:25 tcp6 [::1]:25"}},
		{"2525 inet n - n - - smtpd -o inet_interfaces=127.0.0.3\n", []string{"2525 tcp4 127.0.0.3:2525"}},
		{"2525 inet n - n - - nothing\nx unix - - n - - smtpd\n", nil},
		{"25 inet n - n - - smtpd -o inet_interfaces=all -o inet_protocols=ipv4\n", []string{"25 tcp4 0.0.0.0:25"}},
	}
	for _, tt := range tests {
		cfg, problems := postconf.Parse("/etc/postfix", []byte(mainCF), []byte(tt.master), postconf.LoadOptions{Quiet: true})
		if postconf.HasFatal(problems) {
			t.Fatal(problems)
		}
		list, err := endpoints(cfg, fakeProgram().Serves)
		if err != nil {
			t.Errorf("%q: %v", tt.master, err)
		}
		var got []string
		for _, e := range list {
			got = append(got, e.key())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.master, got, tt.want)
		}
	}
}

// TestWindowSize: tcp_windowsize is for what listens.
func TestWindowSize(t *testing.T) {
	t.Parallel()
	cfg, problems := postconf.Parse("/etc/postfix", []byte("inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\ntcp_windowsize = 30000\n"),
		[]byte(fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd\n", testkit.FreePort(t))), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	list, err := endpoints(cfg, fakeProgram().Serves)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	f, err := bindOne(list[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The kernel doubles the number (socket(7)).
	if n, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_RCVBUF); n != 60000 || err != nil {
		t.Errorf("the buffer has %d bytes, %v", n, err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	words := []string{"/etc/ssl/key.pem", "hash:/etc/postfix/passwd", "proxy:mysql:/etc/postfix/sql.cf", "pipemap:{hash:/etc/one, lmdb:/etc/two}", "inline:{{a.test=/etc/three},{b.test=/etc/four}}", "1"}
	for path, want := range map[string]bool{
		"/etc/ssl/key.pem": true, "/etc/postfix/passwd": true, "/etc/postfix/passwd.db": true,
		"/etc/postfix/sql.cf": true, "/etc/one.db": true, "/etc/two.lmdb": true, "/etc/three": true, "/etc/four": true, "/etc/shadow": false, "/etc/ssl": false, "/etc/postfix/passwd.txt": false,
	} {
		if got := names(words, path); got != want {
			t.Errorf("names(%s) = %v", path, got)
		}
	}
}

// TestKeyTables: the files of keys that a text table names may be read, unless
// somebody else can write the table.
func TestKeyTables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, open := filepath.Join(dir, "good"), filepath.Join(dir, "open")
	for path, mode := range map[string]os.FileMode{good: 0o644, open: 0o664} {
		if err := os.WriteFile(path, []byte("# names\nsni.test /etc/a.pem, /etc/b.pem\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask says
			t.Fatal(err)
		}
	}
	words := keyTables([]string{"texthash:" + open, "texthash:" + dir, "texthash:" + dir + "/gone", "inline:{/x=y}"})
	if len(words) > 0 {
		t.Errorf("words of tables that are not ours: %q", words)
	}
	words = keyTables([]string{"texthash:" + good})
	if !names(words, "/etc/a.pem") || !names(words, "/etc/b.pem") || names(words, "/etc/c.pem") {
		t.Errorf("words: %q", words)
	}
}

func TestChannel(t *testing.T) {
	t.Parallel()
	ours, theirs, err := channelPair()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := newChannel(theirs)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- ours.serve(func(*packet) {}) }()
	go peer.serve(func(p *packet) {
		f, err := os.Open(p.Path)
		if err != nil {
			peer.answer(p, err)
			return
		}
		peer.answer(p, nil, f)
		f.Close()
	})
	a, err := ours.ask(context.Background(), &packet{Kind: kindOpen, Path: secret})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(a.files[0])
	if err != nil || string(text) != "sesame" {
		t.Errorf("read %q, %v", text, err)
	}
	closeFiles(a.files)
	if _, err := ours.ask(context.Background(), &packet{Kind: kindOpen, Path: secret + "x"}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing file: %v", err)
	}
	peer.close()
	<-ended
	if _, err := ours.ask(context.Background(), &packet{Kind: kindOpen}); err == nil {
		t.Error("a question on an ended channel succeeds")
	}
}

func TestMakeDirs(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := &Settings{QueueDirectory: filepath.Join(root, "q"), DataDirectory: filepath.Join(root, "lib", "d")}
	for range 2 {
		if err := makeDirs(s, []string{"store"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{
		"q/pid": 0o755, "q/private": 0o700, "q/public": 0o710, "q/maildrop": 0o730, "q/store": 0o700, "lib/d": 0o700,
	} {
		st, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", name, st.Mode().Perm(), mode)
		}
	}
}
