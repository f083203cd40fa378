package table

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// entries is the size of the tables of BenchmarkBig: -entries 5000000.
var bigEntries = flag.Int("entries", 100_000, "entries of the tables of BenchmarkBig")

// bigTable makes a table of n mailboxes and returns its name.
func bigTable(tb testing.TB, typ string, n int) string {
	tb.Helper()
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{Key: fmt.Sprintf("user%d@example%d.com", i, i%1000), Value: fmt.Sprintf("example%d.com/user%d/", i%1000, i)}
	}
	path := filepath.Join(tb.TempDir(), "big")
	if typ == "texthash" {
		var text strings.Builder
		for _, e := range entries {
			text.WriteString(e.Key + " " + e.Value + "\n")
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			tb.Fatal(err)
		}
		return typ + ":" + path
	}
	f, err := EditFile(typ, path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if err := f.Write(entries, WriteOptions{Mode: 0o600}); err != nil {
		tb.Fatal(err)
	}
	return typ + ":" + path
}

// bigKey is the key of an entry of bigTable.
func bigKey(i int) string { return fmt.Sprintf("user%d@example%d.com", i, i%1000) }

// heap is what is in use of the heap.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkBig measures tables of the size of a large provider: opening one,
// and looking up keys all over it.
func BenchmarkBig(b *testing.B) {
	for _, typ := range []string{"hash", "btree", "lmdb", "cdb", "texthash"} {
		spec := bigTable(b, typ, *bigEntries)
		b.Run(typ+"/open", func(b *testing.B) {
			before := heap()
			var tab Table
			for b.Loop() {
				var err error
				if tab, err = Open(spec, Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(int64(heap()-before)), "heap-bytes")
			runtime.KeepAlive(tab)
		})
		tab, err := Open(spec, Options{UTF8: true})
		if err != nil {
			b.Fatal(err)
		}
		keys := make([]string, 1<<16)
		for i := range keys {
			keys[i] = bigKey(rand.IntN(*bigEntries))
		}
		for _, suffix := range []string{"", "x"} {
			name := map[string]string{"": "/hit", "x": "/miss"}[suffix]
			asked := make([]string, len(keys))
			for i := range keys {
				asked[i] = keys[i] + suffix
			}
			b.Run(typ+name, func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					_, ok, err := tab.Lookup(context.Background(), asked[i%len(asked)])
					if err != nil || ok != (suffix == "") {
						b.Fatal(ok, err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
			})
		}
	}
}
