package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestFacts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	one, two := s.Facts("one"), s.Facts("two")
	for _, f := range []struct {
		to          Facts
		name, value string
	}{{one, "b", "2"}, {one, "a", "1"}, {one, "", "empty"}, {two, "a", "other"}, {one, "b", "3"}, {one, "gone", "x"}} {
		if err := f.to.Put(f.name, f.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.Delete("gone"); err != nil {
		t.Fatal(err)
	}
	if err := one.Put(strings.Repeat("x", maxFact+1), ""); err != ErrFactSize {
		t.Errorf("a name that is too long: %v", err)
	}
	// What is not synced survives a clean end all the same.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(Options{Dir: dir, Reserve: -1}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	one = s.Facts("one")
	var all []string
	if err := one.Each(func(name, value string) bool { all = append(all, name+"="+value); return true }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"=empty", "a=1", "b=3"}; !slices.Equal(all, want) {
		t.Errorf("%q, want %q", all, want)
	}
	if v, found, err := one.Get("gone"); found || err != nil {
		t.Errorf("%q %t %v", v, found, err)
	}
	if v, found, err := s.Facts("two").Get("a"); v != "other" || !found || err != nil {
		t.Errorf("%q %t %v", v, found, err)
	}
	n := 0
	if err := one.Each(func(string, string) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("stopped after %d: %v", n, err)
	}
}

// narrow is a file system with little room.
type narrow struct {
	vfs.FS
	free uint64
}

func (n *narrow) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: n.free, TotalBytes: 1 << 30}, nil
}

// TestSpace asks for one and a half times the largest message, and for what
// queue_minfree wants in any case.
func TestSpace(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{Dir: "spool", FS: &narrow{vfs.NewMem(), 3000}, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, tt := range []struct {
		limit, free int64
		want        error
	}{{0, 0, nil}, {2000, 0, nil}, {2001, 0, ErrFull}, {0, 2999, nil}, {0, 3000, ErrFull}, {1000, 3000, ErrFull}} {
		if got := s.CheckSpace(tt.limit, tt.free); !errors.Is(got, tt.want) {
			t.Errorf("limit %d, free %d: %v", tt.limit, tt.free, got)
		}
	}
}

// TestSpaceAge: with plenty of room the file system is not asked for each message.
func TestSpaceAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		room := &narrow{vfs.NewMem(), 10 << 30}
		s, err := Open(Options{Dir: "spool", FS: room, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		check := func(limit int64, want error) {
			t.Helper()
			if got := s.CheckSpace(limit, 0); !errors.Is(got, want) {
				t.Errorf("limit %d, %d free: %v", limit, room.free, got)
			}
		}
		check(1000, nil)
		room.free = 10
		check(1000, nil)
		check(5<<30, ErrFull) // what is known is not plenty for this
		room.free = 10 << 30
		check(1000, nil)
		room.free = 10
		time.Sleep(spaceAge)
		check(1000, ErrFull)
		room.free = 3000
		check(1000, nil)
		room.free = 10
		check(1000, ErrFull)
	})
}

// TestFactsSync keeps what was synced through a crash.
func TestFactsSync(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	s, err := Open(Options{Dir: "spool", FS: mem, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	f := s.Facts("room")
	if err := errors.Join(f.Put("a", "1"), f.Sync()); err != nil {
		t.Fatal(err)
	}
	clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	_ = s.Close()
	if s, err = Open(Options{Dir: "spool", FS: clone, Reserve: -1}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if value, found, err := s.Facts("room").Get("a"); value != "1" || !found || err != nil {
		t.Errorf("%q, %v, %v", value, found, err)
	}
}
