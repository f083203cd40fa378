package table_test

import (
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/table"
	"postroad/internal/table/tabletest"
	"postroad/internal/testkit/sqlkit"

	_ "modernc.org/sqlite"
)

// fixed is what every table made of testdata/fixed must answer.
var fixed = map[string]string{
	"joe@example.com":         "joe",
	`"two words"@example.com`: "quoted",
	"@example.org":            "catch all,   continued",
	"übel@example.com":        "Grüße",
	"long":                    strings.Repeat("a long value ", 500) + "end",
}

// missing are keys that testdata/fixed does not have.
var missing = []string{"joe", "example.com", "joe@example.co", "joe@example.com.", "two words@example.com", "lon", "long ", "long\x00"}

// cases has at least one case per table type; a type without one fails the test.
func cases(t *testing.T) []tabletest.Case {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text, err := os.ReadFile("testdata/fixed")
	if err != nil {
		t.Fatal(err)
	}
	source := write("source", string(text))
	nets := write("nets", "192.0.2.0/24 lab\n2001:db8::/32 six\n198.51.100.7 host\n")
	rules := write("rules", "/^joe@(.*)$/ at $1\nif /^q/\n!/y/ no y\nendif\n")
	patterns := map[string]string{"joe@h": "at h", "qa": "no y"}
	other := []string{"qy", "y", "@joe"}
	return []tabletest.Case{
		{Spec: "hash:testdata/hash", Found: fixed, Missing: missing},
		{Spec: "hash:testdata/hash-one", Found: map[string]string{"b.c": "x"}, Missing: missing},
		{Spec: "btree:testdata/btree", Found: fixed, Missing: missing},
		{Spec: "lmdb:testdata/lmdb", Found: fixed, Missing: missing},
		{Spec: "cdb:testdata/cdb", Found: fixed, Missing: missing},
		{Spec: "lmdb:" + indexed(t, "lmdb", source), Found: fixed, Missing: missing},
		{Spec: "cdb:" + indexed(t, "cdb", source), Found: fixed, Missing: missing},
		{Spec: "internal:x", Missing: missing, Empty: true},
		{Spec: "hash:" + source, Found: fixed, Missing: missing},
		{Spec: "btree:" + source, Found: fixed, Missing: missing},
		{Spec: "texthash:" + source, Found: fixed, Missing: missing},
		{Spec: "texthash:source", Options: table.Options{QueueDir: dir}, Found: fixed, Missing: missing},
		{Spec: "proxy:texthash:" + source, Found: fixed, Missing: missing},
		{Spec: "debug:texthash:" + source, Found: fixed, Missing: missing},
		{Spec: "inline:{ joe=x, {ann = y, z} }", Found: map[string]string{"joe": "x", "ann": "y, z"}, Missing: []string{"x", "joe=x"}},
		{Spec: "static:{one answer}", Any: true, Found: map[string]string{"a": "one answer", "b@c": "one answer"}},
		{Spec: "environ:x", Found: map[string]string{"postroad_table_test": "set"}, Missing: []string{"no_such_variable"}},
		{Spec: "unix:passwd.byname", Found: map[string]string{"root": passwdLine(t, "/etc/passwd")}, Missing: []string{"no-such-user", "0"}},
		{Spec: "unix:group.byname", Found: map[string]string{"root": passwdLine(t, "/etc/group")}, Missing: []string{"no-such-group"}},
		{Spec: "cidr:" + nets, Kind: table.Pattern, Found: map[string]string{"192.0.2.9": "lab", "2001:db8::1": "six", "198.51.100.7": "host"}, Missing: []string{"192.0.3.9", "192.0.2", "::ffff:192.0.2.9"}},
		{Spec: "cidr:{ {192.0.2.0/24 lab} {::/0 six} }", Kind: table.Pattern, Found: map[string]string{"192.0.2.1": "lab", "::1": "six"}, Any: true},
		{Spec: "regexp:" + rules, Kind: table.Pattern, Found: patterns, Missing: other},
		{Spec: "pcre:" + rules, Kind: table.Pattern, Found: patterns, Missing: other},
		{Spec: "pcre:{ {/^a(?=b)/ ab}, {/^$/ empty} }", Kind: table.Pattern, Found: map[string]string{"ab": "ab", "": "empty"}, Missing: []string{"a", "ac"}},
		{Spec: "randmap:{one}", Kind: table.Pattern, Any: true, Found: map[string]string{"a": "one"}},
		{Spec: "pipemap:{texthash:" + source + ",inline:{joe=Joe}}", Found: map[string]string{"joe@example.com": "Joe"}, Missing: []string{"joe", "long"}},
		{Spec: "unionmap:{texthash:" + source + ",inline:{long=b,joe@example.com=Joe}}", Found: map[string]string{"joe@example.com": "joe,Joe", "@example.org": fixed["@example.org"], "long": fixed["long"] + ",b"}, Missing: []string{"joe"}},
		{Spec: "tcp:" + tcpServer(t), Kind: table.Pattern, Found: served, Missing: unserved},
		{Spec: "socketmap:unix:" + socketmapServer(t) + ":map", Kind: table.Pattern, Found: served, Missing: unserved},
		{Spec: "memcache:" + write("memcache.cf", "line_size_limit = 200000\nmemcache = unix:"+memcacheServer(t)), Found: servedWords, Missing: unserved},
		{Spec: "ldap:" + write("ldap.cf", "search_base = dc=test\nquery_filter = (mail=%s)\nserver_host = ldap://"+ldapServer(t)),
			Found: map[string]string{"ann@test": "ann@store", "bob@test": "bob@store,bob@other"}, Missing: []string{"ann", "@test"}},
		{Spec: "sqlite:" + databaseFile(t, "dbpath = "+sqliteFile(t), "query = SELECT v FROM fixed WHERE k = '%s'"), Found: fixed, Missing: missing},
		{Spec: "mysql:" + databaseFile(t, "hosts = inet:"+sqlkit.FakeMySQL(t, sqlkit.Lookup(fixed, true)), "dbname = x", "query = '%s'"), Found: fixed, Missing: missing},
		{Spec: "pgsql:" + databaseFile(t, "hosts = "+sqlkit.FakePgSQL(t, sqlkit.Lookup(fixed, false)), "dbname = x", "query = '%s'"), Found: fixed, Missing: missing},
		{Spec: "proxy:mysql:" + databaseFile(t, "hosts = "+sqlkit.FakeMySQL(t, sqlkit.Lookup(fixed, true)), "dbname = x", "query = '%s'"), Found: fixed, Missing: missing},
		{Spec: "fail:x", Kind: table.Pattern, Fails: true},
	}
}

