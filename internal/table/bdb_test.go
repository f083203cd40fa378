package table

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// bdbIndexOf opens the text of a Berkeley DB file of either type.
func bdbIndexOf(typ string, data []byte) (*bdbTable, error) {
	return newBDBTable(typ, typ+":test", string(data))
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
		tab, err := bdbIndexOf(typ, data)
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

// sample makes n entries, some of which need overflow pages.
func sample(n int) []Entry {
	var out []Entry
	for i := range n {
		e := Entry{Key: fmt.Sprintf("user%d@example.com", i), Value: fmt.Sprintf("mailbox/%d/", i), Bare: i%11 == 0}
		switch {
		case i%97 == 5:
			e.Key += strings.Repeat("k", 10*i)
		case i%89 == 3:
			e.Value = strings.Repeat("v", 20*i)
		}
		out = append(out, e)
	}
	return out
}

func TestWriteRead(t *testing.T) {
	t.Parallel()
	for typ, encode := range map[string]func([]Entry) []byte{"hash": encodeHash, "btree": encodeBtree} {
		for _, n := range []int{0, 1, 2, 60, 700, 20000} {
			if testing.Short() && n > 1000 {
				continue
			}
			entries := sample(min(n, 2000))
			for i := 2000; i < n; i++ {
				entries = append(entries, Entry{Key: fmt.Sprint("more", i), Value: "x"})
			}
			data := encode(entries)
			if !bytes.Equal(data, encode(entries)) {
				t.Errorf("%s: %d entries do not give the same file twice", typ, n)
			}
			tab, err := bdbIndexOf(typ, data)
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
	encode := map[string]func([]Entry) []byte{"hash": encodeHash, "btree": encodeBtree}
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
			_, err := bdbIndexOf(typ, d.do(encode(sample(700))))
			if err == nil {
				if typ == "btree" && d.name == "every chain a ring" {
					continue // the tree does not follow the chain of its leaves
				}
				t.Errorf("%s: %s: no error", typ, d.name)
			}
		}
		if _, err := bdbIndexOf(typ, encode(sample(10))); err != nil {
			t.Error(err)
		}
	}
	if _, err := bdbIndexOf("hash", encodeBtree(sample(10))); !errors.Is(err, errDatabase) {
		t.Errorf("a btree file as hash: %v", err)
	}
}

// fuzzBDB checks that no file makes the reader panic, loop or invent answers
// that differ between listing and lookup.
func fuzzBDB(f *testing.F, typ string, encode func([]Entry) []byte) {
	for _, n := range []int{0, 1, 40} {
		f.Add(encode(sample(n)))
	}
	f.Add(encode([]Entry{{Key: "k", Value: strings.Repeat("v", 9000)}}))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		tab, err := bdbIndexOf(typ, data)
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

func FuzzHashFile(f *testing.F) { fuzzBDB(f, "hash", encodeHash) }

func FuzzTreeFile(f *testing.F) { fuzzBDB(f, "btree", encodeBtree) }
