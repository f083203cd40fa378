package main

import (
	"testing"
	"time"

	"postroad/internal/control"
	"postroad/internal/limits"
	"postroad/internal/queue"
)

// TestLimitsAreKept ends a server and starts another one on its queue: it goes on
// with the counters, and commands see and reset them.
func TestLimitsAreKept(t *testing.T) {
	t.Parallel()
	dir, windows := t.TempDir(), []limits.Window{{Max: 3, Per: time.Hour}}
	life := func(f func(s *server)) {
		store, err := queue.Open(queue.Options{Dir: dir, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		s := &server{limits: limits.New()}
		if err := s.limits.Load(store.Facts("limits")); err != nil {
			t.Error(err)
		}
		f(s)
		if err := s.limits.Save(store.Facts("limits")); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	life(func(s *server) {
		s.limits.Ask("out", "alice", windows, 1, true)
		s.limits.Ask("out", "bob", windows, 3, true)
	})
	life(func(s *server) {
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
	life(func(s *server) {
		if list := s.limits.List("", ""); len(list) != 1 || list[0].Key != "alice" {
			t.Errorf("%+v", list)
		}
	})
}
