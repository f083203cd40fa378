package testkit

import (
	"fmt"
	"sort"
	"strings"
	"sync"
)

// Ledger is the book outside the server: what was acknowledged to a client,
// and what arrived. A key names one copy: a message and one of its recipients.
type Ledger struct {
	mu     sync.Mutex
	next   int
	acked  map[string]bool
	got    map[string]int
	broken map[string]string
}

// NewLedger returns an empty book.
func NewLedger() *Ledger {
	return &Ledger{acked: map[string]bool{}, got: map[string]int{}, broken: map[string]string{}}
}

// NewID allots the name of a new message.
func (l *Ledger) NewID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	return fmt.Sprintf("m%07d", l.next)
}

// Ack notes that the server has acknowledged the message for the recipients.
// Call it after the whole final reply was read.
func (l *Ledger) Ack(id string, rcpts ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range rcpts {
		l.acked[id+" "+strings.ToLower(r)] = true
	}
}

// Arrived notes one delivery; a fault other than "" says how the content was
// damaged.
func (l *Ledger) Arrived(id, rcpt, fault string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := id + " " + strings.ToLower(rcpt)
	l.got[key]++
	if fault != "" {
		l.broken[key] = fault
	}
}

// Acked is the number of copies acknowledged so far.
func (l *Ledger) Acked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// Delivered is the number of copies that have arrived at least once.
func (l *Ledger) Delivered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got)
}

// Verdict is what the judge found.
type Verdict struct {
	// Acked is the number of copies acknowledged.
	Acked int
	// Lost are those that never arrived; Broken arrived damaged.
	Lost, Broken []string
	// Duplicates is the number of deliveries beyond the first.
	Duplicates int
	// Unacked is the number of copies that arrived although no client was told
	// so: allowed, since the reply may have been cut off.
	Unacked int
}

// Judge compares the book's two sides. The queue must be empty by then: a
// message that is still in it is not lost.
func (l *Ledger) Judge() Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Verdict{Acked: len(l.acked)}
	for key := range l.acked {
		if l.got[key] == 0 {
			v.Lost = append(v.Lost, key)
		}
	}
	for key, n := range l.got {
		v.Duplicates += n - 1
		if !l.acked[key] {
			v.Unacked++
		}
	}
	for key, fault := range l.broken {
		v.Broken = append(v.Broken, key+": "+fault)
	}
	sort.Strings(v.Lost)
	sort.Strings(v.Broken)
	return v
}

// String is the verdict in one line.
func (v Verdict) String() string {
	return fmt.Sprintf("acknowledged %d, lost %d, damaged %d, duplicated %d, delivered unasked %d",
		v.Acked, len(v.Lost), len(v.Broken), v.Duplicates, v.Unacked)
}
