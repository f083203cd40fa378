package master

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/postconf"
)

// TestMain lets the test binary be what the real one is: started with "master"
// or "worker" it runs that role with the fake server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "worker":
			os.Exit(fakeProgram().Worker())
		case "master":
			if fakeProgram().Main(os.Args[3], true) != nil {
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

func fakeProgram() *Program {
	return &Program{
		Start:      startFake,
		Serves:     func(s *postconf.Service) bool { return s.Command == "smtpd" },
		QueueDirs:  []string{"store"},
		WorkerArgs: []string{"worker"},
	}
}

// fake greets every client with what a test wants to know about the process.
type fake struct {
	mu     sync.Mutex
	gen    *Generation
	seen   map[net.Listener]bool
	secret string
	failed chan struct{}
}

func startFake(_ context.Context, g *Generation, rt *Runtime) (Server, error) {
	f := &fake{seen: map[net.Listener]bool{}, failed: make(chan struct{}), secret: "none"}
	view := g.Config.View(nil)
	if why, _ := view.Value("fake_fails"); why != "" {
		return nil, fmt.Errorf("cannot start: %s", why)
	}
	if err := rt.DropPrivileges(); err != nil {
		return nil, err
	}
	if path, _ := view.Value("fake_secret"); path != "" {
		file, err := rt.Open(path)
		if err != nil {
			f.secret = "refused"
		} else {
			line, _ := bufio.NewReader(file).ReadString('\n')
			f.secret = strings.TrimSpace(line)
			file.Close()
		}
	}
	f.adopt(g)
	if once, _ := view.Value("fake_dies"); once != "" && g.Number == 1 {
		close(f.failed)
	}
	return f, nil
}

// adopt serves the listeners of g that are new.
func (f *fake) adopt(g *Generation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gen = g
	for _, l := range g.Listeners {
		if !f.seen[l.Listener] {
			f.seen[l.Listener] = true
			go f.serve(l.Listener)
		}
	}
}

func (f *fake) serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		fmt.Fprintf(conn, "gen=%d pid=%d uid=%d secret=%s listeners=%d\n", f.gen.Number, os.Getpid(), os.Geteuid(), f.secret, len(f.gen.Listeners))
		f.mu.Unlock()
		conn.Close()
	}
}

func (f *fake) Reload(_ context.Context, g *Generation) error {
	if why, _ := g.Config.View(nil).Value("fake_fails"); why != "" {
		return fmt.Errorf("cannot reload: %s", why)
	}
	f.adopt(g)
	return nil
}

func (f *fake) Shutdown(context.Context) error { return nil }
func (f *fake) Failed() <-chan struct{}        { return f.failed }
func (f *fake) Err() error                     { return nil }

// site is a configuration in a temporary folder.
type site struct {
	t   *testing.T
	dir string
}

func newSite(t *testing.T, ports ...int) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "master")
	if err != nil {
		t.Fatal(err)
	}
	// The worker is another user and must reach its queue.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &site{t: t, dir: dir}
	s.main("")
	s.services(ports...)
	return s
}

// main writes main.cf with further lines.
func (s *site) main(more string) {
	s.write("main.cf", `compatibility_level = 3.11
queue_directory = $config_directory/queue
data_directory = $config_directory/data
mail_owner = nobody
setgid_group = nogroup
maillog_file = $config_directory/maillog
maillog_file_prefixes = $config_directory
`+more)
}

// services writes master.cf with one smtpd for each port.
func (s *site) services(ports ...int) {
	var b strings.Builder
	for _, p := range ports {
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - - smtpd\n", p)
	}
	s.write("master.cf", b.String())
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "maillog"))
	return string(text)
}

// greeting reads the line of the server on a port.
func greeting(port int) (map[string]string, error) {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil, err
	}
	facts := map[string]string{}
	for _, field := range strings.Fields(line) {
		name, value, _ := strings.Cut(field, "=")
		facts[name] = value
	}
	return facts, nil
}

func mustGreet(t *testing.T, port int) map[string]string {
	t.Helper()
	facts, err := greeting(port)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("%s: did not happen", what)
}
