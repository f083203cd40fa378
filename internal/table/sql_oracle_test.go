//go:build oracle

package table

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/testkit/sqlkit"
)

// The tests in this file compare the answers of databases with those of Postfix's
// postmap -q for the same file and the same database.

// database is one kind of database under test.
type database struct {
	typ string
	// login is the beginning of each client configuration file.
	login string
	// run runs SQL.
	run func(sql string)
	// text writes a text as SQL, for any bytes.
	text func(s string) string
	// concat is an expression that joins two others.
	concat func(a, b string) string
}

// hexText is the text function of MySQL and SQLite.
func hexText(format string) func(s string) string {
	return func(s string) string { return fmt.Sprintf(format, hex.EncodeToString([]byte(s))) }
}

// bars joins with the operator of standard SQL.
func bars(a, b string) string { return a + " || " + b }

func sqliteDatabase(t *testing.T) *database {
	t.Helper()
	file := filepath.Join(t.TempDir(), "db")
	return &database{
		typ: "sqlite", login: "dbpath = " + file + "\n", text: hexText("CAST(x'%s' AS TEXT)"), concat: bars,
		run: func(sql string) {
			t.Helper()
			cmd := exec.Command("sqlite3", "-bail", file)
			cmd.Stdin = strings.NewReader(sql)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		},
	}
}

func mariaDatabase(t *testing.T, options ...string) (*database, *sqlkit.Server) {
	t.Helper()
	s := sqlkit.MariaDB(t, options...)
	return &database{
		typ: "mysql", login: "hosts = unix:" + s.Socket + "\nuser = mail\npassword = secret\ndbname = mail\n",
		run: func(sql string) { t.Helper(); s.Run(sql) }, text: hexText("_utf8mb4 x'%s'"),
		concat: func(a, b string) string { return "CONCAT(" + a + "," + b + ")" },
	}, s
}

// postgresDatabase has LATIN1 as its encoding, which is what Postfix before 3.8 does.
func postgresDatabase(t *testing.T, lines ...string) (*database, *sqlkit.Server) {
	t.Helper()
	s := sqlkit.PostgreSQL(t, lines...)
	login := fmt.Sprintf("hosts = inet:127.0.0.1:%d\nuser = mail\npassword = secret\ndbname = mail\nencoding = LATIN1\n", s.Port)
	return &database{
		typ: "pgsql", login: login,
		run: func(sql string) { t.Helper(); s.Run(sql) }, text: hexText(`convert_from('\x%s', 'UTF8')`), concat: bars,
	}, s
}

// oddKeys are keys that try to get out of their quotes.
var oddKeys = []string{
	"joe@example.com", "JOE@Example.COM", "joe+ext@example.com", "@example.com", "joe@", "@", "joe", "example.com", "a@b", "a@b.c.d.e.f.g.h.i.j",
	"o'brien@example.com", "''@example.com", "'", "\\", "\\'", "a\\@b.c", "a\\\\'@b.c", "\"a b\"@example.com", "\"", "\"\\\"\"@example.com",
	"%s", "%u@%d", "100%@example.com", "%%@b.c", "_@b.c", "a;b@c.d", "a--b@c.d", "/*x*/@c.d", "#@c.d", "`a`@c.d", "$1@c.d", "$$@c.d", "?@c.d", ":a@c.d", "{fn}@c.d",
	"x' or '1'='1", "x\\' or 1=1 -- @b.c", "é@example.com", "ÜBEL@example.com", "日本@例え.jp", "😀@example.com", "a@b@c.d", "a@.b.c", "a@b..c", "a@b.c.", "a@..", ".@.",
	"\x1a@b.c", "\x08@b.c", "a b@c.d", "NULL", "null@null", "0", "1", "q@h.example", "\\x00@b.c", "\\n@b.c", "\\%@b.c", "¿'@b.c", "¿\\'@b.c", "a@[192.0.2.1]", strings.Repeat("long", 60) + "@example.com",
}

// randomKeys returns keys of odd characters.
func randomKeys(r *rand.Rand, n int) []string {
	pieces := []string{"'", "''", "\\", "\"", "%", "_", "a", "B", "é", "😀", ".", "@", "+", "-", ";", "%s", "%d", "\x1a", "(", ")", "`", "x.y", "$", "/"}
	var keys []string
	for range n {
		var b strings.Builder
		for range 1 + r.IntN(8) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		keys = append(keys, b.String())
	}
	return keys
}