// indexed makes an indexed file of a source and returns its name.
func indexed(t *testing.T, typ, source string) string {
	t.Helper()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	var entries []table.Entry
	table.ParseSource(string(text), table.SourceOptions{UTF8: true}, func(e table.Entry, _ int) {
		entries = append(entries, table.Entry{Key: table.Fold(e.Key, true), Value: e.Value})
	})
	f, err := table.EditFile(typ, source)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Write(entries, table.WriteOptions{Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	return source
}

// databaseFile writes a client configuration file.
func databaseFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.cf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sqliteFile makes a database with the entries of fixed.
func sqliteFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db?x=%41#y") // nothing in a name means anything
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE fixed (k TEXT PRIMARY KEY, v TEXT)"); err != nil {
		t.Fatal(err)
	}
	for key, value := range fixed {
		if _, err := db.Exec("INSERT INTO fixed VALUES (?, ?)", key, value); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// passwdLine returns the entry of root.
func passwdLine(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "root:") {
			return strings.TrimSuffix(line, "\n")
		}
	}
	t.Fatalf("%s has no root", path)
	return ""
}

// TestMain sets what the case of environ: finds; environ: sees folded keys.
func TestMain(m *testing.M) {
	if err := os.Setenv("postroad_table_test", "set"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, c := range cases(t) {
		typ, _ := table.SplitSpec(c.Spec)
		tested[typ] = true
		t.Run(typ, func(t *testing.T) { tabletest.Run(t, c) })
	}
	for _, typ := range table.Types() {
		if !tested[typ] {
			t.Errorf("the type %s has no case", typ)
		}
	}
}
