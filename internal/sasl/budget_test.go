package sasl

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPrice(t *testing.T) {
	t.Parallel()
	for hash, want := range map[string]uint64{
		"$argon2id$v=19$m=65536,t=3,p=1$a$b": 65536, "$argon2i$v=19$m=262144,t=16,p=64$a$b": 262144, "$argon2id$v=19$m=262145,t=1,p=1$a$b": 0,
		"$argon2id$v=19$m=99999999999999999999,t=1,p=1$a$b": 0, "$argon2id$v=19$m=64,t=99999999999999999999,p=1$a$b": 0,
		"$y$j9T$a$b": 16 << 10, "$y$jDT$a$b": 256 << 10, "$y$jET$a$b": 0, "$y$jzz$a$b": 0, "$y$": 0, "$y$k9T$a$b": 0,
		"$6$rounds=10000000$a$b": 0, "$6$a$b": 0, "$2y$16$a": 0, "$1$a$b": 0,
	} {
		free := strings.HasPrefix(hash, "$6$") || strings.HasPrefix(hash, "$2y$") || strings.HasPrefix(hash, "$1$")
		got, err := price(hash)
		if got != want || (err == nil) != (want > 0 || free) {
			t.Errorf("%s: %d KiB, %v; want %d", hash, got, err, want)
		}
	}
	for _, hash := range []string{"$6$rounds=10000001$a$b", "$5$rounds=99999999999999999999$a$b", "$2y$17$a", "$2a$99$a"} {
		if _, err := price(hash); err != errCost {
			t.Errorf("%s: %v", hash, err)
		}
	}
}

// TestBudget: hashes wait for memory and for a processor, and not for ever.
func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &budget{slots: 3, memory: 100, freed: make(chan struct{})}
		take := func(memory uint64) (done func(), waited time.Duration) {
			begin := time.Now()
			done, err := b.take(context.Background(), memory)
			if (err != nil) != (done == nil) || err != nil && !errors.Is(err, ErrTemporary) {
				t.Errorf("%d: %v", memory, err)
			}
			return done, time.Since(begin)
		}
		one, _ := take(60)
		if two, waited := take(60); two != nil || waited != workWait {
			t.Errorf("too much memory is given after %v", waited)
		}
		time.AfterFunc(time.Second, one)
		two, waited := take(60)
		if two == nil || waited != time.Second {
			t.Errorf("memory that was given back comes after %v", waited)
		}
		three, _ := take(0)
		four, _ := take(0)
		if five, _ := take(0); five != nil {
			t.Error("more at a time than allowed")
		}
		for _, done := range []func(){two, three, four} {
			done()
		}
		if b.slots != 3 || b.memory != 100 {
			t.Errorf("left: %d slots, %d KiB", b.slots, b.memory)
		}
	})
}

// TestDear: a login waits until there is memory for its hash, gives it back, and is
// put off when that takes too long.
func TestDear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := newTestServer(t, Settings{}).(*localServer)
		srv.work.slots = 2 // of a machine with one processor the test would have it
		for _, tt := range []struct {
			left       uint64
			held, took time.Duration
			err        error
		}{
			{1 << 15, time.Second, 0, nil}, // as much as the hash needs
			{1<<15 - 1, time.Second, time.Second, nil},
			{1<<15 - 1, time.Minute, workWait, ErrTemporary},
		} {
			done, err := srv.work.take(t.Context(), workMemory-tt.left)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(tt.held, done)
			begin := time.Now()
			_, _, err = login(srv, "PLAIN", true, "\x00argon2\x00secret pass")
			if took := time.Since(begin); took != tt.took || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("%d KiB left for %v: %v after %v", tt.left, tt.held, err, took)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if srv.work.memory != workMemory {
				t.Errorf("%d KiB are left", srv.work.memory)
			}
		}
	})
}

// TestNames: no name with what separates fields gets as far as the accounts.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"joe": true, "jo\u00e9@a.test": true, "a b": true, "joe\x00realm\x00userPassword": false, "a\nb": false, "\xff": false, "\x7f": false,
		strings.Repeat("x", maxUser): true, strings.Repeat("x", maxUser+1): false,
	} {
		if validName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	srv := newTestServer(t, Settings{}).(*localServer)
	srv.accounts = &tableAccounts{table: users{"joe": "{PLAIN}x", "a\nb": "{PLAIN}x"}}
	for name, want := range map[string]error{"joe": nil, "a\nb": ErrAuth} {
		if _, _, err := login(srv, "LOGIN", false, name, "x"); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%q logs in: %v", name, err)
		}
		if v, err := srv.stored(t.Context(), name); (v != nil) != (want == nil) || err != nil {
			t.Errorf("%q is looked up: %v, %v", name, v, err)
		}
	}
}

// TestScramShape: an unknown user looks like the last known one.
func TestScramShape(t *testing.T) {
	t.Parallel()
	set := Settings{Mechanisms: []string{"scram-sha-256"}}
	srv := newTestServer(t, set).(*localServer)
	srv.accounts = &tableAccounts{table: users{"joe": "{SCRAM-SHA-256}" + strings.Replace(strings.TrimPrefix(hashes["scram-sha-256"], "{SCRAM-SHA-256}"), "4096,5R9V9dG0Vq8hf7RIpuZGtg==", "9000,5R9V9dG0Vq8hf7RI", 1)}}
	if _, err := srv.scramCredentials(context.Background(), "SCRAM-SHA-256", "joe"); err != nil {
		t.Fatal(err)
	}
	c, err := srv.scramCredentials(context.Background(), "SCRAM-SHA-256", "nobody")
	if err != nil || c.Iters != 9000 || len(c.Salt) != 12 {
		t.Errorf("%d rounds, salt of %d bytes, %v", c.Iters, len(c.Salt), err)
	}
}
