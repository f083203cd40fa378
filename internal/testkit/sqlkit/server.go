package sqlkit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postroad/internal/testkit"
)

// Server is a real database server.
type Server struct {
	// Dir has its data, Socket is the socket in it, Port is on 127.0.0.1.
	Dir, Socket string
	Port        int

	t       testing.TB
	account string
	argv    []string
	client  []string
	ping    string
	cmd     *exec.Cmd
	log     *os.File
	ended   chan struct{}
}

// newServer makes the directory of a server that runs as an account.
func newServer(t testing.TB, account string) *Server {
	t.Helper()
	// The path of a socket must be short, and the account must get to it.
	dir, err := os.MkdirTemp("/tmp", "sqlkit")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, Dir: dir, account: account, Port: testkit.FreePort(t)}
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(dir)
	})
	if os.Getuid() == 0 {
		id := s.identity()
		if err := os.Chown(dir, int(id.Uid), int(id.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// identity is the account's user and group.
func (s *Server) identity() *syscall.Credential {
	u, err := user.Lookup(s.account)
	if err != nil {
		s.t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// command prepares a command with the rights of the server.
func (s *Server) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = s.Dir
	// A MariaDB that starts removes what others have in a TMPDIR that they share.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + s.Dir, "TMPDIR=" + s.Dir}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.identity()}
	}
	return cmd
}

// setup runs a command that prepares the data.
func (s *Server) setup(argv ...string) {
	s.t.Helper()
	if out, err := s.command(argv...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", argv[0], err, out)
	}
}

// Start starts the server and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	var err error
	if s.log, err = os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = s.command(s.argv...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	// goroutine: ends when the server does.
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(s.cmd, s.ended)
	limit := time.Now().Add(60 * time.Second)
	for {
		_, err := s.try(s.ping)
		if err == nil {
			return
		}
		select {
		case <-s.ended:
			s.t.Fatalf("%s ended\n%s", s.argv[0], s.tail())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(limit) {
			s.t.Fatalf("%s does not answer: %v\n%s", s.argv[0], err, s.tail())
		}
	}
}

// tail is the end of the server's log.
func (s *Server) tail() string {
	text, _ := os.ReadFile(s.log.Name())
	return string(text[max(0, len(text)-2000):])
}

// Kill ends the server at once. It may be started again.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	// Stopped first, so that it starts no more processes meanwhile.
	syscall.Kill(s.cmd.Process.Pid, syscall.SIGSTOP)
	all := s.processes()
	for _, pid := range all {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.ended
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, pid := range all {
		testkit.Poll(ctx, 10*time.Millisecond, func() bool {
			stat, err := testkit.ReadStat(pid)
			return err != nil || stat.State == 'Z'
		})
	}
	s.log.Close()
	s.cmd = nil
	os.Remove(s.Socket)
}

// processes are the server and what it started.
func (s *Server) processes() []int {
	all, err := testkit.Descendants(s.cmd.Process.Pid)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// Pause stops the server as it is: it answers nothing and keeps its connections.
func (s *Server) Pause() {
	// Itself first, so that it starts no more processes meanwhile.
	syscall.Kill(s.cmd.Process.Pid, syscall.SIGSTOP)
	s.signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, pid := range s.processes() {
		testkit.Poll(ctx, time.Millisecond, func() bool { return testkit.AllStopped(pid) })
	}
}

// Resume ends Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	for _, pid := range s.processes() {
		// One that serves a client may have ended just now.
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			s.t.Fatal(err)
		}
	}
}

// try runs SQL and returns what the client prints.
func (s *Server) try(sql string) (string, error) {
	cmd := s.command(s.client...)
	cmd.Stdin = strings.NewReader(sql)
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, diag.String())
	}
	return string(out), nil
}

// Run runs SQL, which must succeed, and returns what the client prints.
func (s *Server) Run(sql string) string {
	s.t.Helper()
	out, err := s.try(sql)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// MariaDB starts a MariaDB server with an empty database "mail" and a user "mail"
// with the password "secret"; options are added to its command line.
func MariaDB(t testing.TB, options ...string) *Server {
	t.Helper()
	s := newServer(t, "mysql")
	s.Socket = filepath.Join(s.Dir, "s")
	data := filepath.Join(s.Dir, "data")
	s.setup("mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	s.argv = append([]string{
		"mariadbd", "--no-defaults", "--datadir=" + data, "--socket=" + s.Socket, "--port=" + strconv.Itoa(s.Port),
		"--bind-address=127.0.0.1", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=16M",
		"--character-set-server=utf8mb4", "--pid-file=" + filepath.Join(s.Dir, "pid"),
	}, options...)
	s.client = []string{"mariadb", "--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4", "--socket=" + s.Socket, "--user=root"}
	s.ping = "SELECT 1"
	s.Start()
	s.Run("CREATE DATABASE mail; CREATE USER mail IDENTIFIED BY 'secret'; CREATE USER mail@localhost IDENTIFIED BY 'secret';" +
		"GRANT ALL ON mail.* TO mail; GRANT ALL ON mail.* TO mail@localhost;")
	s.client = append(s.client, "mail")
	return s
}

// PostgreSQL starts a PostgreSQL server with an empty database "mail" and a user
// "mail" with the password "secret". lines are added to its configuration.
func PostgreSQL(t testing.TB, lines ...string) *Server {
	t.Helper()
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(programs) == 0 {
		t.Fatal("no PostgreSQL in /usr/lib/postgresql")
	}
	bin := programs[len(programs)-1]
	s := newServer(t, "postgres")
	data := filepath.Join(s.Dir, "data")
	s.Socket = filepath.Join(s.Dir, ".s.PGSQL."+strconv.Itoa(s.Port))
	s.setup(filepath.Join(bin, "initdb"), "--pgdata="+data, "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync")
	f, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "fsync = off\nlisten_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\n%s\n", s.Port, s.Dir, strings.Join(lines, "\n"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.argv = []string{filepath.Join(bin, "postgres"), "-D", data}
	s.client = []string{filepath.Join(bin, "psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--host=" + s.Dir, "--port=" + strconv.Itoa(s.Port), "--username=postgres"}
	s.ping = "SELECT 1"
	s.Start()
	s.Run("CREATE ROLE mail SUPERUSER LOGIN PASSWORD 'secret'")
	s.Run("CREATE DATABASE mail OWNER mail")
	s.client = append(s.client, "mail")
	return s
}
