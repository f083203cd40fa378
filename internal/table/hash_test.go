package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// put writes a file of a given age and returns its path.
func put(t *testing.T, dir, name string, data []byte, age time.Duration) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-age)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHashRules walks the rules of the package comment.
func TestHashRules(t *testing.T) {
	t.Parallel()
	db := formats()["hash"]([]Entry{{Key: "key", Value: "indexed"}})
	const text, alias = "key source\n", "# aliases\nkey: source, other\nroot: key\nlist: :include:/a/b\n"
	tests := []struct {
		name          string
		db            []byte
		dbAge         time.Duration
		source        string
		sourceAge     time.Duration
		want, warning string
		fails         bool
	}{
		{name: "db alone", db: db, want: "indexed"},
		{name: "db newer", db: db, source: text, sourceAge: time.Hour, want: "indexed"},
		{name: "source newer", db: db, dbAge: 2 * time.Hour, source: text, sourceAge: time.Hour, want: "indexed", warning: "database map.db is older than source file map"},
		{name: "source just edited", db: db, dbAge: 2 * time.Hour, source: text, want: "indexed"},
		{name: "source alone", source: text, want: "source", warning: `hash:map: there is no map.db; reading the source file instead ("postmap hash:map" makes it)`},
		{name: "aliases alone", source: alias, want: "source, other", warning: `hash:map: there is no map.db; reading the source file instead ("postalias hash:map" makes it)`},
		{name: "nothing", fails: true},
		{name: "damaged db", db: []byte("not a database"), source: text, fails: true},
		{name: "empty db", db: []byte{}, source: text, fails: true},
		{name: "db of the other type", db: formats()["btree"](nil), source: text, fails: true},
	}
	for _, test := range tests {
		dir := t.TempDir()
		if test.db != nil {
			put(t, dir, "map.db", test.db, test.dbAge)
		}
		if test.source != "" {
			put(t, dir, "map", []byte(test.source), test.sourceAge)
		}
		var warnings []string
		tab, err := Open("hash:map", Options{QueueDir: dir, Warn: func(format string, args ...any) {
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}})
		if test.fails {
			if err == nil || !strings.HasPrefix(err.Error(), "open database map.db: ") {
				t.Errorf("%s: error %v", test.name, err)
			}
			if test.db == nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v does not say that the file is missing", test.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := answer(tab, "key"); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if got := strings.Join(warnings, "; "); got != test.warning {
			t.Errorf("%s: warned %q, want %q", test.name, got, test.warning)
		}
	}
}

