package table

import (
	"errors"
	"fmt"
	"strings"
)

// Berkeley DB files (format of release 4.6 to 5.3, which is what Debian's
// Postfix writes) are arrays of equal pages. Page 0 is the meta page.
//
//	meta page                         other pages
//	 0 LSN            28 free list     0 LSN            20 entries (16 bit)
//	 8 page number    32 last page     8 page number    22 end of free room
//	12 magic          36 partitions   12 previous page  24 level
//	16 version        40 keys         16 next page      25 type
//	20 page size      44 records                        26 offsets (16 bit each)
//	24 cipher         48 flags
//	25 type           52 file id (20)
//	26 meta flags     72 by type
//
// Integers are in the byte order of the machine that made the file; the magic
// tells which. Items are allotted from the end of a page downwards.
const (
	bdbHashMagic  = 0x061561
	bdbBtreeMagic = 0x053162

	pageInternal = 3  // btree internal
	pageLeaf     = 5  // btree leaf
	pageUnused   = 0  // never written
	pageOverflow = 7  // part of a long item
	pageHashMeta = 8  //
	pageTreeMeta = 9  //
	pageHashOld  = 2  // hash, items unsorted (before 4.6)
	pageHash     = 13 // hash, items sorted

	pageHeader  = 26
	bdbMetaSize = 512
	minPage     = 512
	maxPage     = 65536
)

// errDatabase is wrapped by every complaint about the structure of a file.
var errDatabase = errors.New("damaged Berkeley DB file")

// damaged returns an error about the structure of a file.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDatabase, fmt.Sprintf(format, args...))
}

// bdbFile is a Berkeley DB file. Values are parts of data, so that a lookup
// copies nothing.
type bdbFile struct {
	data     string
	big      bool
	pageSize int
	pages    uint32
}

// openBDB checks the meta page of a file and returns its type-specific part.
func openBDB(data string, magic uint32, pageType byte) (*bdbFile, error) {
	f := &bdbFile{data: data}
	if len(data) < bdbMetaSize {
		return nil, damaged("%d bytes are too few", len(data))
	}
	switch {
	case le32(data, 12) == magic:
	case be32(data, 12) == magic:
		f.big = true
	default:
		return nil, damaged("unexpected file type or format")
	}
	version, size := f.u32(data, 16), f.u32(data, 20)
	if size < minPage || size > maxPage || size&(size-1) != 0 {
		return nil, damaged("page size %d", size)
	}
	if data[24] != 0 || data[26] != 0 || f.u32(data, 36) != 0 {
		return nil, fmt.Errorf("encrypted, checksummed and partitioned Berkeley DB files are not supported")
	}
	if version < 8 || version > 10 {
		return nil, fmt.Errorf("version %d of the Berkeley DB file format is not supported", version)
	}
	if data[25] != pageType {
		return nil, damaged("meta page of type %d", data[25])
	}
	f.pageSize = int(size)
	f.pages = uint32(min(len(data)/f.pageSize, 1<<31))
	if last := f.u32(data, 32); last >= f.pages {
		return nil, damaged("last page is %d but the file has %d", last, f.pages)
	}
	return f, nil
}

// le32 and be32 read 32 bits at offset i of s, which the caller has checked.
func le32(s string, i int) uint32 {
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}

func be32(s string, i int) uint32 {
	return uint32(s[i+3]) | uint32(s[i+2])<<8 | uint32(s[i+1])<<16 | uint32(s[i])<<24
}

// u32 reads 32 bits in the byte order of the file.
func (f *bdbFile) u32(s string, i int) uint32 {
	if f.big {
		return be32(s, i)
	}
	return le32(s, i)
}

// u16 reads 16 bits in the byte order of the file.
func (f *bdbFile) u16(s string, i int) int {
	if f.big {
		return int(s[i])<<8 | int(s[i+1])
	}
	return int(s[i+1])<<8 | int(s[i])
}

// page is a page other than the meta page.
type page struct {
	text    string
	entries int
	kind    byte
}

// page returns page n with its offsets within bounds.
func (f *bdbFile) page(n uint32) (page, error) {
	if n == 0 || n >= f.pages {
		return page{}, damaged("page %d of %d", n, f.pages)
	}
	start := int(n) * f.pageSize
	p := page{text: f.data[start : start+f.pageSize]}
	p.kind = p.text[25]
	if p.kind == pageOverflow {
		return p, nil
	}
	p.entries = f.u16(p.text, 20)
	if pageHeader+2*p.entries > f.pageSize {
		return page{}, damaged("page %d has %d entries", n, p.entries)
	}
	return p, nil
}

// next returns the number of the following page in a chain, or 0.
func (f *bdbFile) next(p page) uint32 { return f.u32(p.text, 16) }

// offset returns where item i of a page begins.
func (f *bdbFile) offset(p page, i int) (int, error) {
	off := f.u16(p.text, pageHeader+2*i)
	if off < pageHeader+2*p.entries || off >= f.pageSize {
		return 0, damaged("item at offset %d", off)
	}
	return off, nil
}

// overflow returns an item of the given size that begins on overflow page n.
func (f *bdbFile) overflow(n, size uint32) (string, error) {
	if uint64(size) > uint64(len(f.data)) {
		return "", damaged("item of %d bytes", size)
	}
	var b strings.Builder
	for hops := uint32(0); n != 0; hops++ {
		p, err := f.page(n)
		if err != nil {
			return "", err
		}
		length := f.u16(p.text, 22)
		if p.kind != pageOverflow || hops >= f.pages || pageHeader+length > f.pageSize || b.Len()+length > int(size) {
			return "", damaged("overflow page %d", n)
		}
		b.WriteString(p.text[pageHeader : pageHeader+length])
		n = f.next(p)
	}
	if b.Len() != int(size) {
		return "", damaged("item of %d bytes has %d", size, b.Len())
	}
	return b.String(), nil
}

// pairWalk guards a walk over all pairs. It stops when there is more text than
// the file has room for: items that share overflow pages would cost the square
// of the file's size.
type pairWalk struct {
	room int
	fn   func(key, value string) bool
	// over tells that the room was not enough.
	over bool
}

// newWalk begins a walk over the pairs of f.
func (f *bdbFile) newWalk(fn func(key, value string) bool) *pairWalk {
	return &pairWalk{room: len(f.data), fn: fn}
}

// pair takes one pair.
func (l *pairWalk) pair(key, value string) bool {
	l.room -= len(key) + len(value)
	l.over = l.room < 0
	return !l.over && l.fn(key, value)
}

// end is how the walk ended.
func (l *pairWalk) end(err error) error {
	if err == nil && l.over {
		return damaged("items overlap")
	}
	return err
}

// cText returns s up to its first NUL, as C programs see it.
func cText(s string) string {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return s[:i]
	}
	return s
}

// isKey tells whether the stored item is key, with a NUL behind it when nul is set.
func isKey(item, key string, nul bool) bool {
	if !nul {
		return item == key
	}
	return len(item) == len(key)+1 && item[len(key)] == 0 && item[:len(key)] == key
}
