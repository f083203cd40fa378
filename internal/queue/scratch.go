package queue

import "sync"

// scratchSizes are the sizes of the buffers in which a content grows that is not
// small. They are used again: to allot and clear memory anew at each step costs
// more than to copy what is in it.
var scratchSizes = [...]int{32 << 10, 128 << 10, DefaultInlineLimit}

// scratch is one of these buffers.
type scratch struct {
	class int
	b     []byte
}

// scratches lends buffers.
type scratches struct{ pools [len(scratchSizes)]sync.Pool }

// get lends a buffer for n bytes, or returns nil when n is too many.
func (s *scratches) get(n int) *scratch {
	for class, size := range scratchSizes {
		if n > size {
			continue
		}
		if b, ok := s.pools[class].Get().(*scratch); ok {
			return b
		}
		return &scratch{class, make([]byte, 0, size)}
	}
	return nil
}

func (s *scratches) put(b *scratch) { s.pools[b.class].Put(b) }

// grow makes room for n bytes in all.
func (w *Writer) grow(n int) {
	old, oldLent := w.buf, w.lent
	w.lent = nil
	if n > firstBuffer {
		w.lent = w.s.scratches.get(n)
	}
	switch {
	case w.lent != nil:
		w.buf = w.lent.b[:0]
	default:
		w.buf = make([]byte, 0, max(firstBuffer, n))
	}
	w.buf = append(w.buf, old...)
	if oldLent != nil {
		w.s.scratches.put(oldLent)
	}
}

// giveBack ends the use of the buffer. One whose bytes somebody else may look at is
// not lent again: see keep.
func (w *Writer) giveBack() {
	w.buf = nil
	if w.lent != nil {
		w.s.scratches.put(w.lent)
		w.lent = nil
	}
}

// keep makes the buffer the writer's own for ever, because somebody else sees it.
func (w *Writer) keep() { w.lent = nil }
