package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unsafe"
)

// LMDB files (format 1, which is that of all releases before 1.0, written by a
// machine with 64 bits) are arrays of equal pages that form a btree. A writer
// never changes a page that the last committed state can reach: it writes
// others, and then one of the two meta pages, in turn.
//
//	any page          meta page, at offset 16      a database
//	 0 page number     0 magic                      0 page size (free pages)
//	10 flags           4 version                    4 flags
//	12 lower end      16 size of the map            6 depth
//	14 upper end      24 the free pages             8 branch pages
//	12 pages          72 the data                  16 leaf pages
//	16 offsets       120 last page                 24 overflow pages
//	                 128 transaction               32 entries
//	                                               40 root
//
// A page of nodes has their offsets behind its head and the nodes at its end:
// two halves of a size, flags, the size of the key (16 bits each), key, value.
// In a branch page size and flags are the page number. A value that does not
// fit is a page number, and the value has pages of its own, one behind the other.
const (
	lmdbMagic   = 0xBEEFC0DE
	lmdbVersion = 1
	lmdbHead    = 16

	lmdbBranch   = 0x01
	lmdbLeaf     = 0x02
	lmdbOverflow = 0x04
	lmdbMetaPage = 0x08
	lmdbKinds    = 0x2f // also 0x20, a leaf of keys alone

	lmdbBigData  = 0x01 // flags of a node
	lmdbNodeHead = 8

	lmdbFree     = lmdbHead + 24
	lmdbMain     = lmdbHead + 72
	lmdbLastPage = lmdbHead + 120
	lmdbTxn      = lmdbHead + 128
	lmdbMetaSize = lmdbHead + 136
	lmdbDepth    = 32
	lmdbNoPage   = ^uint64(0)
)

// errLMDB is wrapped by every complaint about the structure of a file.
var errLMDB = errors.New("damaged LMDB file")

// badLMDB returns an error about the structure of a file.
func badLMDB(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errLMDB, fmt.Sprintf(format, args...))
}

// lmdbFormat is lmdb:. A writer leaves the state alone that readers read, and
// the one before it.
func lmdbFormat() *indexFormat {
	return &indexFormat{typ: "lmdb", suffix: ".lmdb", versioned: true, open: func(data string) (index, error) { return newLMDBFile(data) }}
}

// openLMDB opens lmdb:path.
func openLMDB(name string, o *Options) (Table, error) { return openIndexed(lmdbFormat(), name, o) }

// lmdbFile looks up keys in an LMDB file.
type lmdbFile struct {
	data     string
	pageSize int
}

// lmdbState is the state after one transaction.
type lmdbState struct{ root, last, txn uint64 }

