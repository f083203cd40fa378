package agent

import (
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSyncsTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	s := NewSyncs()
	s.plain = false
	var single atomic.Int32
	release := make(chan struct{})
	first := make(chan struct{})
	var wg sync.WaitGroup
	// The first one waits alone and holds up the rest, so that they are a batch.
	wg.Go(func() {
		if err := s.Sync(uint64(st.Dev), filepath.Join(dir, "x", "new"), func() error { close(first); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-first
	const n = 50
	for range n {
		wg.Go(func() {
			err := s.Sync(uint64(st.Dev), filepath.Join(dir, "x", "new"), func() error { single.Add(1); return nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	for { // until all wait
		s.mu.Lock()
		waiting := len(s.waiting)
		s.mu.Unlock()
		if waiting == n {
			break
		}
	}
	close(release)
	wg.Wait()
	if got := single.Load(); got != 0 {
		t.Errorf("%d were synced alone", got)
	}
}

func TestSyncsAlone(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	for name, s := range map[string]*Syncs{"none": nil, "old kernel": {plain: true}, "new": NewSyncs()} {
		for _, want := range []error{nil, broken} {
			if got := s.Sync(0, "/nowhere/new", func() error { return want }); got != want {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
	// A file system that this process has no way to: each by itself, with its own
	// answer.
	s := NewSyncs()
	s.plain = false
	files := make([]*unsynced, 5)
	for i := range files {
		err := error(nil)
		if i == 3 {
			err = broken
		}
		files[i] = &unsynced{device: 1 << 60, path: "/nowhere/new", alone: func() error { return err }, done: make(chan error, 1)}
	}
	s.device(1<<60, files)
	for i, u := range files {
		if got := <-u.done; (got != nil) != (i == 3) {
			t.Errorf("file %d: %v", i, got)
		}
	}
}

func TestKernelRelease(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]bool{
		"5.8.0": true, "5.7.19-generic": false, "6.1.0-13-amd64": true, "10.0": true, "5.10": true, "4.19": false, "": false, "x": false,
	} {
		if got := atLeast(release, 5, 8); got != want {
			t.Errorf("%s: %v", release, got)
		}
	}
}
