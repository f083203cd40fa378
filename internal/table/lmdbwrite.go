package table

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// What we write has pages of 4096 bytes; lmdbBigNode is the size of a node above
// which its value goes to pages of its own, and lmdbMaxKey what an LMDB library
// takes for a key.
const (
	lmdbPageSize = 4096
	lmdbBigNode  = (lmdbPageSize-lmdbHead)/2 - 2
	lmdbMaxKey   = 511
	// lmdbMapSize is the least map size, Postfix's lmdb_map_size.
	lmdbMapSize  = 16 << 20
	lmdbDataFlag = 0x08 // the database of free pages has integers as keys
)

// errKeySize is the complaint of the LMDB library about a key.
var errKeySize = errors.New("MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or wrong DUPFIXED size")

// writeLMDB makes an LMDB file.
func writeLMDB(path string, entries []Entry, o WriteOptions) error {
	for _, e := range entries {
		if key, value := storedSize(e); key > lmdbMaxKey || key == 0 || value > math.MaxInt32 {
			return fmt.Errorf("error updating lmdb:%s: %w", strings.TrimSuffix(path, lmdbFormat().suffix), errKeySize)
		}
	}
	return replaceFile(path, o, func(w io.Writer) error { return encodeLMDB(w, entries) })
}

// lmdbWriter writes pages one after the other. What a page above has to know of
// those below is all that is kept of them.
type lmdbWriter struct {
	w *bufio.Writer
	// next is the number of the next page; page is that which is being filled.
	next uint64
	page []byte
	// big are values for the pages behind the current one.
	big []string
	// branches, leaves and overflow count pages; depth counts levels.
	branches, leaves, overflow uint64
	depth                      int
}

// lmdbBranchNode is a page with the least key below it.
type lmdbBranchNode struct {
	page  uint64
	least Entry
}

// encodeLMDB writes an LMDB file: leaves in the order of keys, then the levels
// above them. The meta pages come first, so that the sizes of all are counted
// by a first pass that writes nothing.
func encodeLMDB(to io.Writer, entries []Entry) error {
	entries = slices.SortedFunc(slices.Values(entries), compareStored)
	count := &lmdbWriter{w: bufio.NewWriter(io.Discard), next: 2}
	root := count.tree(entries)
	w := &lmdbWriter{w: bufio.NewWriterSize(to, 1<<18), next: 2}
	for n := range uint64(2) {
		meta := count.meta(n, root, uint64(len(entries)))
		_, _ = w.w.Write(meta)
	}
	w.tree(entries)
	return w.w.Flush()
}

// meta makes a meta page: the first has the empty state before the only
// transaction, the second that behind it.
func (w *lmdbWriter) meta(n, root, entries uint64) []byte {
	p := make([]byte, lmdbPageSize)
	put64 := func(at int, v uint64) { binary.LittleEndian.PutUint64(p[at:], v) }
	put64(0, n)
	put16(p, 10, lmdbMetaPage)
	put32(p, lmdbHead, lmdbMagic)
	put32(p, lmdbHead+4, lmdbVersion)
	size := uint64(lmdbMapSize)
	for size < w.next*lmdbPageSize*2 {
		size *= 2
	}
	put64(lmdbHead+16, size)
	put32(p, lmdbFree, lmdbPageSize)
	put16(p, lmdbFree+4, lmdbDataFlag)
	put64(lmdbFree+40, lmdbNoPage)
	put64(lmdbMain+40, lmdbNoPage)
	put64(lmdbLastPage, 1)
	put64(lmdbTxn, n)
	if n == 0 || entries == 0 {
		return p
	}
	put16(p, lmdbMain+6, w.depth)
	put64(lmdbMain+8, w.branches)
	put64(lmdbMain+16, w.leaves)
	put64(lmdbMain+24, w.overflow)
	put64(lmdbMain+32, entries)
	put64(lmdbMain+40, root)
	put64(lmdbLastPage, w.next-1)
	return p
}

// tree writes all pages but the meta pages and returns the root.
func (w *lmdbWriter) tree(entries []Entry) (root uint64) {
	level := w.leafLevel(entries)
	for w.depth = 1; len(level) > 1; w.depth++ {
		level = w.branchLevel(level)
	}
	if len(level) == 0 {
		return lmdbNoPage
	}
	return level[0].page
}