// newLMDBFile checks the meta pages.
func newLMDBFile(data string) (*lmdbFile, error) {
	f := &lmdbFile{data: data}
	if len(data) < lmdbMetaSize {
		return nil, badLMDB("%d bytes are too few", len(data))
	}
	if le32(data, lmdbHead) != lmdbMagic {
		if le32(data, 12) == lmdbMagic || be32(data, lmdbHead) == lmdbMagic {
			return nil, errors.New("the LMDB file was made on another kind of machine (not 64 bits little endian)")
		}
		return nil, errors.New("MDB_INVALID: File is not an LMDB file")
	}
	size := le32(data, lmdbFree)
	if size < 256 || size > maxPage || size&(size-1) != 0 {
		return nil, badLMDB("page size %d", size)
	}
	f.pageSize = int(size)
	if len(data) < 2*f.pageSize {
		return nil, badLMDB("%d bytes are too few", len(data))
	}
	for n := range 2 {
		if err := f.checkMeta(f.data[n*f.pageSize:]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// checkMeta checks what does not change in a meta page.
func (f *lmdbFile) checkMeta(p string) error {
	switch {
	case le16(p, 10)&lmdbMetaPage == 0 || le32(p, lmdbHead) != lmdbMagic:
		return badLMDB("meta page")
	case le32(p, lmdbHead+4) != lmdbVersion:
		return fmt.Errorf("MDB_VERSION_MISMATCH: version %d of the LMDB file format is not supported", le32(p, lmdbHead+4))
	case le16(p, lmdbMain+4) != 0:
		return errors.New("LMDB files with duplicate keys, or keys in another order, are not supported")
	}
	return nil
}

// le16 and le64 read at offset i of s, which the caller has checked.
func le16(s string, i int) int { return int(s[i]) | int(s[i+1])<<8 }

func le64(s string, i int) uint64 { return uint64(le32(s, i)) | uint64(le32(s, i+4))<<32 }

// txn is the transaction of a meta page. It is written last, by a process that
// we share no lock with: what is read after it is at least as new.
func (f *lmdbFile) txn(n int) uint64 {
	v := atomic.LoadUint64((*uint64)(unsafe.Pointer(unsafe.StringData(f.data[n*f.pageSize+lmdbTxn:]))))
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Pointer(&v))[:])
}

// newest is the number of the last transaction.
func (f *lmdbFile) newest() uint64 { return max(f.txn(0), f.txn(1)) }

// state returns the last committed state.
func (f *lmdbFile) state() (lmdbState, error) {
	for range lmdbTries {
		n := 0
		if f.txn(1) > f.txn(0) {
			n = 1
		}
		p := f.data[n*f.pageSize:]
		s := lmdbState{txn: f.txn(n), root: le64(p, lmdbMain+40), last: le64(p, lmdbLastPage)}
		if f.txn(n) == s.txn && f.newest() == s.txn {
			return s, nil
		}
	}
	return lmdbState{}, errChanged
}

// lmdbTries bounds the tries of a lookup while a writer commits again and again.
const lmdbTries = 10

// get implements index.
func (f *lmdbFile) get(key string) (value string, ok bool, err error) {
	err = f.consistent(func(s lmdbState) error {
		value, ok, err = f.find(s, key)
		return err
	})
	return value, ok, err
}

// consistent runs fn on the last state until no writer came across it: pages
// that a state can reach are used again by the second transaction after it,
// and the first to work on the file then is the third.
func (f *lmdbFile) consistent(fn func(lmdbState) error) error {
	for range lmdbTries {
		s, err := f.state()
		if err != nil {
			return err
		}
		err = fn(s)
		if now := f.newest(); now == s.txn || now == s.txn+1 {
			return err
		}
	}
	return errChanged
}

// page returns page n of a state, of one of the given kinds.
func (f *lmdbFile) page(s lmdbState, n uint64, kinds int) (string, int, error) {
	if n < 2 || n > s.last || n >= uint64(len(f.data)/f.pageSize) {
		return "", 0, badLMDB("page %d of %d", n, len(f.data)/f.pageSize)
	}
	p := f.data[int(n)*f.pageSize:][:f.pageSize]
	kind := le16(p, 10) & lmdbKinds
	if le64(p, 0) != n || kind&kinds == 0 || kind&(kind-1) != 0 {
		return "", 0, badLMDB("page %d", n)
	}
	count := (le16(p, 12) - lmdbHead) / 2
	if kind != lmdbOverflow && (count < 0 || lmdbHead+2*count > f.pageSize || kind == lmdbBranch && count == 0) {
		return "", 0, badLMDB("page %d has %d nodes", n, count)
	}
	return p, count, nil
}

// node returns node i of a page, from its head on, and its key.
func (f *lmdbFile) node(p string, i int) (node, key string, err error) {
	at := le16(p, lmdbHead+2*i)
	if at+lmdbNodeHead > len(p) {
		return "", "", badLMDB("node at offset %d", at)
	}
	node = p[at:]
	size := le16(node, 6)
	if lmdbNodeHead+size > len(node) {
		return "", "", badLMDB("key of %d bytes", size)
	}
	return node, node[lmdbNodeHead : lmdbNodeHead+size], nil
}

// child is the page that a node of a branch page is about.
func child(node string) uint64 {
	return uint64(le16(node, 0)) | uint64(le16(node, 2))<<16 | uint64(le16(node, 4))<<32
}

// value returns the value of a node of a leaf, whose key has the given size.
func (f *lmdbFile) value(s lmdbState, node string, keySize int) (string, error) {
	size := le16(node, 0) | le16(node, 2)<<16
	rest := node[lmdbNodeHead+keySize:]
	switch flags := le16(node, 4); {
	case flags == 0 && size <= len(rest):
		return rest[:size], nil
	case flags == lmdbBigData && len(rest) >= 8:
		n := le64(rest, 0)
		p, _, err := f.page(s, n, lmdbOverflow)
		if err != nil {
			return "", err
		}
		start := int(n)*f.pageSize + lmdbHead
		if pages := le32(p, 12); size > int(pages)*f.pageSize-lmdbHead || size > len(f.data)-start {
			return "", badLMDB("value of %d bytes", size)
		}
		return f.data[start : start+size], nil
	}
	return "", badLMDB("value of %d bytes", size)
}

// find returns the value of key with a NUL or without. Nothing sorts between
// the two, so that they are neighbours, on one leaf or on two.
func (f *lmdbFile) find(s lmdbState, key string) (string, bool, error) {
	if s.root == lmdbNoPage {
		return "", false, nil
	}
	for _, nul := range [2]bool{true, false} {
		p, count, err := f.leaf(s, key, nul)
		if err != nil {
			return "", false, err
		}
		at, err := f.search(p, count, key, nul, 0)
		if err != nil {
			return "", false, err
		}
		if value, ok, err := f.match(s, p, count, at, key, nul); ok || err != nil {
			return value, ok, err
		}
		if nul && at > 0 {
			return f.match(s, p, count, at-1, key, false)
		}
	}
	return "", false, nil
}

// leaf returns the leaf that key belongs to.
func (f *lmdbFile) leaf(s lmdbState, key string, nul bool) (string, int, error) {
	n := s.root
	for range lmdbDepth {
		p, count, err := f.page(s, n, lmdbBranch|lmdbLeaf)
		if err != nil || le16(p, 10)&lmdbLeaf != 0 {
			return p, count, err
		}
		// The key of the first node is not looked at: it is less than all.
		at, err := f.search(p, count, key, nul, 1)
		if err != nil {
			return "", 0, err
		}
		node, item := "", ""
		if at < count {
			node, item, err = f.node(p, at)
		}
		if err == nil && (at == count || !isKey(item, key, nul)) {
			node, _, err = f.node(p, at-1)
		}
		if err != nil {
			return "", 0, err
		}
		n = child(node)
	}
	return "", 0, badLMDB("the tree is too deep")
}

// search returns the first node from low on whose key is not less than key.
func (f *lmdbFile) search(p string, count int, key string, nul bool, low int) (int, error) {
	for high := count; low < high; {
		mid := (low + high) / 2
		_, item, err := f.node(p, mid)
		if err != nil {
			return 0, err
		}
		if compareKey(key, nul, item) > 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// match returns the value of node i if it is there and its key is key.
func (f *lmdbFile) match(s lmdbState, p string, count, i int, key string, nul bool) (string, bool, error) {
	if i >= count {
		return "", false, nil
	}
	node, item, err := f.node(p, i)
	if err != nil || !isKey(item, key, nul) {
		return "", false, err
	}
	value, err := f.value(s, node, len(item))
	return value, err == nil, err
}

// each implements index. It copies each pair: a writer that comes across the
// walk ends it with an error, which no pair of another state may precede.
func (f *lmdbFile) each(fn func(key, value string) bool) error {
	s, err := f.state()
	if err != nil || s.root == lmdbNoPage {
		return err
	}
	w := &lmdbWalk{f: f, state: s, pages: min(s.last, uint64(len(f.data)/f.pageSize)), room: len(f.data), fn: fn}
	_, err = w.below(s.root, 0)
	return err
}

// lmdbWalk is a walk over all pairs; pages and room bound it.
type lmdbWalk struct {
	f     *lmdbFile
	state lmdbState
	pages uint64
	room  int
	fn    func(key, value string) bool
}

// below walks what is below page n; more tells whether fn wants to go on.
func (w *lmdbWalk) below(n uint64, depth int) (more bool, err error) {
	if w.pages == 0 || depth >= lmdbDepth {
		return false, badLMDB("pages are linked twice")
	}
	w.pages--
	p, count, err := w.f.page(w.state, n, lmdbBranch|lmdbLeaf)
	if err != nil {
		return false, err
	}
	for i := range count {
		node, key, err := w.f.node(p, i)
		if err != nil {
			return false, err
		}
		if le16(p, 10)&lmdbBranch != 0 {
			more, err = w.below(child(node), depth+1)
		} else {
			more, err = w.pair(node, key)
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// pair hands out one pair, unless its page may have been used again meanwhile.
func (w *lmdbWalk) pair(node, key string) (bool, error) {
	value, err := w.f.value(w.state, node, len(key))
	if err != nil {
		return false, err
	}
	if w.room -= len(key) + len(value); w.room < 0 {
		return false, badLMDB("nodes overlap")
	}
	key, value = strings.Clone(key), strings.Clone(value)
	if now := w.f.newest(); now != w.state.txn && now != w.state.txn+1 {
		return false, errChanged
	}
	return w.fn(key, value), nil
}
