package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// mangled is a server's end of a connection that damages what the server says.
type mangled struct {
	net.Conn
	r *rand.Rand
}

// Write implements net.Conn.
func (m *mangled) Write(b []byte) (int, error) {
	switch m.r.IntN(10) {
	case 0:
		m.Conn.Write(b[:len(b)/2])
		m.Conn.Close()
	case 1:
		m.Conn.Write([]byte("\x00\xff garbage\r\n"))
		m.Conn.Close()
	case 2:
		return m.Conn.Write(bytes.Repeat(b, 2))
	case 3:
		m.Conn.Close()
	case 4:
		for i := range b {
			if _, err := m.Conn.Write(b[i : i+1]); err != nil {
				return i, err
			}
		}
		return len(b), nil
	}
	return m.Conn.Write(b)
}

// TestRemoteChaos: whatever a bad connection does to the answers, a lookup gives
// the right answer or an error.
func TestRemoteChaos(t *testing.T) {
	tcp := answers(func(line string) string {
		if strings.Contains(line, "known") {
			return "200 value\n"
		}
		return "500 no\n"
	})
	sockets := replies(func(question string) string {
		if strings.Contains(question, "known") {
			return netstring("OK value")
		}
		return netstring("NOTFOUND ")
	})
	memcached := func(n int, c net.Conn) {
		(&fakeMemcached{values: map[string]string{"known": "value"}}).serve(n, c)
	}
	directory := func(n int, c net.Conn) {
		(&FakeLDAP{Entries: map[string][]string{"dc=test": nil, "cn=x": {"mail=known", "maildrop=value"}}}).Serve(n, c)
	}
	tests := []struct {
		name string
		open func(*testing.T, func(int, net.Conn)) Table
		good func(int, net.Conn)
	}{
		{"tcp", func(t *testing.T, serve func(int, net.Conn)) Table { tab, _ := tcpWith(t, serve); return tab }, tcp},
		{"socketmap", func(t *testing.T, serve func(int, net.Conn)) Table { tab, _ := socketmapWith(t, serve); return tab }, sockets},
		{"memcache", func(t *testing.T, serve func(int, net.Conn)) Table { tab, _ := memcacheWith(t, "", serve); return tab }, memcached},
		{"ldap", func(t *testing.T, serve func(int, net.Conn)) Table {
			tab, _ := ldapWith(t, basic+"bind = yes\n", serve)
			return tab
		}, directory},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tab := test.open(t, func(n int, c net.Conn) {
					test.good(n, &mangled{Conn: c, r: rand.New(rand.NewPCG(1, uint64(n)))})
				})
				defer tab.Close()
				chaos(t, tab)
			})
		})
	}
}

// chaos looks up two keys many times, several at a time.
func chaos(t *testing.T, tab Table) {
	var mu sync.Mutex
	count := map[string]int{}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for range 100 {
				key, wanted := "known", "value"
				if worker%2 == 0 {
					key, wanted = "absent", missing
				}
				got := outcome(tab, key)
				if strings.HasPrefix(got, failed) {
					got = "error"
				} else if got != wanted {
					t.Errorf("%s gives %q", key, got)
				}
				mu.Lock()
				count[fmt.Sprint(key, " ", got)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if count["known value"] == 0 || count["absent "+missing] == 0 || count["known error"]+count["absent error"] == 0 {
		t.Errorf("the test says nothing: %v", count)
	}
	t.Log(count)
}
