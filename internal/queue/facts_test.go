package queue

import (
	"slices"
	"strings"
	"testing"
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
