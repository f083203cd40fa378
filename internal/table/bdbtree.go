package table

import "strings"

// Btree pages hold items with a length: 16 bits length, 8 bits type whose high
// bit marks a deleted item. An item on overflow pages has the page number at
// offset 4 and the size at 8. A leaf holds key and value in turn; an internal
// page holds, per child: length, type, page number (4), record count (8) and
// the least key of the child (12), which is not to be looked at in the first.
const (
	treeData     = 1
	treeOverflow = 3
	treeDeleted  = 0x80
	treeRoot     = 88
	maxTreeDepth = 32
)

// treeFile looks up keys in a Berkeley DB btree file.
type treeFile struct {
	*bdbFile
	root uint32
}

// newTreeFile reads the meta page.
func newTreeFile(data string) (*treeFile, error) {
	f, err := openBDB(data, bdbBtreeMagic, pageTreeMeta)
	if err != nil {
		return nil, err
	}
	t := &treeFile{bdbFile: f, root: f.u32(data, treeRoot)}
	if f.u32(data, 48) != 0 {
		return nil, damaged("duplicate keys, records or several databases in one file")
	}
	return t, nil
}

// treePage returns page n of the tree.
func (t *treeFile) treePage(n uint32) (page, error) {
	p, err := t.page(n)
	if err != nil {
		return p, err
	}
	if p.kind != pageInternal && (p.kind != pageLeaf || p.entries%2 != 0) {
		return p, damaged("btree page %d", n)
	}
	if p.kind == pageInternal && p.entries == 0 {
		return p, damaged("btree page %d is empty", n)
	}
	return p, nil
}

// leafItem returns item i of a leaf.
func (t *treeFile) leafItem(p page, i int) (text string, deleted bool, err error) {
	off, err := t.offset(p, i)
	if err != nil {
		return "", false, err
	}
	if off+3 > t.pageSize {
		return "", false, damaged("item at offset %d", off)
	}
	kind := p.text[off+2]
	deleted = kind&treeDeleted != 0
	switch kind &^ treeDeleted {
	case treeData:
		end := off + 3 + t.u16(p.text, off)
		if end > t.pageSize {
			return "", false, damaged("item at offset %d", off)
		}
		return p.text[off+3 : end], deleted, nil
	case treeOverflow:
		if off+12 > t.pageSize {
			return "", false, damaged("item at offset %d", off)
		}
		text, err = t.overflow(t.u32(p.text, off+4), t.u32(p.text, off+8))
		return text, deleted, err
	}
	return "", false, damaged("item of type %d", kind)
}

// child returns the page number of child i of an internal page, and its least
// key when key is set.
func (t *treeFile) child(p page, i int, key bool) (n uint32, least string, err error) {
	off, err := t.offset(p, i)
	if err != nil {
		return 0, "", err
	}
	if off+12 > t.pageSize {
		return 0, "", damaged("item at offset %d", off)
	}
	n = t.u32(p.text, off+4)
	if !key {
		return n, "", nil
	}
	end := off + 12 + t.u16(p.text, off)
	if end > t.pageSize {
		return 0, "", damaged("item at offset %d", off)
	}
	least = p.text[off+12 : end]
	if p.text[off+2]&^treeDeleted == treeOverflow {
		if len(least) < 12 {
			return 0, "", damaged("item at offset %d", off)
		}
		least, err = t.overflow(t.u32(least, 4), t.u32(least, 8))
	}
	return n, least, err
}

// compareKey compares key, with a NUL behind it when nul is set, to an item.
func compareKey(key string, nul bool, item string) int {
	n := min(len(key), len(item))
	if c := strings.Compare(key[:n], item[:n]); c != 0 {
		return c
	}
	size := len(key)
	if nul {
		if len(item) > size && item[size] != 0 {
			return -1
		}
		size++
	}
	return size - len(item)
}

