package table

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// follower is a table whose file a test changes.
type follower struct {
	t        *testing.T
	dir      string
	warnings []string
	table    Table
}

// newFollower opens a table of the file map in a directory of its own.
func newFollower(t *testing.T, typ string, file string, data []byte) *follower {
	t.Helper()
	f := &follower{t: t, dir: t.TempDir()}
	f.write(file, data)
	var err error
	if f.table, err = Open(typ+":map", f.options()); err != nil {
		t.Fatal(err)
	}
	return f
}

// options note warnings.
func (f *follower) options() Options {
	return Options{QueueDir: f.dir, Warn: func(format string, args ...any) {
		f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
	}}
}

// write changes a file in place, rename replaces it.
func (f *follower) write(name string, data []byte) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) rename(name string, data []byte) {
	f.t.Helper()
	f.write("new", data)
	if err := os.Rename(filepath.Join(f.dir, "new"), filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

// is checks the answer for a key; "-" is none.
func (f *follower) is(key, want, when string) {
	f.t.Helper()
	if got := answer(f.table, key); got != want && !(want == "error" && strings.HasPrefix(got, "error")) {
		f.t.Errorf("%s: %s: %q, want %q; warned %q", f.table, when, got, want, f.warnings)
	}
}

// later looks the key up now and then for a while, as a server does.
func (f *follower) later(key string, d time.Duration) {
	for ; d > 0; d -= time.Second {
		answer(f.table, key)
		time.Sleep(time.Second)
	}
}

// textTypes are the types that are read into memory, with a text whose answer
// for 192.0.2.1 is the given word.
func textTypes() map[string]func(word string) []byte {
	return map[string]func(string) []byte{
		"texthash": func(word string) []byte { return []byte("# text\n192.0.2.1 " + word + "\n") },
		"cidr":     func(word string) []byte { return []byte("192.0.2.0/24 " + word + "\n") },
		"regexp":   func(word string) []byte { return []byte("/^192\\./ " + word + "\n") },
		"pcre":     func(word string) []byte { return []byte("/^192\\./ " + word + "\n") },
	}
}

// TestFollowText checks that a text acts when it was left alone, and that half
// of one does not.
func TestFollowText(t *testing.T) {
	const key = "192.0.2.1"
	for typ, text := range textTypes() {
		synctest.Test(t, func(t *testing.T) {
			f := newFollower(t, typ, "map", text("one"))
			f.is(key, "one", "first")
			f.rename("map", text("two"))
			f.is(key, "one", "within the second")
			f.later(key, 3*time.Second)
			f.is(key, "two", "after a rename")
			f.write("map", text("three"))
			f.later(key, 3*time.Second)
			f.is(key, "three", "after a write")
			f.write("map", nil)
			f.later(key, 30*time.Second)
			f.is(key, "three", "empty for half a minute")
			f.write("map", bytes.TrimSuffix(text("four"), []byte("\n")))
			f.later(key, 30*time.Second)
			f.is(key, "three", "half a line for half a minute")
			f.later(key, 40*time.Second)
			f.is(key, "four", "half a line for a minute")
			if len(f.warnings) > 0 {
				t.Errorf("%s: warned %q", typ, f.warnings)
			}
			f.write("map", append(text("five"), "nonsense\n"...))
			f.later(key, 5*time.Second)
			f.is(key, "four", "with a bad line")
			if len(f.warnings) != 2 || !strings.Contains(f.warnings[1], "stays in use: it has lines that make no sense") {
				t.Errorf("%s: warned %q", typ, f.warnings)
			}
			f.write("map", text("six"))
			f.later(key, 3*time.Second)
			f.is(key, "six", "after a correction")
			if err := os.Remove(filepath.Join(f.dir, "map")); err != nil {
				t.Fatal(err)
			}
			f.later(key, 5*time.Second)
			f.is(key, "six", "without the file")
			if len(f.warnings) != 3 || !strings.HasSuffix(f.warnings[2], "No such file or directory") {
				t.Errorf("%s: warned %q", typ, f.warnings)
			}
			f.rename("map", text("seven"))
			f.later(key, 3*time.Second)
			f.is(key, "seven", "with the file again")
		})
	}
}

// TestSettled checks that a file that was left alone before anybody looked acts
// at once.
func TestSettled(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) syscall.Timespec { return syscall.NsecToTimespec(time.Now().Add(-d).UnixNano()) }
	tests := []struct {
		modified, changed time.Duration
		want              bool
	}{
		{time.Hour, time.Hour, true},
		{2 * time.Second, 2 * time.Second, true},
		{0, 0, false},
		{time.Hour, 0, false}, // cp -p
		{-time.Hour, -time.Hour, false},
	}
	for _, test := range tests {
		l := &live{}
		if got := l.settled(&fileState{modified: ago(test.modified), changed: ago(test.changed)}); got != test.want {
			t.Errorf("written %v and changed %v ago: %v", test.modified, test.changed, got)
		}
	}
}

// one is an indexed file with one entry.
func one(typ, value string) []byte { return formats()[typ]([]Entry{{Key: "key", Value: value}}) }

// TestFollowIndex checks that an indexed file acts at once, and that a bad one
// in its place does not.
func TestFollowIndex(t *testing.T) {
	for typ := range formats() {
		synctest.Test(t, func(t *testing.T) {
			row, _ := FindType(typ)
			file := "map" + row.suffix
			f := newFollower(t, typ, file, one(typ, "one"))
			f.is("key", "one", "first")
			f.rename(file, one(typ, "two"))
			f.is("key", "two", "after a rename")
			f.rename(file, []byte("nonsense"))
			f.is("key", "two", "after a rename of nonsense")
			f.later("key", 5*time.Second)
			f.is("key", "two", "some time after a rename of nonsense")
			if err := os.Remove(filepath.Join(f.dir, file)); err != nil {
				t.Fatal(err)
			}
			f.later("key", 5*time.Second)
			f.is("key", "two", "without the file")
			if len(f.warnings) != 2 {
				t.Errorf("%s: warned %q", typ, f.warnings)
			}
			f.rename(file, one(typ, "three"))
			f.later("key", time.Second)
			f.is("key", "three", "with the file again")
			f.rename(file, one(typ, "four"))
			f.is("key", "four", "after another rename")
			f.write(file, one(typ, "five")[:300])
			f.is("key", "error", "after it was cut off")
			f.later("key", 2*time.Second)
			f.is("key", "error", "while it is cut off")
			f.write(file, one(typ, "five"))
			f.later("key", 2*time.Second)
			f.is("key", "five", "after it was written in place")
			f.write(file, one(typ, "zzzz"))
			// The clock of the file system may not have gone on in between.
			soon := time.Now().Add(time.Hour)
			if err := os.Chtimes(filepath.Join(f.dir, file), soon, soon); err != nil {
				t.Fatal(err)
			}
			if typ != "lmdb" { // no writer of lmdb: does that
				f.is("key", "zzzz", "after it was written in place again")
			}
		})
	}
}

// TestFollowFirstIndex checks that a table whose source was read turns to the
// indexed file when there is one, and not back.
func TestFollowFirstIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(t, "hash", "map", []byte("key source\n"))
		f.is("key", "source", "first")
		f.rename("map.db", one("hash", "indexed"))
		f.later("key", 3*time.Second)
		f.is("key", "indexed", "after postmap")
		if err := os.Remove(filepath.Join(f.dir, "map.db")); err != nil {
			t.Fatal(err)
		}
		f.later("key", 3*time.Second)
		f.is("key", "indexed", "without the .db")
	})
}

