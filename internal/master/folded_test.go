package master

import (
	"context"
	"errors"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// runFolded starts the site in this process and returns the reload channel and
// the function that stops it.
func runFolded(t *testing.T, s *site) (chan struct{}, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reload, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- fakeProgram().RunFolded(ctx, Options{Dir: s.dir, Reload: reload, Ready: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("not started: %v", err)
	}
	stop := func() error {
		cancel()
		return <-ended
	}
	t.Cleanup(cancel)
	return reload, stop
}

func TestFoldedServesReloadsAndStops(t *testing.T) {
	t.Parallel()
	one, two := testkit.FreePort(t), testkit.FreePort(t)
	s := newSite(t, one)
	reload, stop := runFolded(t, s)
	if got := mustGreet(t, one)["gen"]; got != "1" {
		t.Errorf("generation %s, want 1", got)
	}
	if err := fakeProgram().RunFolded(context.Background(), Options{Dir: s.dir}); !errors.Is(err, ErrRunning) {
		t.Errorf("second start: %v, want ErrRunning", err)
	}

	s.services(one, two)
	reload <- struct{}{}
	eventually(t, "the new port serves", func() bool { _, err := greeting(two); return err == nil })
	if got := mustGreet(t, one); got["gen"] != "2" || got["listeners"] != "2" {
		t.Errorf("after reload: %v", got)
	}

	// A configuration that does not work changes nothing.
	s.main("fake_fails = on purpose\n")
	s.services(two)
	reload <- struct{}{}
	eventually(t, "the failure is logged", func() bool { return strings.Contains(s.log(), "reload failed") })
	if got := mustGreet(t, one); got["gen"] != "2" {
		t.Errorf("after a failed reload: %v", got)
	}
	s.main("")
	reload <- struct{}{}
	eventually(t, "the old port is closed", func() bool { _, err := greeting(one); return err != nil })
	if got := mustGreet(t, two); got["gen"] != "3" || got["listeners"] != "1" {
		t.Errorf("after the third reload: %v", got)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := greeting(two); err == nil {
		t.Error("the port is open after the end")
	}
	for _, want := range []string{"daemon started -- version 3.11", "reload -- version 3.11", "cannot reload: on purpose", "terminating on signal 15"} {
		if !strings.Contains(s.log(), want) {
			t.Errorf("the log has no %q:\n%s", want, s.log())
		}
	}
}

// TestFoldedStartsAgain: a server that fails is replaced within the process.
func TestFoldedStartsAgain(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	s := newSite(t, port)
	s.main("fake_dies = once\n")
	_, stop := runFolded(t, s)
	eventually(t, "another server serves", func() bool {
		got, err := greeting(port)
		return err == nil && got["gen"] == "2"
	})
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if !strings.Contains(s.log(), "starting again") {
		t.Errorf("the log does not say so:\n%s", s.log())
	}
}

func TestFoldedStartFailures(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	tests := map[string]struct {
		main, master, want string
	}{
		"server":   {"fake_fails = broken\n", "", "cannot start: broken"},
		"port":     {"", "127.0.0.1:nosuchport inet n - n - - smtpd\n", "nosuchport"},
		"host":     {"", "no-such-host.invalid:2525 inet n - n - - smtpd\n", "host not found: no-such-host.invalid"},
		"format":   {"info_log_address_format = odd\n", "", `invalid parameter setting "info_log_address_format = odd"`},
		"logfile":  {"maillog_file_prefixes = /elsewhere\n", "", "does not match any prefix"},
		"protocol": {"inet_protocols = ipv6\n", "", "no address of inet_protocols"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, port)
			s.main(tt.main)
			if tt.master != "" {
				s.write("master.cf", tt.master)
			}
			err := fakeProgram().RunFolded(context.Background(), Options{Dir: s.dir})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	port := testkit.FreePort(t)
	s := newSite(t, port)
	_, stop := runFolded(t, s)
	other := newSite(t, port)
	err := fakeProgram().RunFolded(context.Background(), Options{Dir: other.dir})
	if err == nil || !strings.HasSuffix(err.Error(), "Address already in use") {
		t.Errorf("got %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
