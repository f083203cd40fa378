package table

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// benchServer serves on a port of the loopback interface until the benchmark
// ends.
func benchServer(b *testing.B, serve func(int, net.Conn)) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	// goroutine: ends when the listener is closed.
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// goroutine: ends when the table closes the connection.
			go func() {
				defer c.Close()
				serve(n, c)
			}()
		}
	}()
	return l.Addr().String()
}

// BenchmarkRemote asks servers in this process that answer at once: what it
// measures is the client, the loopback interface and the goroutines between
// them.
func BenchmarkRemote(b *testing.B) {
	dir := b.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	tcp := benchServer(b, answers(func(string) string { return "200 value@example.com\n" }))
	socketmap := benchServer(b, replies(func(string) string { return netstring("OK value@example.com") }))
	memcached := benchServer(b, func(_ int, c net.Conn) {
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(c, "VALUE %s 0 5\r\nvalue\r\nEND\r\n", strings.TrimSuffix(line[4:], "\r\n"))
		}
	})
	directory := benchServer(b, benchLDAP)
	tests := []struct{ name, spec string }{
		{"tcp", "tcp:" + tcp},
		{"socketmap", "socketmap:inet:" + socketmap + ":map"},
		{"memcache", "memcache:" + file("memcache.cf", "memcache = inet:"+memcached)},
		{"ldap", "ldap:" + file("ldap.cf", "server_host = ldap://"+directory+"\nbind = no\nquery_filter = (&(objectClass=mailUser)(mail=%s)(accountStatus=active)(!(domainStatus=disabled)))")},
	}
	for _, test := range tests {
		tab, err := Open(test.spec, Options{UTF8: true})
		if err != nil {
			b.Fatal(err)
		}
		lookup := func(b *testing.B) {
			if _, ok, err := tab.Lookup(context.Background(), "user@example.com"); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lookup(b)
			}
		})
		b.Run(test.name+"/parallel", func(b *testing.B) {
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					lookup(b)
				}
			})
		})
		tab.Close()
	}
}

// benchLDAP answers each message with one entry, without much ado: it puts the
// number of the message into bytes that were made before.
func benchLDAP(_ int, c net.Conn) {
	const number = 0x7f010203
	reply := append(ldapEntry(number, "cn=user,dc=test", "maildrop=value@example.com"), searchDone(number, 0)...)
	place := []byte{tagInteger, 4, 0x7f, 1, 2, 3}
	first, second := bytes.Index(reply, place)+2, bytes.LastIndex(reply, place)+2
	for r := bufio.NewReader(c); ; {
		budget := maxLDAPReply
		message, err := readLDAPMessage(r, &budget)
		if err != nil {
			return
		}
		id, _, _, err := parseLDAPMessage(message)
		if err != nil {
			return
		}
		binary.BigEndian.PutUint32(reply[first:], uint32(id))
		binary.BigEndian.PutUint32(reply[second:], uint32(id))
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}
