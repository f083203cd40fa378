package sasl

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the database of the test

	"postroad/internal/table"
)

// TestSQL has the passwords in a database, behind a real table.
func TestSQL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), `CREATE TABLE users (name TEXT, password TEXT);
		INSERT INTO users VALUES ('argon2id', ?), ('ssha512', ?), ('scram-sha-256', ?), ('twice', ?), ('twice', ?)`,
		hashes["argon2id"], hashes["ssha512"], hashes["scram-sha-256"], hashes["ssha512"], hashes["ssha512"]); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "users.cf")
	if err := os.WriteFile(conf, []byte("dbpath = "+path+"\nquery = SELECT password FROM users WHERE name = '%s'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := table.NewSet(table.Options{})
	t.Cleanup(func() { _ = set.Close() })
	deps := testDeps()
	deps.Open = func(spec string) (Table, error) { return set.Open(spec) }
	server := func(spec string) Server {
		srv, err := New(&Settings{Type: "postroad", Path: spec, Mechanisms: []string{"PLAIN", "SCRAM-SHA-256"}}, deps)
		if err != nil {
			t.Fatal(err)
		}
		return srv
	}
	srv := server("sqlite:" + conf)
	for _, tt := range []struct {
		user, password string
		want           error
	}{
		{"argon2id", "secret pass", nil}, {"ssha512", "secret pass", nil}, {"scram-sha-256", "secret pass", nil}, {"ssha512", "wrong", ErrAuth},
		{"nobody", "secret pass", ErrAuth}, {"' OR '1'='1", "secret pass", ErrAuth}, {"twice", "secret pass", ErrTemporary},
	} {
		if user, _, err := login(srv, "PLAIN", true, "\x00"+tt.user+"\x00"+tt.password); user != tt.user || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %q, %v", tt.user, user, err)
		}
	}
	if user, err := scramLogin(srv, "SCRAM-SHA-256", "scram-sha-256", "secret pass", ""); user != "scram-sha-256" || err != nil {
		t.Errorf("SCRAM: %q, %v", user, err)
	}
	for _, spec := range []string{"sqlite:" + dir + "/none.cf", "fail:x"} {
		if _, _, err := login(server(spec), "PLAIN", true, "\x00ssha512\x00secret pass"); !errors.Is(err, ErrTemporary) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}