// begin begins a page.
func (w *lmdbWriter) begin(kind int) {
	w.page = make([]byte, lmdbPageSize)
	binary.LittleEndian.PutUint64(w.page, w.next)
	put16(w.page, 10, kind)
	put16(w.page, 12, lmdbHead)
	put16(w.page, 14, lmdbPageSize)
	w.next++
}

// end writes the page, and the values that did not fit.
func (w *lmdbWriter) end() {
	_, _ = w.w.Write(w.page)
	for _, text := range w.big {
		pages := lmdbOverflowPages(len(text))
		head := make([]byte, lmdbHead)
		binary.LittleEndian.PutUint64(head, w.next-w.bigPages())
		put16(head, 10, lmdbOverflow)
		put32(head, 12, uint32(pages))
		_, _ = w.w.Write(head)
		_, _ = w.w.WriteString(text)
		_, _ = w.w.Write(make([]byte, int(pages)*lmdbPageSize-lmdbHead-len(text)))
		w.overflow += pages
		w.big = w.big[1:]
	}
}

// bigPages is the number of pages of the values that wait.
func (w *lmdbWriter) bigPages() (n uint64) {
	for _, text := range w.big {
		n += lmdbOverflowPages(len(text))
	}
	return n
}

// lmdbOverflowPages is the number of pages for a value.
func lmdbOverflowPages(size int) uint64 {
	return uint64(lmdbHead+size+lmdbPageSize-1) / lmdbPageSize
}

// fits tells whether the page has room for a node.
func (w *lmdbWriter) fits(size int) bool {
	return get16(w.page, 14)-get16(w.page, 12) >= size+2
}

// node makes room for a node on the page and returns it.
func (w *lmdbWriter) node(size int) []byte {
	low, high := get16(w.page, 12), get16(w.page, 14)-size
	put16(w.page, low, high)
	put16(w.page, 12, low+2)
	put16(w.page, 14, high)
	return w.page[high : high+size]
}

// leafLevel writes the leaves.
func (w *lmdbWriter) leafLevel(entries []Entry) []lmdbBranchNode {
	var level []lmdbBranchNode
	for _, e := range entries {
		keySize, valueSize := storedSize(e)
		size, big := lmdbNodeHead+keySize+valueSize, false
		if size > lmdbBigNode {
			size, big = lmdbNodeHead+keySize+8, true
		}
		size += size % 2
		if len(level) == 0 || !w.fits(size) {
			if len(level) > 0 {
				w.end()
			}
			level = append(level, lmdbBranchNode{w.next, e})
			w.begin(lmdbLeaf)
			w.leaves++
		}
		node := w.node(size)
		put16(node, 0, valueSize)
		put16(node, 2, valueSize>>16)
		put16(node, 6, keySize)
		copy(node[lmdbNodeHead:], e.Key)
		if !big {
			copy(node[lmdbNodeHead+keySize:], e.Value)
			continue
		}
		put16(node, 4, lmdbBigData)
		binary.LittleEndian.PutUint64(node[lmdbNodeHead+keySize:], w.next)
		_, value := stored(e)
		w.big = append(w.big, value)
		w.next += lmdbOverflowPages(valueSize)
	}
	if len(level) > 0 {
		w.end()
	}
	return level
}

// branchLevel writes the pages above a level. The key of the first node of a
// page is never looked at, so it is left out.
func (w *lmdbWriter) branchLevel(below []lmdbBranchNode) []lmdbBranchNode {
	var level []lmdbBranchNode
	for _, b := range below {
		keySize, _ := storedSize(b.least)
		size := lmdbNodeHead + keySize
		size += size % 2
		if len(level) == 0 || !w.fits(size) {
			if len(level) > 0 {
				w.end()
			}
			level = append(level, lmdbBranchNode{w.next, b.least})
			w.begin(lmdbBranch)
			w.branches++
			size, keySize = lmdbNodeHead, 0
		}
		node := w.node(size)
		put16(node, 0, int(b.page))
		put16(node, 2, int(b.page>>16))
		put16(node, 4, int(b.page>>32))
		put16(node, 6, keySize)
		copy(node[lmdbNodeHead:], b.least.Key[:min(keySize, len(b.least.Key))])
	}
	w.end()
	return level
}
