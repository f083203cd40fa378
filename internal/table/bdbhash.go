package table

import "math/bits"

// Hash files put the pairs of a bucket on a chain of pages. The meta page
// holds, from offset 72: the last bucket, two masks, the fill factor, the
// number of elements, a check value, and the "spares": bucket b begins on page
// b + spares[ceil(log2(b+1))].
const (
	itemData    = 1 // key or value
	itemOffPage = 3 // key or value on overflow pages
	hashSpares  = 96
	// hashCheckKey is hashed to see whether the file uses our hash function.
	hashCheckKey = "%$sniglet^&"
	// maxChain bounds the pages of one bucket, of which libdb makes a few.
	maxChain = 1 << 12
)

// hashFile looks up keys in a Berkeley DB hash file.
type hashFile struct {
	*bdbFile
	maxBucket, highMask, lowMask uint32
	spares                       [32]uint32
}

// newHashFile reads the meta page.
func newHashFile(data string) (*hashFile, error) {
	f, err := openBDB(data, bdbHashMagic, pageHashMeta)
	if err != nil {
		return nil, err
	}
	h := &hashFile{bdbFile: f, maxBucket: f.u32(data, 72), highMask: f.u32(data, 76), lowMask: f.u32(data, 80)}
	for i := range h.spares {
		h.spares[i] = f.u32(data, hashSpares+4*i)
	}
	if f.u32(data, 92) != fnv(hashCheckKey, true) {
		return nil, damaged("made with another hash function")
	}
	if f.u32(data, 48) != 0 {
		return nil, damaged("duplicate keys or several databases in one file")
	}
	if h.maxBucket >= f.pages || h.highMask < h.maxBucket || h.lowMask > h.maxBucket {
		return nil, damaged("bucket %d of %d pages", h.maxBucket, f.pages)
	}
	return h, nil
}

// fnv is the hash function of Berkeley DB since 3.1, over key and, when nul is
// set, a NUL.
func fnv(key string, nul bool) uint32 {
	var h uint32
	for i := 0; i < len(key); i++ {
		h = h*16777619 ^ uint32(key[i])
	}
	if nul {
		h *= 16777619
	}
	return h
}

// bucketPage returns the first page of a bucket.
func (h *hashFile) bucketPage(bucket uint32) uint32 {
	return bucket + h.spares[bits.Len32(bucket)&31]
}

// get implements index. Postfix stores a NUL behind the text, other programs
// may not; the two forms are in different buckets.
func (h *hashFile) get(key string) (string, bool, error) {
	value, ok, err := h.find(key, true)
	if ok || err != nil {
		return value, ok, err
	}
	return h.find(key, false)
}

// find returns the value of key in one of its two forms.
func (h *hashFile) find(key string, nul bool) (string, bool, error) {
	bucket := fnv(key, nul) & h.highMask
	if bucket > h.maxBucket {
		bucket &= h.lowMask
	}
	n := h.bucketPage(bucket)
	for hops := uint32(0); n != 0; hops++ {
		p, err := h.hashPage(n, hops)
		if err != nil {
			return "", false, err
		}
		search := h.searchSorted
		if p.kind == pageHashOld {
			search = h.searchAll
		}
		i, found, err := search(p, key, nul)
		if err != nil {
			return "", false, err
		}
		if found {
			value, err := h.item(p, i+1)
			return value, err == nil, err
		}
		n = h.next(p)
	}
	return "", false, nil
}

// searchSorted returns the item that is key on a page whose keys are sorted.
func (h *hashFile) searchSorted(p page, key string, nul bool) (int, bool, error) {
	low, high := 0, p.entries/2
	for low < high {
		mid := (low + high) / 2
		item, err := h.item(p, 2*mid)
		if err != nil {
			return 0, false, err
		}
		switch c := compareKey(key, nul, item); {
		case c == 0:
			return 2 * mid, true, nil
		case c > 0:
			low = mid + 1
		default:
			high = mid
		}
	}
	return 0, false, nil
}

// searchAll does the same on a page of an old file.
func (h *hashFile) searchAll(p page, key string, nul bool) (int, bool, error) {
	for i := 0; i < p.entries; i += 2 {
		item, err := h.item(p, i)
		if err != nil || isKey(item, key, nul) {
			return i, err == nil, err
		}
	}
	return 0, false, nil
}

// hashPage returns page n of a bucket's chain. A bucket that never held anything
// may be a page of zeros.
func (h *hashFile) hashPage(n, hops uint32) (page, error) {
	p, err := h.page(n)
	if err != nil {
		return p, err
	}
	if p.kind == pageUnused && p.entries == 0 && h.next(p) == 0 {
		return p, nil // a bucket that never had an entry may be a page of zeros
	}
	if p.kind != pageHash && p.kind != pageHashOld || p.entries%2 != 0 || hops >= min(h.pages, maxChain) {
		return p, damaged("hash page %d", n)
	}
	return p, nil
}

// item returns item i of a page. Items have no length of their own: each ends
// where the one before it begins.
func (h *hashFile) item(p page, i int) (string, error) {
	start, err := h.offset(p, i)
	if err != nil {
		return "", err
	}
	end := h.pageSize
	if i > 0 {
		end = h.u16(p.text, pageHeader+2*(i-1))
	}
	if end <= start || end > h.pageSize {
		return "", damaged("item from %d to %d", start, end)
	}
	text := p.text[start:end]
	switch {
	case text[0] == itemData:
		return text[1:], nil
	case text[0] == itemOffPage && len(text) >= 12:
		return h.overflow(h.u32(text, 4), h.u32(text, 8))
	}
	return "", damaged("item of type %d", text[0])
}

// walk calls fn for each raw pair in the order of the file. budget bounds the
// pages it may visit; there are no more buckets and chained pages than that.
func (h *hashFile) walk(budget *uint32, fn func(key, value string) bool) error {
	for bucket := uint32(0); bucket <= h.maxBucket; bucket++ {
		for n := h.bucketPage(bucket); n != 0; {
			if *budget == 0 {
				return damaged("pages are linked twice")
			}
			*budget--
			p, err := h.hashPage(n, 0)
			if err != nil {
				return err
			}
			for i := 0; i+1 < p.entries; i += 2 {
				key, err := h.item(p, i)
				if err != nil {
					return err
				}
				value, err := h.item(p, i+1)
				if err != nil {
					return err
				}
				if !fn(key, value) {
					return nil
				}
			}
			n = h.next(p)
		}
	}
	return nil
}

// each implements index.
func (h *hashFile) each(fn func(key, value string) bool) error {
	budget, l := h.pages, h.newWalk(fn)
	return l.end(h.walk(&budget, l.pair))
}
