package table_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/table"
	"postroad/internal/testkit"
)

// served is what the lookup servers of TestConformance have, servedWords the
// part of it whose keys are one word, and unserved are keys that they do not have.
var (
	served      = map[string]string{"joe@example.com": "joe", "two words": "v  w", "ü@example.com": "Grüße, 100%", "x%y": "z"}
	servedWords = map[string]string{"joe@example.com": "joe", "ü@example.com": "Grüße, 100%", "x%y": "z"}
	unserved    = []string{"joe", "@example.com", "two", "joe@example.com "}
)

// listen serves connections until the test ends.
func listen(t *testing.T, network, address string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	// goroutine: ends when the listener is closed.
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// goroutine: ends when the table closes the connection.
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

// each makes a server of a function that answers one question.
func each(answer func(*bufio.Reader, io.Writer) error) func(net.Conn) {
	return func(c net.Conn) {
		for r := bufio.NewReader(c); answer(r, c) == nil; {
		}
	}
}

// lookups makes a server that has served.
func lookups(answer testkit.Lookup) func(net.Conn) {
	find := func(key string) (string, bool) { value, found := served[key]; return value, found }
	return each(func(r *bufio.Reader, w io.Writer) error { return answer(r, w, find) })
}

// tcpServer answers as tcp: wants it.
func tcpServer(t *testing.T) string {
	return listen(t, "tcp", "127.0.0.1:0", lookups(testkit.TCPTable))
}

// socketmapServer answers as socketmap: wants it.
func socketmapServer(t *testing.T) string {
	return listen(t, "unix", filepath.Join(t.TempDir(), "map"), lookups(testkit.Socketmap))
}

// memcacheServer answers as memcache: wants it.
func memcacheServer(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "memcached")
	return listen(t, "unix", path, each(func(r *bufio.Reader, w io.Writer) error {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		key := strings.TrimSuffix(strings.TrimPrefix(line, "get "), "\r\n")
		if value, ok := served[key]; ok {
			fmt.Fprintf(w, "VALUE %s 0 %d\r\n%s\r\n", key, len(value), value)
		}
		_, err = io.WriteString(w, "END\r\n")
		return err
	}))
}

// ldapServer is a directory. Each connection has one of its own, because it
// keeps a log.
func ldapServer(t *testing.T) string {
	return listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) { table.Staff().Serve(0, c) })
}
