package table

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"postroad/internal/testkit/sqlkit"

	_ "modernc.org/sqlite"
)

// sqliteWith makes a database file by statements.
func sqliteWith(t testing.TB, statements ...string) string {
	t.Helper()
	path := t.TempDir() + "/db"
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestQuoting(t *testing.T) {
	t.Parallel()
	const odd = "a'b\\c\"d\ne\rf\x1ag%_é"
	tests := []struct {
		quote quoter
		want  string
	}{
		{quoteMySQL, `a\'b\\c\"d\ne\rf\Zg%_é`},
		{doubleQuotes, "a''b\\c\"d\ne\rf\x1ag%_é"},
		{quotePgSQL, "a''b\\\\c\"d\ne\rf\x1ag%_é"},
	}
	for _, test := range tests {
		var b strings.Builder
		test.quote(&b, odd)
		if b.String() != test.want {
			t.Errorf("%q, want %q", b.String(), test.want)
		}
	}
}

// FuzzQuoting takes the quoting back as the databases do: the text must come out, and
// no quote may end it before its end.
func FuzzQuoting(f *testing.F) {
	f.Add("it's \\' \\")
	f.Fuzz(func(t *testing.T, s string) {
		for i, quote := range []quoter{quoteMySQL, doubleQuotes, quotePgSQL} {
			var b, back strings.Builder
			quote(&b, s)
			text := b.String()
			for j := 0; j < len(text); j++ {
				switch c := text[j]; {
				case c == '\\' && i != 1, c == '\'':
					if j++; j == len(text) || c == '\'' && text[j] != '\'' {
						t.Fatalf("%q is open in %q", s, text)
					}
					back.WriteString(strings.NewReplacer("n", "\n", "r", "\r", "Z", "\x1a").Replace(text[j : j+1]))
				default:
					back.WriteByte(c)
				}
			}
			if back.String() != s {
				t.Fatalf("%q becomes %q", s, text)
			}
		}
	})
}

// TestSQLSettings has the mistakes of client configuration files.
func TestSQLSettings(t *testing.T) {
	t.Parallel()
	tests := []struct{ typ, cf, err string }{
		{"mysql", "query=x", "bad string length 0 < 1: dbname = "},
		{"mysql", "dbname=x", "bad string length 0 < 1: table = "},
		{"mysql", "dbname=x\ntable=t", "bad string length 0 < 1: select_field = "},
		{"mysql", "dbname=x\ntable=t\nselect_field=s", "bad string length 0 < 1: where_field = "},
		{"mysql", "dbname=x\nquery=%s\nretry_interval=0", "invalid retry_interval parameter value 0 < 1"},
		{"mysql", "dbname=x\nquery=%s\nidle_interval=1m", "bad numerical configuration: idle_interval = 1m"},
		{"mysql", "dbname=x\nquery=%s\nrequire_result_set=1", "bad boolean configuration: require_result_set = 1"},
		{"mysql", "dbname=x\nquery=%s\ncharset=sjis", "use utf8mb4"},
		{"mysql", "dbname=x\nquery=%s\noption_file=/etc/my.cnf", "option_file is not supported: write its settings as hosts"},
		{"mysql", "dbname=x\nquery=%s\noption_group=mail", "option_group is not supported"},
		{"mysql", "dbname=x\nquery=%s\noption_group=client", ""},
		{"mysql", "dbname=x\nquery=%s\noption_group=", ""},
		{"mysql", "dbname=x\nquery=%s\nhosts=h:nosuch", "hosts: unknown service: nosuch/tcp"},
		{"mysql", "dbname=x\nquery=%s\nhosts=inet:h:mysql unix:/x, localhost:3307", ""},
		{"mysql", "dbname=x\nquery=%s\ntls_CAfile=/nonexistent", "certificates /nonexistent: No such file or directory"},
		{"pgsql", "query=%s", "host target 'localhost' requires dbname setting"},
		{"pgsql", "query=%s\nhosts=postgresql://u:p@h/d", ""},
		{"pgsql", "query=%s\nhosts=postgresql://u:p@h/d h", "host target 'h' requires dbname setting"},
		{"pgsql", "query=%s\nhosts=postgresql://u:p@h:x/d", "connection URI: bad connection parameters"},
		{"pgsql", "query=%s\nhosts=postgresql://u:p@h/d?sslcrl=/x", "the connection parameter sslcrl is not supported"},
		{"pgsql", "dbname=d\nquery=%s\nencoding=BIG5", "use UTF8"},
		{"pgsql", "dbname=d\nselect_function=f", ""},
		{"pgsql", "dbname=d\nhosts=h:nosuch\nselect_function=f", "unknown service: nosuch/tcp"},
		{"sqlite", "query=%s", "bad string length 0 < 1: dbpath = "},
		{"sqlite", "dbpath=x", "bad string length 0 < 1: table = "},
		{"sqlite", "dbpath=/nonexistent\nquery=%s", ""}, // an error of lookups
	}
	for _, test := range tests {
		tab, err := Open(test.typ+":"+clientFile(t, test.cf), Options{})
		switch {
		case test.err == "" && err != nil:
			t.Errorf("%s %q: %v", test.typ, test.cf, err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s %q: error %v, want %q", test.typ, test.cf, err, test.err)
		case err == nil:
			if tab.Kind() != Fixed {
				t.Errorf("%s is not fixed", tab)
			}
			tab.Close()
		}
	}
}

// TestSQLiteWarning has the queries of which SQLite may take a key for a name.
func TestSQLiteWarning(t *testing.T) {
	t.Parallel()
	tests := []struct{ query, want string }{
		{`SELECT v FROM t WHERE k = '%s' AND d = '%d' OR x LIKE '%%'`, ""},
		{`SELECT v FROM t WHERE k = "%s"`, `without the recommended '' quotes`},
		{`SELECT v FROM t WHERE k = %u`, `contains >%u<`},
		{`SELECT '%s', "'", '%u', %1`, `contains >%1<`},
		{`SELECT 1 %% 2 WHERE '%s' <> ''`, ""},
	}
	for _, test := range tests {
		got := ""
		tab, err := Open("sqlite:"+clientFile(t, "dbpath=x", "query="+test.query), Options{Warn: func(format string, args ...any) { got += fmt.Sprintf(format, args...) }})
		if err != nil {
			t.Fatal(err)
		}
		tab.Close()
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", test.query, got, test.want)
		}
	}
}

// TestSQLShared has tables with the same login share their connections, and a table in
// the domain list of another.
func TestSQLShared(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	queries := map[string]int{}
	host := sqlkit.FakeMySQL(t, func(query string) sqlkit.Answer {
		mu.Lock()
		defer mu.Unlock()
		queries[query]++
		if query == "domain a.example" || query == "user joe" {
			return sqlkit.Answer{Rows: []string{"1", "2"}}
		}
		return sqlkit.Answer{}
	})
	set := NewSet(Options{})
	defer set.Close()
	login := "hosts=" + host + "\ndbname=x"
	inner := "mysql:" + clientFile(t, login, "query=domain %s")
	outer, err := set.Open("proxy:mysql:" + clientFile(t, login, "query=user %u", "domain="+inner))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Open(inner); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"joe@a.example": "1,2", "joe@b.example": "", "joe": "", "ann@a.example": ""} {
		if got, _, err := outer.Lookup(context.Background(), key); got != want || err != nil {
			t.Errorf("%s: %q %v, want %q", key, got, err, want)
		}
	}
	if queries["user joe"] != 1 || queries["domain a.example"] != 2 || queries["domain b.example"] != 1 {
		t.Errorf("%v", queries)
	}
	if n := len(set.options.pools.open); n != 1 {
		t.Errorf("%d pools for one login", n)
	}
	// A table in its own domain list is a mistake, and no endless work.
	self := clientFile(t, login)
	loop := clientFile(t, login, "query=%s", "domain=mysql:"+self)
	shareFile(t, self, loop)
	tab, err := Open("mysql:"+loop, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	if _, ok, err := tab.Lookup(context.Background(), "joe@a.example"); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

// TestSQLiteBesidePCRE runs both translated C libraries at once: they share one libc,
// whose next version must serve both.
func TestSQLiteBesidePCRE(t *testing.T) {
	t.Parallel()
	path := sqliteWith(t, "CREATE TABLE t (k TEXT, v TEXT)", "INSERT INTO t VALUES ('joe@example.com', 'Jo')")
	lite, err := Open("sqlite:"+clientFile(t, "dbpath="+path, "query=SELECT v FROM t WHERE k='%s'"), Options{UTF8: true})
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	pcre, err := Open("pcre:{{/^(j)(?=oe)(.*)@/ $2$1}}", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				a, _, err := lite.Lookup(context.Background(), "joe@example.com")
				b, _, other := pcre.Lookup(context.Background(), "joe@example.com")
				if a != "Jo" || b != "oej" || err != nil || other != nil {
					t.Errorf("%q %v, %q %v", a, err, b, other)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkSQL measures one lookup, and what many at once do. The servers of mysql and
// pgsql are the fakes, so that the client's part is what is measured.
func BenchmarkSQL(b *testing.B) {
	values := map[string]string{"joe@example.com": "joe"}
	path := sqliteWith(b, "CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES ('joe@example.com', 'joe')")
	specs := []string{
		"sqlite:" + clientFile(b, "dbpath="+path, "query=SELECT v FROM t WHERE k='%s'"),
		"mysql:" + clientFile(b, "hosts="+sqlkit.FakeMySQL(b, sqlkit.Lookup(values, true)), "dbname=x", "query='%s'"),
		"pgsql:" + clientFile(b, "hosts="+sqlkit.FakePgSQL(b, sqlkit.Lookup(values, false)), "dbname=x", "query='%s'"),
	}
	for _, spec := range specs {
		tab, err := Open(spec, Options{UTF8: true})
		if err != nil {
			b.Fatal(err)
		}
		defer tab.Close()
		typ, _ := SplitSpec(spec)
		look := func(b *testing.B) {
			if _, ok, err := tab.Lookup(context.Background(), "joe@example.com"); !ok || err != nil {
				b.Error(ok, err)
			}
		}
		b.Run(typ+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				look(b)
			}
		})
		b.Run(typ+"/many", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					look(b)
				}
			})
		})
	}
}
