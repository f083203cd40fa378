package qmgr

import (
	"container/heap"
	"time"

	"postroad/internal/queue"
)

// waiting is a destination that has jobs on disk.
type waiting struct {
	dest queue.Dest
	// due is when the earliest of them may run.
	due   time.Time
	index int
	// loading says that a loader reads it now, again that more became due
	// meanwhile.
	loading bool
	again   time.Time
}

// waitIndex is what memory knows of the mail on disk: one line per destination.
type waitIndex struct {
	byDest map[queue.Dest]*waiting
	order  waitHeap
}

func (x *waitIndex) init() { x.byDest = map[queue.Dest]*waiting{} }

// put notes that a job of the destination is due then.
func (x *waitIndex) put(d queue.Dest, due time.Time) {
	w := x.byDest[d]
	if w == nil {
		w = &waiting{dest: d, due: due, index: -1}
		x.byDest[d] = w
		heap.Push(&x.order, w)
		return
	}
	if w.loading {
		if w.again.IsZero() || due.Before(w.again) {
			w.again = due
		}
		return
	}
	if due.Before(w.due) {
		w.due = due
		heap.Fix(&x.order, w.index)
	}
}

// due returns a destination that should be loaded now, or nil.
func (x *waitIndex) due(now time.Time) *waiting {
	if len(x.order) == 0 || x.order[0].due.After(now) {
		return nil
	}
	return x.order[0]
}

// busy takes a destination out of the order while it is loaded.
func (x *waitIndex) busy(w *waiting) {
	w.loading = true
	heap.Remove(&x.order, w.index)
}

// loaded puts it back for the next time, or forgets it when nothing waits there.
func (x *waitIndex) loaded(w *waiting, next time.Time) {
	w.loading = false
	if !w.again.IsZero() && (next.IsZero() || w.again.Before(next)) {
		next = w.again
	}
	w.again = time.Time{}
	if next.IsZero() {
		delete(x.byDest, w.dest)
		return
	}
	w.due = next
	heap.Push(&x.order, w)
}

func (x *waitIndex) next() (time.Time, bool) {
	if len(x.order) == 0 {
		return time.Time{}, false
	}
	return x.order[0].due, true
}

type waitHeap []*waiting

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h waitHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *waitHeap) Push(x any) {
	w := x.(*waiting)
	w.index = len(*h)
	*h = append(*h, w)
}
func (h *waitHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.index = -1
	return w
}
