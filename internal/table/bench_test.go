package table

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkLookup measures the hot path: one lookup per type and outcome.
func BenchmarkLookup(b *testing.B) {
	var entries []Entry
	for i := range 50000 {
		entries = append(entries, Entry{Key: fmt.Sprintf("user%d@example.com", i), Value: "mailbox/"})
	}
	path := filepath.Join(b.TempDir(), "map")
	for typ := range formats() {
		f, err := EditFile(typ, path+typ)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Write(entries, WriteOptions{Mode: 0o600}); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	text := filepath.Join(b.TempDir(), "text")
	if err := os.WriteFile(text, []byte("user1@example.com a\nuser2@example.com b\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	nets := ""
	for i := range 5000 {
		nets += fmt.Sprintf("{10.%d.%d.0/%d x} ", i/250, i%250, 24+i%2)
	}
	header := "Received: from mail.example.com (mail.example.com [192.0.2.1]) by mx.example.net with ESMTP"
	tests := []struct{ name, spec, key string }{
		{"hash/hit", "hash:" + path + "hash", "user4711@example.com"},
		{"hash/miss", "hash:" + path + "hash", "nobody@example.com"},
		{"hash/fold", "hash:" + path + "hash", "User4711@Example.com"},
		{"btree/hit", "btree:" + path + "btree", "user4711@example.com"},
		{"lmdb/hit", "lmdb:" + path + "lmdb", "user4711@example.com"},
		{"lmdb/miss", "lmdb:" + path + "lmdb", "nobody@example.com"},
		{"cdb/hit", "cdb:" + path + "cdb", "user4711@example.com"},
		{"cdb/miss", "cdb:" + path + "cdb", "nobody@example.com"},
		{"texthash/hit", "texthash:" + text, "user1@example.com"},
		{"texthash/miss", "texthash:" + text, "nobody@example.com"},
		{"union/hit", "unionmap:{inline:{a=b},inline:{a=c}}", "a"},
		{"pipe/hit", "pipemap:{inline:{a=b},inline:{b=c}}", "a"},
		{"static", "static:x", "user4711@example.com"},
		{"environ", "environ:x", "path"},
		{"randmap", "randmap:{a,b}", "a"},
		{"unix/hit", "unix:passwd.byname", "root"},
		{"inline/hit", "inline:{a=b,c=d,user4711@example.com=x}", "user4711@example.com"},
		{"cidr/5", "cidr:{{10.0.0.0/8 a} {127.0.0.0/8 b} {192.168.0.0/16 c} {::1 d} {192.0.2.0/24 e}}", "192.0.2.7"},
		{"cidr/5000", "cidr:{" + nets + "}", "10.7.77.77"},
		{"pcre/miss", "pcre:{{/^X-Spam-Flag: +YES/ x} {/^Subject: .*viagra/ y}}", header},
		{"pcre/hit", "pcre:{{/^Received: from .*\\[192\\.0\\.2\\.1\\]/ x}}", header},
		{"pcre/groups", "pcre:{{/^Received: from (\\S+) (.*)/ $2}}", header},
		{"regexp/miss", "regexp:{{/^X-Spam-Flag: +YES/ x} {/^Subject: .*viagra/ y}}", header},
		{"regexp/hit", "regexp:{{/^Received: from .*\\[192\\.0\\.2\\.1\\]/ x}}", header},
	}
	for _, test := range tests {
		tab, err := Open(test.spec, Options{UTF8: true})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := tab.Lookup(context.Background(), test.key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
