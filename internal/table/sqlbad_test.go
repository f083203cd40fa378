package table

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postroad/internal/testkit/sqlkit"
)

// clientFile writes a client configuration file and returns its path.
func clientFile(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.cf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// noises are what a server may send that is none: no byte of them is a reason to
// crash, to wait for ever, or to say that a key does not exist.
func noises() []string {
	out := []string{
		"\x00", "\xff", "HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail ESMTP\r\n", "\x00\x00\x00\x00", "\xff\xff\xff\x00", "\x01\x00\x00\x00\x0a", "\x02\x00\x00\x00\x0a5",
		"\x0e\x00\x00\x00\x0a5.5.0\x00\x01\x00\x00\x00abc", "\x05\x00\x00\x00\xff\x10\x04no", "\x01\x00\x00\x00\xff", "\x01\x00\x00\x00\xfe", "\x01\x00\x00\x00\x00",
		"R\x00\x00\x00\x04", "R\x00\x00\x00\x08\x00\x00\x00\x63", "R\xff\xff\xff\xff", "R\x7f\xff\xff\xff", "E\x00\x00\x00\x04", "E\x00\x00\x00\x05S", "Z\x00\x00\x00\x05I", "T\x00\x00\x00\x06\xff\xff",
		"R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I", "N", "S", "SS", "R\x00\x00\x00\x0a\x00\x00\x00\x0aX\x00",
	}
	for i := range 256 {
		out = append(out, string([]byte{1, 0, 0, 0, byte(i)}), string([]byte{byte(i), 0, 0, 0, 8, 0, 0, 0, 0}))
	}
	return out
}

// fails looks a key up and demands an error within a time.
func fails(t *testing.T, tab Table, limit time.Duration) {
	t.Helper()
	start := time.Now()
	value, ok, err := tab.Lookup(context.Background(), "joe@example.com")
	if err == nil || ok || value != "" {
		t.Errorf("%s: %q %v %v", tab, value, ok, err)
	}
	if passed := time.Since(start); passed > limit {
		t.Errorf("%s: %v until %v", tab, passed, err)
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the password is in %v", err)
	}
}

// TestSQLGarbage connects to servers that speak no protocol that we know.
func TestSQLGarbage(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"mysql", "pgsql"} {
		for i, noise := range noises() {
			size := 16 << 10
			if i%100 == 0 {
				size = 1 << 30
			}
			path := clientFile(t, "hosts = "+sqlkit.Babble(t, noise, size), "user = joe", "password = hunter2", "dbname = x", "query = select '%s'")
			tab, err := Open(typ+":"+path, Options{Warn: func(format string, args ...any) {
				if text := fmt.Sprintf(format, args...); strings.Contains(text, "hunter2") {
					t.Errorf("the password is in %q", text)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			fails(t, tab, 2*lookupTime)
			if err := tab.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// shareFile makes a second name of a file.
func shareFile(t *testing.T, name, file string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, name); err != nil {
		t.Fatal(err)
	}
}
