package table

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSASLDB reads what saslpasswd2 of Cyrus SASL 2.1.28 has written.
func TestSASLDB(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/sasldb2")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "db")
	db := NewSet(Options{}).SASLDB(path)
	key := "joe\x00mx.example.test\x00userPassword"
	if _, _, err := db.Lookup(context.Background(), key); err == nil || !strings.HasSuffix(err.Error(), ": No such file or directory") {
		t.Errorf("no file: %v", err)
	}
	write := func(data []byte, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	look := func(key, want string) {
		t.Helper()
		value, ok, err := db.Lookup(context.Background(), key)
		if value != want || ok != (want != "") || err != nil {
			t.Errorf("%q: %q, %v, %v", key, value, ok, err)
		}
	}
	write(data, 3*time.Hour)
	look(key, "secret pass")
	look(key, "secret pass")
	look("sue\x00local.test\x00userPassword", "x")
	for _, other := range []string{"joe", "joe\x00mx.example.test", "JOE\x00mx.example.test\x00userPassword", "sue\x00mx.example.test\x00userPassword"} {
		look(other, "")
	}
	write(bytes.Replace(data, []byte("secret pass"), []byte("public pass"), 1), 2*time.Hour)
	look(key, "public pass")
	write(data[:100], time.Hour)
	if _, _, err := db.Lookup(context.Background(), key); err == nil {
		t.Error("a damaged file is read")
	}
	write(data, 0)
	look(key, "secret pass")
}
