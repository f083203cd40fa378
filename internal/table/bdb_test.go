package table

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// formats are the types of indexed files, each with its writer.
func formats() map[string]func([]Entry) []byte {
	text := func(write func(io.Writer, []Entry) error) func([]Entry) []byte {
		return func(entries []Entry) []byte {
			var b bytes.Buffer
			if err := write(&b, entries); err != nil {
				panic(err)
			}
			return b.Bytes()
		}
	}
	return map[string]func([]Entry) []byte{
		"hash":  text(func(w io.Writer, e []Entry) error { return encodeHash(e).writeTo(w) }),
		"btree": text(func(w io.Writer, e []Entry) error { return encodeBtree(e).writeTo(w) }),
		"lmdb":  text(encodeLMDB),
		"cdb":   text(encodeCDB),
	}
}

// memoryIndex is an index of the text of a file in memory.
type memoryIndex struct{ index }

// indexOf opens the text of an indexed file.
func indexOf(typ string, data []byte) (memoryIndex, error) {
	t, _ := FindType(typ)
	x, err := t.format().open(string(data))
	return memoryIndex{x}, err
}

// Lookup is that of an indexTable.
func (m memoryIndex) Lookup(_ context.Context, key string) (string, bool, error) {
	value, ok, err := m.get(key)
	return cText(value), ok, err
}

// Each is that of an indexTable.
func (m memoryIndex) Each(fn func(Entry) bool) error {
	return m.each(func(key, value string) bool {
		return fn(Entry{Key: cText(key), Value: cText(value), Bare: !strings.HasSuffix(key, "\x00")})
	})
}

// loaded has what db5.3_load put into the big-endian files of testdata: 300
// pairs without NULs, one value and one key on overflow pages.
func loaded(i int) (key, value string) {
	key, value = fmt.Sprintf("user%d@example.com", i), fmt.Sprintf("mailbox %d", i)
	switch i {
	case 7:
		value = strings.Repeat("x", 9000)
	case 8:
		key = strings.Repeat("k", 3000)
	}
	return key, value
}

func TestReadForeignFiles(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"hash", "btree"} {
		data, err := os.ReadFile("testdata/" + typ + "-be.db")
		if err != nil {
			t.Fatal(err)
		}
		tab, err := indexOf(typ, data)
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		for i := range 300 {
			key, want := loaded(i)
			got, ok, err := tab.Lookup(context.Background(), key)
			if got != want || !ok || err != nil {
				t.Errorf("%s: %.30q gives %.30q, %v, %v", typ, key, got, ok, err)
			}
			if _, ok, err := tab.Lookup(context.Background(), key+"x"); ok || err != nil {
				t.Errorf("%s: %.30q with an x gives %v, %v", typ, key, ok, err)
			}
		}
		n := 0
		err = tab.Each(func(e Entry) bool { n++; return e.Bare })
		if n != 300 || err != nil {
			t.Errorf("%s: listed %d, %v", typ, n, err)
		}
	}
}

// sample makes n entries, some of which need overflow pages. The keys of lmdb:
// are bounded.
func sample(typ string, n int) []Entry {
	longest := 1 << 20
	if typ == "lmdb" {
		longest = 480
	}
	var out []Entry
	for i := range n {
		e := Entry{Key: fmt.Sprintf("user%d@example.com", i), Value: fmt.Sprintf("mailbox/%d/", i), Bare: i%11 == 0}
		switch {
		case i%97 == 5:
			e.Key += strings.Repeat("k", min(10*i, longest))
		case i%89 == 3:
			e.Value = strings.Repeat("v", 20*i)
		}
		out = append(out, e)
	}
	return out
}