// queries are the settings of a table, without its login. NAME+NAME stands for the
// expression that joins two.
var queries = []string{
	"query = SELECT v FROM maps WHERE k = '%s'",
	"query = SELECT v, w FROM maps WHERE k = '%s' ORDER BY id",
	"query = SELECT v FROM maps WHERE k = '%u@%d'",
	"query = SELECT v FROM maps WHERE k LIKE '%u%%' ORDER BY id",
	"query = SELECT '<%s>' WHERE '%s' <> 'joe'",
	"query = SELECT '<%u>'",
	"query = SELECT '<%d>'",
	"query = SELECT '<%S|%U|%D>'",
	"query = SELECT '<%3.%2.%1>'",
	"query = SELECT '<%9>' UNION SELECT 'x' WHERE '%u' <> ''",
	"query = SELECT v FROM maps WHERE k = '%s' ORDER BY id\nresult_format = <%s:%u:%d>",
	"query = SELECT v FROM maps WHERE k = '%s' ORDER BY id\nresult_format = %u",
	"query = SELECT v FROM maps WHERE k = '%s' ORDER BY id\nresult_format = <%S|%U|%D|%1|%%>",
	"query = SELECT v FROM maps WHERE k = '%s' ORDER BY id\nresult_format = OK\nexpansion_limit = 50",
	"query = SELECT '%s'\ndomain = example.com, c.d  !b.c",
	"query = SELECT '%s'\ndomain = !b.c inline:{x.y=1 é=1 h.example=1}",
	"query = SELECT n FROM maps WHERE k = '%s'",
	"query = SELECT '%u', NULL WHERE '%s' <> 'a'",
	"table = maps\nselect_field = v\nwhere_field = k",
	"table = maps\nselect_field = v\nwhere_field = k\nadditional_conditions = and n > 3 ORDER BY id",
	"query = SELECT v FROM maps\n  WHERE k = '%s'\n# comment\n  AND n > 3\n\n  ORDER BY id;",
}

// fill makes the table that the queries ask.
func (d *database) fill(keys []string) {
	sql := "BEGIN;\nCREATE TABLE maps (id INTEGER PRIMARY KEY, k VARCHAR(300), v VARCHAR(500), w VARCHAR(500), n INTEGER);\n"
	values := []string{"plain", "user@host.example", "@host.example", "user@", "é@ü.example", "a,b c", "it's \\ \"odd\" %s", "x"}
	if d.typ == "pgsql" {
		values[4] = "e@u.example" // in LATIN1 it would be no UTF-8
	}
	for i, key := range keys {
		if i%5 == 4 {
			continue // not found
		}
		for j := range 1 + i%3 {
			w := "NULL"
			if j == 1 {
				w = d.text("second")
			}
			sql += fmt.Sprintf("INSERT INTO maps VALUES (%d, %s, %s, %s, %d);\n", 10*i+j, d.text(Fold(key, true)), d.text(values[(i+j)%len(values)]), w, i%9)
		}
	}
	d.run(sql + "COMMIT;\n")
}

// compare compares the answers to all queries.
func (d *database) compare(t *testing.T) {
	t.Helper()
	keys := append(append([]string{}, oddKeys...), randomKeys(rand.New(rand.NewPCG(7, 8)), 300)...)
	d.fill(keys)
	dir := oracleDir(t)
	for i, query := range queries {
		path := writeFile(t, dir, fmt.Sprintf("q%d.cf", i), d.login+query+"\n")
		agree(t, dir, d.typ+":"+path, keys)
	}
	path := writeFile(t, dir, "proxy.cf", d.login+queries[0]+"\n")
	tab, err := Open("proxy:"+d.typ+":"+path, Options{UTF8: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer(tab, "Joe@example.com"); got != "plain,user@host.example,@host.example" {
		t.Errorf("proxy: %q", got)
	}
}

func TestOracleSQLite(t *testing.T) {
	t.Parallel()
	sqliteDatabase(t).compare(t)
}

func TestOracleMySQL(t *testing.T) {
	t.Parallel()
	d, _ := mariaDatabase(t)
	d.compare(t)
}

func TestOraclePgSQL(t *testing.T) {
	t.Parallel()
	d, _ := postgresDatabase(t)
	d.compare(t)
}
