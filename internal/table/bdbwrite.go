package table

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"
)

// writePageSize is the page size of the files we make; Postfix's have the
// block size of the file system, which is the same nearly everywhere.
const writePageSize = 4096

// bigItem is the size above which libdb moves an item of a hash file to
// overflow pages.
const bigItem = writePageSize / 4

// bigTreeItem is the same for a btree file: at least two pairs fit on a page.
const bigTreeItem = (writePageSize-pageHeader)/4 - 2 - 12

// bdbWriter puts a Berkeley DB file together in memory, little endian.
type bdbWriter struct{ pages [][]byte }

// alloc adds an empty page and returns its number.
func (w *bdbWriter) alloc(kind, level byte) uint32 {
	n := uint32(len(w.pages))
	p := make([]byte, writePageSize)
	put32(p, 4, 1) // the LSN of a database without transactions
	put32(p, 8, n)
	put16(p, 22, writePageSize&0xffff)
	p[24], p[25] = level, kind
	w.pages = append(w.pages, p)
	return n
}

func put16(p []byte, i, v int)        { binary.LittleEndian.PutUint16(p[i:], uint16(v)) }
func put32(p []byte, i int, v uint32) { binary.LittleEndian.PutUint32(p[i:], v) }
func get16(p []byte, i int) int       { return int(binary.LittleEndian.Uint16(p[i:])) }

// room returns the bytes between the offsets and the items of a page.
func room(p []byte) int { return get16(p, 22) - pageHeader - 2*get16(p, 20) }

// push adds an item to a page that has room for it, at an offset that is a
// multiple of align.
func push(p, item []byte, align int) {
	n := get16(p, 20)
	off := (get16(p, 22) - len(item)) &^ (align - 1)
	copy(p[off:], item)
	put16(p, pageHeader+2*n, off)
	put16(p, 20, n+1)
	put16(p, 22, off)
}

// link makes page b follow page a.
func (w *bdbWriter) link(a, b uint32) {
	put32(w.pages[a], 16, b)
	put32(w.pages[b], 12, a)
}

// spill writes text to overflow pages and returns the first.
func (w *bdbWriter) spill(text string) uint32 {
	var first, last uint32
	for text != "" {
		n := w.alloc(pageOverflow, 0)
		size := min(len(text), writePageSize-pageHeader)
		put16(w.pages[n], 20, 1) // reference count
		put16(w.pages[n], 22, size)
		copy(w.pages[n][pageHeader:], text[:size])
		text = text[size:]
		if first == 0 {
			first = n
		} else {
			w.link(last, n)
		}
		last = n
	}
	return first
}

// meta fills the part of page 0 that all types share.
func (w *bdbWriter) meta(magic, version uint32, kind byte, entries []Entry) []byte {
	p := w.pages[0]
	put16(p, 22, 0)
	put32(p, 12, magic)
	put32(p, 16, version)
	put32(p, 20, writePageSize)
	p[25] = kind
	put32(p, 32, uint32(len(w.pages)-1))
	// The file id need only differ between files; the same text gives the same file.
	sum := sha256.New()
	for _, e := range entries {
		fmt.Fprintf(sum, "%q %q\n", e.Key, e.Value)
	}
	copy(p[52:72], sum.Sum(nil))
	return p
}

// writeTo writes the whole file.
func (w *bdbWriter) writeTo(to io.Writer) error {
	out := bufio.NewWriterSize(to, 1<<18)
	for _, p := range w.pages {
		_, _ = out.Write(p)
	}
	return out.Flush()
}

// stored returns key and value as they are kept in the file.
func stored(e Entry) (key, value string) {
	if e.Bare {
		return e.Key, e.Value
	}
	return e.Key + "\x00", e.Value + "\x00"
}

// encodeHash makes a Berkeley DB hash file (version 9).
func encodeHash(entries []Entry) *bdbWriter {
	total := 0
	for _, e := range entries {
		total += min(len(e.Key), bigItem) + min(len(e.Value), bigItem) + 8
	}
	// Half full pages on average, so that nearly every bucket has one page.
	buckets := uint32(2)
	for int(buckets) < 2*total/writePageSize {
		buckets *= 2
	}
	w := &bdbWriter{}
	w.alloc(pageHashMeta, 0)
	for range buckets {
		w.alloc(pageHash, 0)
	}
	sorted := make([][]Entry, buckets)
	for _, e := range entries {
		b := fnv(e.Key, !e.Bare) & (buckets - 1)
		sorted[b] = append(sorted[b], e)
	}
	for b, list := range sorted {
		w.bucket(uint32(b)+1, list)
	}
	p := w.meta(bdbHashMagic, 9, pageHashMeta, entries)
	put32(p, 72, buckets-1)
	put32(p, 76, buckets-1)
	put32(p, 80, buckets/2-1)
	put32(p, 88, uint32(len(entries)))
	put32(p, 92, fnv(hashCheckKey, true))
	for i := range bits.Len32(buckets) {
		put32(p, hashSpares+4*i, 1)
	}
	return w
}

