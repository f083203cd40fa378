package sasl

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const (
	// workWait is how long an attempt waits until others have been computed.
	workWait = 10 * time.Second
	// workMemory is what all hashes together may need at a time, in KiB.
	workMemory = 2 * maxMemory
)

// budget limits how many hashes are computed at a time, and in how much memory:
// they are made to cost time and memory.
type budget struct {
	mu sync.Mutex
	// slots and memory are what is left; freed is closed when something is given
	// back.
	slots  int
	memory uint64
	freed  chan struct{}
}

func newBudget() *budget {
	return &budget{slots: runtime.GOMAXPROCS(0), memory: workMemory, freed: make(chan struct{})}
}

// take waits for the right to compute in so many KiB of memory; done gives it back.
func (b *budget) take(ctx context.Context, memory uint64) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, workWait)
	defer cancel()
	for {
		b.mu.Lock()
		if b.slots > 0 && b.memory >= memory {
			b.slots--
			b.memory -= memory
			b.mu.Unlock()
			return func() { b.give(memory) }, nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, &TemporaryError{Reason: "Server busy", Cause: ctx.Err()}
		}
	}
}

func (b *budget) give(memory uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots++
	b.memory += memory
	close(b.freed)
	b.freed = make(chan struct{})
}
