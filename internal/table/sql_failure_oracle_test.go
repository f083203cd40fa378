//go:build oracle

package table

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"postroad/internal/testkit/sqlkit"
)

// oneRow is the data of the failure tests.
const oneRow = "CREATE TABLE maps (k VARCHAR(300), v VARCHAR(500)); INSERT INTO maps VALUES ('joe@example.com', 'joe');"

// watched is a table whose answers are checked: the right one, or an error in time.
type watched struct {
	Table
	t            *testing.T
	mu           sync.Mutex
	hits, errors int
	slowest      time.Duration
	warnings     []string
}

// watch opens a table.
func watch(t *testing.T, spec string) *watched {
	t.Helper()
	w := &watched{t: t}
	var err error
	w.Table, err = Open(spec, Options{UTF8: true, Warn: func(format string, args ...any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.warnings = append(w.warnings, fmt.Sprintf(format, args...))
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		for _, text := range w.warnings {
			if strings.Contains(text, "secret") {
				t.Errorf("the password is in %q", text)
			}
		}
	})
	return w
}

// ask looks the key up once and tells whether it was found.
func (w *watched) ask() bool {
	start := time.Now()
	value, ok, err := w.Lookup(context.Background(), "joe@example.com")
	took := time.Since(start)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slowest = max(w.slowest, took)
	switch {
	case err != nil:
		w.errors++
		if strings.Contains(err.Error(), "secret") {
			w.t.Errorf("the password is in %q", err)
		}
	case !ok || value != "joe":
		w.t.Errorf("%s: %q %v: a failure became an answer", w, value, ok)
	default:
		w.hits++
		return true
	}
	return false
}

// comesBack waits until the table answers again.
func (w *watched) comesBack() {
	w.t.Helper()
	for start := time.Now(); !w.ask(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			w.t.Fatalf("%s does not come back", w)
		}
	}
}

// survive kills, starts, stops and continues the server under lookups.
func survive(t *testing.T, d *database, s *sqlkit.Server) {
	t.Helper()
	d.run(oneRow)
	path := writeFile(t, t.TempDir(), "x.cf", d.login+"query = SELECT v FROM maps WHERE k = '%s'\nretry_interval = 1\n")
	w := watch(t, d.typ+":"+path)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.ask()
				}
			}
		})
	}
	for range 3 {
		w.comesBack()
		s.Kill()
		if w.ask() {
			t.Error("an answer of a dead server")
		}
		s.Start()
		w.comesBack()
	}
	s.Pause()
	if w.ask() {
		t.Error("an answer of a stopped server")
	}
	if w.ask() {
		t.Error("an answer of a stopped server")
	}
	s.Resume()
	w.comesBack()
	close(stop)
	wg.Wait()
	if w.slowest > lookupTime+time.Second {
		t.Errorf("a lookup took %v", w.slowest)
	}
	t.Logf("%d answers, %d errors, the slowest lookup took %v; first warnings %q", w.hits, w.errors, w.slowest, w.warnings[:min(3, len(w.warnings))])
}

func TestOracleMySQLFailures(t *testing.T) {
	t.Parallel()
	d, s := mariaDatabase(t)
	survive(t, d, s)
}

func TestOraclePgSQLFailures(t *testing.T) {
	t.Parallel()
	d, s := postgresDatabase(t)
	survive(t, d, s)
}

// TestOracleSQLMute asks a server that accepts connections and says nothing, beside one
// that is well.
func TestOracleSQLMute(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"mysql", "pgsql"} {
		path := writeFile(t, t.TempDir(), "x.cf", "hosts = "+sqlkit.Mute(t)+"\nuser = mail\npassword = secret\ndbname = mail\nquery = SELECT '%s'\n")
		w := watch(t, typ+":"+path)
		start := time.Now()
		if w.ask() || time.Since(start) > 2*connectTime {
			t.Errorf("%s: %v", typ, time.Since(start))
		}
		if start = time.Now(); w.ask() || time.Since(start) > time.Second {
			t.Errorf("%s: the second lookup took %v", typ, time.Since(start))
		}
	}
	well := sqlkit.FakeMySQL(t, sqlkit.Lookup(map[string]string{"joe@example.com": "joe"}, true))
	path := writeFile(t, t.TempDir(), "x.cf", "hosts = "+sqlkit.Mute(t)+" "+well+"\ndbname = mail\nquery = '%s'\n")
	w := watch(t, "mysql:"+path)
	for range 20 {
		if !w.ask() {
			t.Error("no failover")
		}
	}
	if w.slowest > 2*connectTime {
		t.Errorf("failover took %v", w.slowest)
	}
}

// TestOracleSQLiteChanges changes, replaces, breaks and removes the file.
func TestOracleSQLiteChanges(t *testing.T) {
	t.Parallel()
	d := sqliteDatabase(t)
	d.run(oneRow)
	path := writeFile(t, t.TempDir(), "x.cf", d.login+"query = SELECT v FROM maps WHERE k = '%s'\n")
	tab, err := Open("sqlite:"+path, Options{UTF8: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	expect := func(want string) {
		t.Helper()
		value, ok, err := tab.Lookup(context.Background(), "joe@example.com")
		switch {
		case want == "error":
			if err == nil || ok {
				t.Errorf("%q %v, want an error", value, ok)
			}
		case err != nil || value != want || ok != (want != ""):
			t.Errorf("%q %v %v, want %q", value, ok, err, want)
		}
	}
	file := strings.TrimSpace(strings.TrimPrefix(d.login, "dbpath = "))
	expect("joe")
	d.run("UPDATE maps SET v = 'other'")
	expect("other")
	d.run("DELETE FROM maps")
	expect("")
	shell(t, "mv "+file+" "+file+".old")
	expect("error")
	d.run(oneRow)
	expect("joe")
	// A writer that holds the file makes the lookup wait, not fail.
	done := make(chan struct{})
	// goroutine: ends with the shell's second.
	go func() {
		defer close(done)
		d.run("BEGIN EXCLUSIVE; UPDATE maps SET v = 'late';\n.shell sleep 1\nCOMMIT;")
	}()
	time.Sleep(300 * time.Millisecond)
	if value, ok, err := tab.Lookup(context.Background(), "joe@example.com"); !ok || err != nil {
		t.Errorf("%q %v %v", value, ok, err)
	}
	<-done
	expect("late")
	d.run("PRAGMA journal_mode=WAL; UPDATE maps SET v = 'wal'")
	expect("wal")
	shell(t, "rm -f "+file+"-wal "+file+"-shm; printf 'this is no database, however long it is made to be' > "+file)
	expect("error")
	// A query that does not end is ended.
	shell(t, "rm "+file)
	d.run(oneRow)
	path = writeFile(t, t.TempDir(), "y.cf", d.login+"query = WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c WHERE '%s' <> ''\n")
	start := time.Now()
	slow, err := Open("sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, ok, err := slow.Lookup(context.Background(), "a"); err == nil || ok || time.Since(start) > queryTime+2*time.Second {
		t.Errorf("%v %v after %v", ok, err, time.Since(start))
	}
}
