package main

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/cli"
	"postroad/internal/control"
	"postroad/internal/limits"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/queue"
	"postroad/internal/testkit"
)

// TestLimitsAreKept ends a server and starts another one on its queue: it goes on
// with the counters, and commands see and reset them.
func TestLimitsAreKept(t *testing.T) {
	t.Parallel()
	dir, windows := t.TempDir(), []limits.Window{{Max: 3, Per: time.Hour}}
	life := func(known int, f func(s *server)) {
		store, err := queue.Open(queue.Options{Dir: dir, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		s := &server{limits: limits.New()}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var kept sync.WaitGroup
		// goroutine: keeps the counters; ends when stop is called.
		kept.Go(func() { s.runLimits(ctx, store) })
		wait, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if !testkit.Poll(wait, time.Millisecond, func() bool { keys, _ := s.limits.Len(); return keys == known }) {
			t.Error("the counters do not come back")
		}
		f(s)
		stop()
		kept.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	life(0, func(s *server) {
		s.limits.Ask("out", "alice", windows, 1, true)
		s.limits.Ask("out", "bob", windows, 3, true)
	})
	life(2, func(s *server) {
		seen := map[string]int{}
		err := (&handler{s}).Limits(t.Context(), control.LimitSelection{}, func(l *control.Limit) error {
			seen[l.Key] = l.Used[0].Used
			return nil
		})
		if err != nil || seen["alice"] != 1 || seen["bob"] != 3 {
			t.Errorf("%v, %v", seen, err)
		}
		if _, full := s.limits.Ask("out", "bob", windows, 1, true); full == nil {
			t.Error("bob has room")
		}
		if n, err := (&handler{s}).ResetLimits(t.Context(), control.LimitSelection{Key: "bob"}); n != 1 || err != nil {
			t.Errorf("%d reset, %v", n, err)
		}
	})
	life(1, func(s *server) {
		if list := s.limits.List("", ""); len(list) != 1 || list[0].Key != "alice" {
			t.Errorf("%+v", list)
		}
	})
}

// TestExplainLimits: an explanation knows the counters of the running server, and
// leaves them as they are.
func TestExplainLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main := "compatibility_level = 3.11\nmyhostname = mx.test\nalias_maps =\nlocal_recipient_maps =\nqueue_directory = " + dir +
		"\nsmtpd_data_restrictions = postroad_limit { sender 3/1h, name=out }\n"
	cfg, problems := postconf.Parse(dir, []byte(main), []byte("smtp inet n - n - - smtpd\nlocal unix - n n - - local\n"), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	running := &server{limits: limits.New()}
	running.limits.Ask("out", "a@other.test", []limits.Window{{Max: 3, Per: time.Hour}}, 2, true)
	ln, err := control.Listen(dir, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var served sync.WaitGroup
	// goroutine: answers commands; ends when stop is called.
	served.Go(func() {
		_ = (&control.Server{Handler: &handler{running}, Policy: control.Policy{Owner: os.Getuid()}}).Serve(ctx, ln)
	})
	defer func() { stop(); served.Wait() }()
	for range 2 {
		x, err := explain(ctx, cfg, &cli.Question{
			ClientName: "client.test", ClientAddr: netip.MustParseAddr("192.0.2.7"), Helo: "client.test", Sender: "a@other.test", Recipients: []mail.Address{"alice@mx.test", "bob@mx.test"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range x.Recipients {
			if last := r.Steps[len(r.Steps)-1]; last.Outcome != "2 of 3/1h" || len(x.Warnings) > 0 {
				t.Errorf("%+v, %q", last, x.Warnings)
			}
		}
	}
}

// TestCheckLimits finds an argument that makes no sense, with its place, once.
func TestCheckLimits(t *testing.T) {
	t.Parallel()
	main := "myhostname = mx.test\nsmtpd_data_restrictions = postroad_limit { sasl_username 100/1x }\n"
	cfg, problems := postconf.Parse("/etc/postfix", []byte(main), []byte("smtp inet n - n - - smtpd\n587 inet n - n - - smtpd\n"), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	var found []string
	for _, p := range checkFilters(cfg) {
		if text := p.Error(); strings.Contains(text, "postroad_limit") {
			found = append(found, text)
		}
	}
	want := `/etc/postfix/main.cf, line 2: smtpd_data_restrictions: restriction postroad_limit: bad period in "100/1x"`
	if len(found) != 1 || found[0] != want {
		t.Errorf("%q, want %q", found, want)
	}
}
