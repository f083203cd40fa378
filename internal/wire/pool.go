package wire

import "sync"

// blockSize is the size of the buffers that readers and writers borrow.
const blockSize = 4096

// block is one buffer. A pointer to an array goes in and out of the pool
// without an allocation.
type block [blockSize]byte

// Pool lends buffers to Readers and Writers, so that an idle session holds none.
// A nil Pool allocates.
type Pool struct{ p sync.Pool }

// NewPool returns an empty Pool.
func NewPool() *Pool { return &Pool{} }

func (p *Pool) get() *block {
	if p != nil {
		if b, ok := p.p.Get().(*block); ok {
			return b
		}
	}
	return new(block)
}

func (p *Pool) put(b *block) {
	if p != nil && b != nil {
		p.p.Put(b)
	}
}
