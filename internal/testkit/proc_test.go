package testkit

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	st, err := parseStat("42 (odd) name (x)) S 7 1 1 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 100 1000 55 18446744073709551615 1")
	if err != nil {
		t.Fatal(err)
	}
	want := ProcStat{PID: 42, Parent: 7, Name: "odd) name (x)", State: 'S', UserTicks: 11, SystemTicks: 12,
		ChildrenUserTicks: 13, ChildrenSystemTicks: 14, ResidentPages: 55}
	if st != want {
		t.Errorf("%+v", st)
	}
	for _, s := range []string{"", "42 (x", "x (y) S 1", "42 (x) S 1", "42 )x( S 1 2 3"} {
		if _, err := parseStat(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("42 (odd) name (x)) S 7 1 1 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 100 1000 55 184 1")
	f.Fuzz(func(_ *testing.T, s string) {
		_, _ = parseStat(s) // it must not panic
	})
}

func TestDescendants(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all, err := Descendants(os.Getpid())
	if err != nil {
		t.Error(err)
	}
	if !slices.Contains(all, cmd.Process.Pid) || all[0] != os.Getpid() {
		t.Errorf("%d is not below %d: %v", cmd.Process.Pid, os.Getpid(), all)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed
}

func TestPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		if !Poll(t.Context(), time.Second, func() bool { n++; return n == 3 }) || n != 3 {
			t.Errorf("%d calls", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if Poll(ctx, time.Second, func() bool { return false }) {
			t.Error("true out of nothing")
		}
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("ended after %v", d)
		}
		Pause(ctx, time.Hour)
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("a pause in a context that has ended took %v", d-10*time.Second)
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	c := NewClock(time.Unix(100, 0))
	if got := c.Advance(time.Minute); !got.Equal(time.Unix(160, 0)) || !c.Now().Equal(got) {
		t.Errorf("after Advance: %v", got)
	}
	c.Set(time.Unix(50, 0))
	if !c.Now().Equal(time.Unix(50, 0)) {
		t.Errorf("after Set: %v", c.Now())
	}
}