func TestIsAliasText(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		"":                                   false,
		"a b\nc d\n":                         false,
		"a: b\nc: d\n":                       true,
		"root:joe\n":                         true,
		"\"a b\": c\n":                       true,
		"x@y smtp:[z]\na.b relay:\n":         false,
		"2001:db8::1 OK\n":                   false,
		"example.com error:5.1.1 no\n":       false,
		"Postmaster : root\nroot: a\nb: c\n": true,
	}
	for text, want := range tests {
		if isAliasText(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

// TestWriteFile checks that writers exclude each other and that readers see
// the old table or the new one.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	for typ := range formats() {
		path := filepath.Join(t.TempDir(), "map")
		edit(t, typ, path, func(old []Entry) []Entry { return []Entry{{Key: "count", Value: "0"}} })
		var wg sync.WaitGroup
		const writers, rounds = 4, 15
		for range writers {
			wg.Go(func() {
				for range rounds {
					edit(t, typ, path, func(old []Entry) []Entry {
						if len(old) != 1 {
							t.Errorf("%d entries", len(old))
							return old
						}
						var n int
						fmt.Sscan(old[0].Value, &n)
						return []Entry{{Key: "count", Value: fmt.Sprint(n + 1)}}
					})
				}
			})
			wg.Go(func() {
				for range rounds {
					tab, err := Open(typ+":"+path, Options{})
					if err != nil {
						t.Error(err)
						return
					}
					if answer(tab, "count") == "-" {
						t.Error("a reader found half a table")
					}
				}
			})
		}
		wg.Wait()
		tab, err := Open(typ+":"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := answer(tab, "count"); got != fmt.Sprint(writers*rounds) {
			t.Errorf("%s: %s updates survived, want %d", typ, got, writers*rounds)
		}
		left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
		if err != nil || len(left) != 1 {
			t.Errorf("files left: %v, %v", left, err)
		}
	}
}

// edit changes a table file.
func edit(t *testing.T, typ, path string, change func([]Entry) []Entry) {
	t.Helper()
	f, err := EditFile(typ, path)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	old, err := f.Entries()
	if err == nil {
		err = f.Write(change(old), WriteOptions{Mode: 0o640})
	}
	if err != nil {
		t.Error(err)
	}
}

// TestLockReturned checks that a closed file is not locked, whatever refers to
// its mapping still.
func TestLockReturned(t *testing.T) {
	dir := t.TempDir()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for typ := range formats() {
		for range 3 {
			path := filepath.Join(dir, typ)
			edit(t, typ, path, func(old []Entry) []Entry { return []Entry{{Key: "key", Value: "x"}} })
			f, err := EditFile(typ, path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Entries(); err != nil {
				t.Fatal(err)
			}
			f.Close()
			lock, err := os.Open(IndexName(typ, path))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
				t.Errorf("%s: %v", typ, err)
			}
			lock.Close()
		}
	}
}

func TestEditFileErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for typ, want := range map[string]string{
		"nosuch":   "unsupported map type: nosuch",
		"texthash": "no 'map create' support for this type: texthash",
		"sdbm":     "unsupported map type: sdbm; use lmdb, cdb or hash instead",
	} {
		if _, err := EditFile(typ, filepath.Join(dir, "map")); err == nil || err.Error() != want {
			t.Errorf("%s: %v", typ, err)
		}
		if Writable(typ) {
			t.Errorf("%s is writable", typ)
		}
	}
	path := put(t, dir, "bad", nil, 0)
	put(t, dir, "bad.db", []byte("nonsense"), 0)
	f, err := EditFile("hash", path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Entries(); err == nil {
		t.Error("a damaged file has entries")
	}
	fail, err := EditFile("fail", "x")
	if err != nil || fail.Write(nil, WriteOptions{}) == nil {
		t.Errorf("fail: %v, or it can be written", err)
	}
	g, err := EditFile("hash", filepath.Join(dir, "no", "such", "dir"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Write(nil, WriteOptions{}); err == nil || !strings.Contains(err.Error(), "No such file or directory") {
		t.Errorf("missing directory: %v", err)
	}
}

func TestUserDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "passwd", []byte("root:x:0:0:root:/root:/bin/sh\n# comment:x\n+nis:x\njoe:x:1:1:Joe:/home/joe:/bin/sh\njoe:x:2:2:second:/:\nshort\n"), time.Hour)
	put(t, dir, "group", []byte("mail:x:8:joe,ann\n"), time.Hour)
	getent := put(t, dir, "getent", []byte(`#!/bin/sh
case "$1 $3" in
"passwd ann") echo "ann:*:5:5:Ann:/home/ann:/bin/sh";;
"passwd 5") echo "ann:*:5:5:Ann:/home/ann:/bin/sh";;
"passwd down") echo "cannot reach the server" >&2; exit 3;;
*) exit 2;;
esac
`), 0)
	if err := os.Chmod(getent, 0o700); err != nil {
		t.Fatal(err)
	}
	local, err := openUserDB("passwd.byname", dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "nsswitch.conf", []byte("group: files\npasswd: files systemd sss # comment\n"), 0)
	wide, err := openUserDB("passwd.byname", dir)
	if err != nil {
		t.Fatal(err)
	}
	wide.(*userDB).command = getent
	const joe, ann = "joe:x:1:1:Joe:/home/joe:/bin/sh", "ann:*:5:5:Ann:/home/ann:/bin/sh"
	for key, want := range map[string]string{"joe": joe, "root": "root:x:0:0:root:/root:/bin/sh", "ann": ann, "5": "-", "none": "-", "-h": "-", "a:b": "-", "+nis": "-", "down": "error"} {
		if got := answer(wide, key); got != want && (want != "error" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
		if want == ann || want == "error" {
			want = "-"
		}
		if got := answer(local, key); got != want {
			t.Errorf("without sss: %s: %q, want %q", key, got, want)
		}
	}
	put(t, dir, "passwd", []byte("new:x:3:3::/:\n"), time.Minute)
	if got := answer(local, "new") + answer(local, "joe"); got != "new:x:3:3::/:-" {
		t.Errorf("after a change of the file: %q", got)
	}
	if err := os.Remove(filepath.Join(dir, "passwd")); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := local.Lookup(context.Background(), "new"); ok || err == nil {
		t.Errorf("without the file: %v, %v", ok, err)
	}
	group, err := openUserDB("group.byname", dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(group, "mail"); got != "mail:x:8:joe,ann" || group.(*userDB).external {
		t.Errorf("group: %q", got)
	}
}