// TestStandIn checks that a table that could not be opened is tried again.
func TestStandIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &follower{t: t, dir: t.TempDir()}
		var err error
		if f.table, err = NewSet(f.options()).Open("texthash:map"); err != nil {
			t.Fatal(err)
		}
		f.is("key", "error", "without the file")
		f.write("map", []byte("key value\n"))
		f.is("key", "error", "at once")
		time.Sleep(retryEvery)
		f.is("KEY", "value", "later")
		if len(f.warnings) != 1 {
			t.Errorf("warned %q", f.warnings)
		}
	})
}

// TestConcurrentChanges looks up keys while files are replaced, cut off and
// written in place, which must give one of the values or an error.
func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	for typ := range formats() {
		row, _ := FindType(typ)
		var big [2][]byte
		for i := range big {
			entries := sample(typ, 1500)
			for n := range entries {
				entries[n].Value = fmt.Sprint(i)
			}
			big[i] = formats()[typ](entries)
		}
		keys := sample(typ, 1500)
		f := newFollower(t, typ, "map"+row.suffix, big[0])
		var stop atomic.Bool
		var wg sync.WaitGroup
		var found, failed atomic.Int64
		for range 3 {
			wg.Go(func() {
				for i := 0; !stop.Load(); i = (i + 7) % 1500 {
					e := keys[i]
					value, ok, err := f.table.Lookup(context.Background(), e.Key)
					switch {
					case err != nil:
						failed.Add(1)
					case !ok || value != "0" && value != "1":
						t.Errorf("%s: %.20q gives %q, %v", typ, e.Key, value, ok)
						return
					default:
						found.Add(1)
					}
				}
			})
		}
		path := filepath.Join(f.dir, "map"+row.suffix)
		for round := range 40 {
			switch round % 4 {
			case 0, 1:
				f.rename("map"+row.suffix, big[round%2])
			case 2:
				if err := os.Truncate(path, int64(len(big[0])/(round+2))); err != nil {
					t.Error(err)
				}
			case 3:
				f.rename("map"+row.suffix, big[1])
			}
			for before := found.Load() + failed.Load(); found.Load()+failed.Load() < before+20; {
				time.Sleep(time.Millisecond)
			}
		}
		stop.Store(true)
		wg.Wait()
		t.Logf("%s: %d found, %d errors", typ, found.Load(), failed.Load())
		if found.Load() == 0 {
			t.Errorf("%s: nothing was ever found", typ)
		}
	}
}

