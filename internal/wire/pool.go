package wire

import "sync"

// blockSize is the size of the buffers that readers and writers borrow.
const blockSize = 4096

// block is one buffer. A pointer to an array goes in and out of the pool
// without an allocation.
type block [blockSize]byte

// wideSize is the size of the buffers that content is read into: a read of the
// system costs more than the bytes that it brings.
const wideSize = 32 << 10

// wide is one of those.
type wide [wideSize]byte

// Pool lends buffers to Readers and Writers, so that an idle session holds none.
// A nil Pool allocates.
type Pool struct{ blocks, wides sync.Pool }

// NewPool returns an empty Pool.
func NewPool() *Pool { return &Pool{} }

func (p *Pool) get() *block {
	if p != nil {
		if b, ok := p.blocks.Get().(*block); ok {
			return b
		}
	}
	return new(block)
}

func (p *Pool) put(b *block) {
	if p != nil && b != nil {
		p.blocks.Put(b)
	}
}

func (p *Pool) getWide() *wide {
	if p != nil {
		if b, ok := p.wides.Get().(*wide); ok {
			return b
		}
	}
	return new(wide)
}

func (p *Pool) putWide(b *wide) {
	if p != nil && b != nil {
		p.wides.Put(b)
	}
}