func TestWriteRead(t *testing.T) {
	t.Parallel()
	for typ, encode := range formats() {
		for _, n := range []int{0, 1, 2, 60, 700, 20000} {
			if testing.Short() && n > 1000 {
				continue
			}
			entries := sample(typ, min(n, 2000))
			for i := 2000; i < n; i++ {
				entries = append(entries, Entry{Key: fmt.Sprint("more", i), Value: "x"})
			}
			data := encode(entries)
			if !bytes.Equal(data, encode(entries)) {
				t.Errorf("%s: %d entries do not give the same file twice", typ, n)
			}
			tab, err := indexOf(typ, data)
			if err != nil {
				t.Errorf("%s: %d entries: %v", typ, n, err)
				continue
			}
			for _, e := range entries {
				got, ok, err := tab.Lookup(context.Background(), e.Key)
				if got != e.Value || !ok || err != nil {
					t.Fatalf("%s: %d entries: %.30q gives %.30q, %v, %v", typ, n, e.Key, got, ok, err)
				}
			}
			var listed []Entry
			if err := tab.Each(func(e Entry) bool { listed = append(listed, e); return true }); err != nil {
				t.Errorf("%s: %v", typ, err)
			}
			byKey := func(a, b Entry) int { return strings.Compare(a.Key, b.Key) }
			slices.SortFunc(listed, byKey)
			slices.SortFunc(entries, byKey)
			if !slices.Equal(listed, entries) {
				t.Errorf("%s: %d entries written, %d other ones listed", typ, n, len(listed))
			}
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	encode := formats()
	at32 := func(i int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[i:], v); return b }
	}
	damage := []struct {
		name string
		do   func([]byte) []byte
	}{
		{"empty", func(b []byte) []byte { return nil }},
		{"meta page only", func(b []byte) []byte { return b[:4096] }},
		{"half", func(b []byte) []byte { return b[:len(b)/2] }},
		{"text", func(b []byte) []byte { return bytes.Repeat([]byte("key value\n"), 1000) }},
		{"magic", at32(12, 77)},
		{"version", at32(16, 77)},
		{"page size", at32(20, 77)},
		{"page size 0", at32(20, 0)},
		{"huge page", at32(20, 1<<31)},
		{"encrypted", func(b []byte) []byte { b[24] = 1; return b }},
		{"checksums", func(b []byte) []byte { b[26] = 1; return b }},
		{"meta type", func(b []byte) []byte { b[25] = 1; return b }},
		{"duplicates", at32(48, 1)},
		{"page types", func(b []byte) []byte {
			for i := 4096; i < len(b); i += 4096 {
				b[i+25] = 0
			}
			return b
		}},
		{"entry counts", func(b []byte) []byte {
			for i := 4096; i < len(b); i += 4096 {
				b[i+20], b[i+21] = 0xff, 0xff
			}
			return b
		}},
		{"offsets", func(b []byte) []byte {
			for i := 4096; i < len(b); i += 4096 {
				b[i+26], b[i+27] = 1, 0
			}
			return b
		}},
		{"every chain a ring", func(b []byte) []byte {
			for i := 4096; i < len(b); i += 4096 {
				copy(b[i+16:i+20], b[i+8:i+12])
			}
			return b
		}},
	}
	for typ, encode := range encode {
		for _, d := range damage {
			entries := sample(typ, 700)
			err := firstError(typ, d.do(encode(entries)), entries)
			ours := typ == "hash" || typ == "btree"
			if ours && err == nil && !(typ == "btree" && d.name == "every chain a ring") { // the tree follows no chains
				t.Errorf("%s: %s: no error", typ, d.name)
			}
		}
		if err := firstError(typ, encode(sample(typ, 10)), sample(typ, 10)); err != nil {
			t.Error(err)
		}
		for size, data := 0, encode(sample(typ, 700)); size < len(data); size += 1 + len(data)/300 {
			if err := firstError(typ, data[:size], sample(typ, 700)); err == nil {
				t.Errorf("%s: %d of %d bytes: no error", typ, size, len(data))
			}
		}
	}
	if _, err := indexOf("hash", encode["btree"](sample("btree", 10))); !errors.Is(err, errDatabase) {
		t.Errorf("a btree file as hash: %v", err)
	}
}

// TestRandomDamage changes a few bytes of a file, most of them where its
// structure is, which must end in an error or in answers, soon.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	for typ, encode := range formats() {
		entries := sample(typ, 120)
		good := encode(entries)
		r := rand.New(rand.NewPCG(7, 8))
		failed := 0
		for range 1500 {
			data := bytes.Clone(good)
			for range 1 + r.IntN(4) {
				at := r.IntN(len(data))
				if r.IntN(3) > 0 { // the head of a page
					at = min(at/4096*4096+r.IntN(160), len(data)-1)
				}
				data[at] = byte(r.IntN(256) & r.IntN(256))
			}
			if firstError(typ, data, entries) != nil {
				failed++
			}
		}
		if failed == 0 {
			t.Errorf("%s: no damage was ever noticed", typ)
		}
	}
}

// firstError opens a file, lists it and looks up all keys.
func firstError(typ string, data []byte, entries []Entry) error {
	tab, err := indexOf(typ, data)
	if err != nil {
		return err
	}
	err = tab.Each(func(Entry) bool { return true })
	for _, e := range entries {
		if _, _, bad := tab.Lookup(context.Background(), e.Key); err == nil {
			err = bad
		}
	}
	return err
}

// fuzzIndex checks that no file makes the reader panic, loop or invent answers
// that differ between listing and lookup.
func fuzzIndex(f *testing.F, typ string) {
	encode := formats()[typ]
	for _, n := range []int{0, 1, 40} {
		f.Add(encode(sample(typ, n)))
	}
	f.Add(encode([]Entry{{Key: "k", Value: strings.Repeat("v", 9000)}}))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		tab, err := indexOf(typ, data)
		if err != nil {
			return
		}
		n := 0
		_ = tab.Each(func(e Entry) bool {
			_, _, _ = tab.Lookup(context.Background(), e.Key)
			n++
			return n < 1000
		})
		_, _, _ = tab.Lookup(context.Background(), "user1@example.com")
	})
}

func FuzzHashFile(f *testing.F) { fuzzIndex(f, "hash") }

func FuzzTreeFile(f *testing.F) { fuzzIndex(f, "btree") }

func FuzzLMDBFile(f *testing.F) { fuzzIndex(f, "lmdb") }

func FuzzCDBFile(f *testing.F) { fuzzIndex(f, "cdb") }
