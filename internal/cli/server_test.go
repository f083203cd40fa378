package cli

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postroad/internal/control"
	"postroad/internal/event"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/testkit"
)

// TestMain lets the test binary be the server that "postfix start" starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "master" || os.Args[1] == "worker") {
		os.Exit(Main(append([]string{"postroad"}, os.Args[1:]...), Host{Program: fakeProgram()}))
	}
	os.Exit(m.Run())
}

func fakeProgram() *master.Program {
	return &master.Program{
		Start:      startFakeServer,
		Serves:     func(*postconf.Service) bool { return true },
		WorkerArgs: []string{"worker"},
	}
}

// fakeServer answers commands and nothing else.
type fakeServer struct {
	*fakeQueue
	rt     *master.Runtime
	cancel context.CancelFunc
	ended  chan struct{}
}

func startFakeServer(ctx context.Context, g *master.Generation, rt *master.Runtime) (master.Server, error) {
	if err := rt.DropPrivileges(); err != nil {
		return nil, err
	}
	ln, err := control.Listen(g.Settings.QueueDirectory, 0o660)
	if err != nil {
		return nil, err
	}
	s := &fakeServer{fakeQueue: sampleQueue(), rt: rt, ended: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	c := &control.Server{Handler: &fakeHandler{s.fakeQueue, s.rt}, Policy: control.Policy{Owner: os.Geteuid()}, Log: event.NewLogger(rt.Log, "postfix/postroad", 1)}
	go func() {
		defer close(s.ended)
		_ = c.Serve(ctx, ln)
	}()
	event.NewLogger(rt.Log, "postfix/smtpd", 7).Infof("connect from a test")
	return s, nil
}

// fakeHandler is the queue with a way to reload.
type fakeHandler struct {
	*fakeQueue
	rt *master.Runtime
}

func (h *fakeHandler) Reload(ctx context.Context) error { return h.rt.Reload(ctx) }

func (s *fakeServer) Reload(context.Context, *master.Generation) error { return nil }
func (s *fakeServer) Shutdown(context.Context) error {
	s.cancel()
	<-s.ended
	return nil
}
func (s *fakeServer) Failed() <-chan struct{} { return nil }
func (s *fakeServer) Err() error              { return nil }

// run runs one command and returns its exit code and everything it printed.
func (s *stage) run(line string) (int, string) {
	s.t.Helper()
	var out bytes.Buffer
	e := s.env(line, "", &out, &out)
	e.UID, e.EUID = os.Getuid(), os.Geteuid()
	e.Host.Program = fakeProgram()
	code := Run(e)
	return code, strings.ReplaceAll(out.String(), s.dir, "DIR")
}

// TestPostfixLifecycle starts a real process, as the user who runs the test.
func TestPostfixLifecycle(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if err := os.RemoveAll(filepath.Join(s.dir, "q")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("main.cf", "mail_owner = nobody\nsetgid_group = nogroup\nmaillog_file_compressor = true\n")
	step := func(line string, code int, want string) {
		t.Helper()
		got, said := s.run(line)
		if got != code || !strings.Contains(said, want) {
			t.Errorf("%s: exit %d, %q; want %d, %q", line, got, said, code, want)
		}
	}
	step("postfix start", 0, "starting the Postfix mail system")
	t.Cleanup(func() { s.run("postfix abort") })
	step("postfix start", 1, "the Postfix mail system is already running")
	step("postfix status", 0, "the Postfix mail system is running: PID: ")
	step("postfix reload", 0, "refreshing the Postfix mail system")
	step("postfix flush", 0, "")
	step("postqueue -p", 0, "4457F984F7DB 1048576")
	step("postfix logrotate", 0, "")
	step("postlog -t foo after", 0, "postfix/postlog: after")
	// What is wrong with a new configuration is told to who asks for it.
	s.write("main.cf", "maximal_queue_lifetime = forever\n")
	s.write("master.cf", "127.0.0.1:nosuchport inet n - n - - smtpd\n")
	step("postfix reload", 1, "nosuchport")
	step("postfix status", 0, "running: PID")
	step("postfix stop", 0, "stopping the Postfix mail system")
	step("postfix status", 1, "the Postfix mail system is not running")
	step("postfix stop", 1, "the Postfix mail system is not running")
	step("postfix start", 1, "nosuchport")

	old, err := os.ReadFile(filepath.Join(s.dir, "maillog.20261122-"+s.env("x", "", nil, nil).Now().Local().Format("150405")))
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := os.ReadFile(filepath.Join(s.dir, "maillog"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"postfix-script[", "master[", "daemon started", "connect from a test", "reload --"} {
		if !strings.Contains(string(old), want) {
			t.Errorf("the rotated log has no %q:\n%s", want, old)
		}
	}
	for _, want := range []string{"foo[", "reload failed, the old configuration stays in force", "terminating on signal 15"} {
		if !strings.Contains(string(fresh), want) {
			t.Errorf("the new log has no %q:\n%s", want, fresh)
		}
	}
}

// TestRun runs the trial server twice over one folder.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	free := func(text string) string { return strings.ReplaceAll(text, "127.0.0.1:2", "127.0.0.1:1") }
	var password string
	for round := range 2 {
		out := new(testkit.Buffer)
		ctx, cancel := context.WithCancel(context.Background())
		e := &Env{Prog: "run", Args: []string{"-dir", dir}, Stdout: out, Stderr: out, Context: ctx, Host: Host{Program: fakeProgram()}}
		// The ports of the folder belong to whoever runs it for real.
		e.Host.Program.Serves = func(*postconf.Service) bool { return false }
		ended := make(chan int, 1)
		go func() { ended <- Run(e) }()
		for !strings.Contains(out.String(), "Ctrl-C stops") || !strings.Contains(out.String(), "connect from a test") {
			select {
			case code := <-ended:
				t.Fatalf("ended with %d: %s", code, out)
			case <-time.After(10 * time.Millisecond):
			}
		}
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d", code)
		}
		text := free(out.String())
		now, err := trialPassword(dir)
		if err != nil || len(now) != 12 || round == 1 && now != password {
			t.Errorf("password %q, %v", now, err)
		}
		password = now
		state := []string{"The folder is new.", "The folder is kept"}[round]
		for _, want := range []string{state, password, "smtpd      connect from a test", "Stopped.", filepath.Join(dir, "mail", "alice", "new")} {
			if !strings.Contains(text, want) {
				t.Errorf("round %d: no %q in:\n%s", round, want, text)
			}
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "users")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("users: %v, %v", st.Mode(), err)
	}
}

// TestTrialConfiguration reads the configuration of the trial server without a
// single warning, and finds it bound to this machine.
func TestTrialConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if fresh, err := makeTrial(dir); !fresh || err != nil {
		t.Fatal(fresh, err)
	}
	if fresh, err := makeTrial(dir); fresh || err != nil {
		t.Fatal(fresh, err)
	}
	cfg, problems := postconf.Load(dir, postconf.LoadOptions{})
	for _, p := range problems {
		t.Error(p.Error())
	}
	n := 0
	for _, s := range cfg.Active() {
		if s.Type != "inet" {
			continue
		}
		n++
		host, _, err := s.HostPort()
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			t.Errorf("service %s does not listen on this machine only", s.Name)
		}
	}
	if n != 3 {
		t.Errorf("%d inet services, want 3", n)
	}
	main := cfg.View(nil)
	for name, want := range map[string]string{
		"mynetworks": "", "mydestination": "", "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
		"queue_directory": dir + "/queue",
	} {
		if got, err := main.Value(name); err != nil || got != want {
			t.Errorf("%s = %q, %v", name, got, err)
		}
	}
}