// get implements index. Nothing sorts between a key without NUL and the same
// with one, so that they are neighbours, on one leaf or on two.
func (t *treeFile) get(key string) (string, bool, error) {
	p, err := t.leaf(key, true)
	if err != nil {
		return "", false, err
	}
	at, err := t.search(p, key, true)
	if err != nil {
		return "", false, err
	}
	if value, ok, err := t.value(p, at, key, true); ok || err != nil {
		return value, ok, err
	}
	if at > 0 {
		return t.value(p, at-1, key, false)
	}
	if p, err = t.leaf(key, false); err != nil {
		return "", false, err
	}
	if at, err = t.search(p, key, false); err != nil {
		return "", false, err
	}
	return t.value(p, at, key, false)
}

// leaf returns the leaf that key belongs to.
func (t *treeFile) leaf(key string, nul bool) (page, error) {
	n := t.root
	for range maxTreeDepth {
		p, err := t.treePage(n)
		if err != nil || p.kind == pageLeaf {
			return p, err
		}
		if n, err = t.descend(p, key, nul); err != nil {
			return p, err
		}
	}
	return page{}, damaged("btree is too deep")
}

// descend returns the child of an internal page that may hold key.
func (t *treeFile) descend(p page, key string, nul bool) (uint32, error) {
	// low is the last child known to begin at or before the key.
	low, high := 0, p.entries
	for high-low > 1 {
		mid := (low + high) / 2
		_, least, err := t.child(p, mid, true)
		if err != nil {
			return 0, err
		}
		if compareKey(key, nul, least) < 0 {
			high = mid
		} else {
			low = mid
		}
	}
	n, _, err := t.child(p, low, false)
	return n, err
}

// search returns the index of the first pair of a leaf whose key is not less
// than key.
func (t *treeFile) search(p page, key string, nul bool) (int, error) {
	low, high := 0, p.entries/2
	for low < high {
		mid := (low + high) / 2
		item, _, err := t.leafItem(p, 2*mid)
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

// value returns the value of pair i of a leaf if it is there and its key is key.
func (t *treeFile) value(p page, i int, key string, nul bool) (string, bool, error) {
	if i >= p.entries/2 {
		return "", false, nil
	}
	item, deleted, err := t.leafItem(p, 2*i)
	if err != nil || deleted || !isKey(item, key, nul) {
		return "", false, err
	}
	value, deleted, err := t.leafItem(p, 2*i+1)
	return value, err == nil && !deleted, err
}

// walk calls fn for each raw pair below page n in the order of keys, until it
// returns false; more tells whether it never did. budget bounds the pages it
// may visit.
func (t *treeFile) walk(n uint32, budget *uint32, depth int, fn func(key, value string) bool) (more bool, err error) {
	if *budget == 0 || depth >= maxTreeDepth {
		return false, damaged("pages are linked twice")
	}
	*budget--
	p, err := t.treePage(n)
	if err != nil {
		return false, err
	}
	if p.kind == pageLeaf {
		return t.walkLeaf(p, fn)
	}
	for i := 0; i < p.entries; i++ {
		below, _, err := t.child(p, i, i > 0)
		if err != nil {
			return false, err
		}
		if more, err = t.walk(below, budget, depth+1, fn); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}

// walkLeaf calls fn for each raw pair of a leaf.
func (t *treeFile) walkLeaf(p page, fn func(key, value string) bool) (more bool, err error) {
	for i := 0; i+1 < p.entries; i += 2 {
		key, gone, err := t.leafItem(p, i)
		if err != nil {
			return false, err
		}
		value, alsoGone, err := t.leafItem(p, i+1)
		if err != nil {
			return false, err
		}
		if !gone && !alsoGone && !fn(key, value) {
			return false, nil
		}
	}
	return true, nil
}

// each implements index.
func (t *treeFile) each(fn func(key, value string) bool) error {
	budget, l := t.pages, t.newWalk(fn)
	_, err := t.walk(t.root, &budget, 0, l.pair)
	return l.end(err)
}