// TestCutOff cuts files off in place at any byte: what was read from a page that is
// half gone is no answer.
func TestCutOff(t *testing.T) {
	t.Parallel()
	for typ, format := range formats() {
		row, _ := FindType(typ)
		keys := sample(typ, 300)
		whole := format(sample(typ, 300))
		f := newFollower(t, typ, "map"+row.suffix, whole)
		for cut := len(whole) - 1; cut > 0; cut -= 1 + len(whole)/61 {
			f.rename("map"+row.suffix, whole)
			tab, err := Open(typ+":map", Options{QueueDir: f.dir})
			if err != nil {
				t.Fatalf("%s: %v", typ, err)
			}
			if err := os.Truncate(filepath.Join(f.dir, "map"+row.suffix), int64(cut)); err != nil {
				t.Fatal(err)
			}
			// A lookup that has begun before the cut would end now.
			if index := tab.(*folding).inner.(*live).now.Load().index; index.intact() || index.whole() {
				t.Errorf("%s cut to %d of %d counts as whole", typ, cut, len(whole))
			}
			for i := 0; i < len(keys); i += 11 {
				value, ok, err := tab.Lookup(context.Background(), keys[i].Key)
				if err == nil && (!ok || value != keys[i].Value) {
					t.Errorf("%s cut to %d of %d: %.20q gives %q, %v", typ, cut, len(whole), keys[i].Key, value, ok)
				}
			}
			_ = tab.Close()
		}
	}
}

// TestOpenReadsLittle opens tables in files of a hundred gigabytes, nearly all
// of them a hole, which would take for ever if a table were read.
func TestOpenReadsLittle(t *testing.T) {
	for typ := range formats() {
		spec := bigTable(t, typ, 20_000)
		path := IndexName(typ, strings.TrimPrefix(spec, typ+":"))
		if err := os.Truncate(path, 100<<30); err != nil {
			t.Fatal(err)
		}
		before := heap()
		tab, err := Open(spec, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if grown := int64(heap() - before); grown > 256<<10 {
			t.Errorf("%s: opening took %d bytes of the heap", typ, grown)
		}
		for i := 0; i < 20_000; i += 37 {
			if got := answer(tab, bigKey(i)); !strings.HasPrefix(got, "example") {
				t.Errorf("%s: %s gives %q", typ, bigKey(i), got)
			}
		}
		if got := answer(tab, "nobody"); got != "-" {
			t.Errorf("%s: nobody gives %q", typ, got)
		}
	}
}

// TestOpenHook checks that every file of a table is opened by Options.OpenFile.
func TestOpenHook(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	for name, data := range map[string][]byte{"t": []byte("/./ x\n"), "h.db": one("hash", "x"), "b.db": one("btree", "x"), "l.lmdb": one("lmdb", "x"), "c.cdb": one("cdb", "x")} {
		put(t, dir, name, data, time.Hour)
	}
	if err := os.Mkdir(secret, 0o700); err != nil {
		t.Fatal(err)
	}
	for spec, file := range map[string]string{
		"texthash:t": "t", "cidr:t": "t", "pcre:t": "t", "regexp:t": "t", "hash:h": "h.db", "btree:b": "b.db", "lmdb:l": "l.lmdb", "cdb:c": "c.cdb",
		"proxy:hash:h": "h.db", "pipemap:{hash:h}": "h.db",
	} {
		var asked []string
		o := Options{QueueDir: secret, OpenFile: func(path string) (*os.File, error) {
			asked = append(asked, filepath.Base(path))
			if filepath.Dir(path) != secret {
				return nil, os.ErrNotExist
			}
			return os.Open(filepath.Join(dir, filepath.Base(path)))
		}}
		if _, err := Open(spec, o); err != nil || len(asked) == 0 || asked[0] != file {
			t.Errorf("%s: asked for %q: %v", spec, asked, err)
		}
	}
}