// bucket writes the pairs of one bucket on page n and those behind it. The
// keys of a page are sorted, as libdb wants them.
func (w *bdbWriter) bucket(n uint32, list []Entry) {
	slices.SortFunc(list, compareStored)
	for _, e := range list {
		key, value := stored(e)
		k, v := w.hashItem(key), w.hashItem(value)
		if room(w.pages[n]) < len(k)+len(v)+4 {
			more := w.alloc(pageHash, 0)
			w.link(n, more)
			n = more
		}
		push(w.pages[n], k, 1)
		push(w.pages[n], v, 1)
	}
}

// compareStored orders entries as libdb does: by the bytes that are stored.
func compareStored(a, b Entry) int {
	ka, _ := stored(a)
	kb, _ := stored(b)
	return strings.Compare(ka, kb)
}

// hashItem returns the form of text on a hash page.
func (w *bdbWriter) hashItem(text string) []byte {
	if len(text) <= bigItem-1 {
		return append([]byte{itemData}, text...)
	}
	item := make([]byte, 12)
	item[0] = itemOffPage
	put32(item, 4, w.spill(text))
	put32(item, 8, uint32(len(text)))
	return item
}

// encodeBtree makes a Berkeley DB btree file (version 9), bottom
// up. Page 1 is kept for the root, where libdb wants it.
func encodeBtree(entries []Entry) *bdbWriter {
	entries = slices.SortedFunc(slices.Values(entries), compareStored)
	w := &bdbWriter{}
	w.alloc(pageTreeMeta, 0)
	w.alloc(pageLeaf, 1)
	size := 0
	for _, e := range entries {
		key, value := stored(e)
		size += treeItemSize(key) + treeItemSize(value)
	}
	level := w.leaves(entries, size <= room(w.pages[1]))
	for height := byte(2); len(level) > 1; height++ {
		level = w.internal(level, height)
	}
	p := w.meta(bdbBtreeMagic, 9, pageTreeMeta, entries)
	put32(p, 76, 2) // at least two keys per page
	put32(p, 84, ' ')
	put32(p, treeRoot, 1)
	return w
}

// branch is a page of a btree with its least key.
type branch struct {
	page  uint32
	least string
}

// node returns a page for a level of the tree; the root is page 1.
func (w *bdbWriter) node(kind, level byte, root bool) uint32 {
	if !root {
		return w.alloc(kind, level)
	}
	w.pages[1][24], w.pages[1][25] = level, kind
	return 1
}

// leaves writes the leaf pages.
func (w *bdbWriter) leaves(entries []Entry, root bool) []branch {
	out := []branch{{page: w.node(pageLeaf, 1, root)}}
	for _, e := range entries {
		key, value := stored(e)
		last := &out[len(out)-1]
		if room(w.pages[last.page]) < treeItemSize(key)+treeItemSize(value) {
			n := w.alloc(pageLeaf, 1)
			w.link(last.page, n)
			out = append(out, branch{page: n})
			last = &out[len(out)-1]
		}
		if get16(w.pages[last.page], 20) == 0 {
			last.least = key
		}
		push(w.pages[last.page], w.treeItem(key), 4)
		push(w.pages[last.page], w.treeItem(value), 4)
	}
	return out
}

// internal writes one level of pages above the given one. The least key of the
// first child on a page is never looked at, so it is left out.
func (w *bdbWriter) internal(below []branch, height byte) []branch {
	size := 0
	for _, b := range below {
		size += internalItemSize(b.least)
	}
	out := []branch{{page: w.node(pageInternal, height, size <= room(w.pages[1])), least: below[0].least}}
	for _, b := range below {
		last := &out[len(out)-1]
		if room(w.pages[last.page]) < internalItemSize(b.least) {
			out = append(out, branch{page: w.alloc(pageInternal, height), least: b.least})
			last = &out[len(out)-1]
		}
		least := b.least
		if get16(w.pages[last.page], 20) == 0 {
			least = ""
		}
		push(w.pages[last.page], w.internalItem(b.page, least), 4)
	}
	return out
}

// treeItemSize and internalItemSize are the room that an item takes on a leaf
// and on an internal page, its offset included.
func treeItemSize(text string) int {
	if len(text) > bigTreeItem {
		return 12 + 2
	}
	return align4(3+len(text)) + 2
}

func internalItemSize(least string) int {
	if len(least) > bigTreeItem {
		return 24 + 2
	}
	return align4(12+len(least)) + 2
}

// internalItem returns the entry for a child page.
func (w *bdbWriter) internalItem(child uint32, least string) []byte {
	kind, text := byte(treeData), []byte(least)
	if len(least) > bigTreeItem {
		kind, text = treeOverflow, w.treeItem(least)
	}
	item := make([]byte, 12, 12+len(text))
	put16(item, 0, len(text))
	item[2] = kind
	put32(item, 4, child)
	return append(item, text...)
}

// treeItem returns the form of text on a leaf.
func (w *bdbWriter) treeItem(text string) []byte {
	if len(text) <= bigTreeItem {
		item := make([]byte, 3, 3+len(text))
		put16(item, 0, len(text))
		item[2] = treeData
		return append(item, text...)
	}
	item := make([]byte, 12)
	item[2] = treeOverflow
	put32(item, 4, w.spill(text))
	put32(item, 8, uint32(len(text)))
	return item
}

// align4 rounds up to a multiple of four.
func align4(n int) int { return (n + 3) &^ 3 }
