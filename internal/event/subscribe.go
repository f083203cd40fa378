package event

import (
	"sync"
	"sync/atomic"
	"time"
)

// Line is one line of the log for somebody who watches it.
type Line struct {
	When time.Time
	Tag  string
	PID  int
	Text string
	// Event is the fact behind the line.
	Event Event
}

// subscribers are the watchers of a log. The zero value is ready.
type subscribers struct {
	count atomic.Int32
	mu    sync.Mutex
	next  int
	chans map[int]chan Line
}

// any tells whether somebody watches.
func (s *subscribers) any() bool { return s.count.Load() > 0 }

// send gives the line to every watcher that has room for it.
func (s *subscribers) send(line Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.chans {
		select {
		case c <- line:
		default:
		}
	}
}

// add returns a channel of the given size and the function that ends it.
func (s *subscribers) add(size int) (<-chan Line, func()) {
	c := make(chan Line, size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.chans == nil {
		s.chans = map[int]chan Line{}
	}
	id := s.next
	s.next++
	s.chans[id] = c
	s.count.Add(1)
	return c, func() { s.remove(id) }
}

func (s *subscribers) remove(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.chans[id]; ok {
		delete(s.chans, id)
		s.count.Add(-1)
		close(c)
	}
}

func (s *subscribers) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.chans {
		delete(s.chans, id)
		s.count.Add(-1)
		close(c)
	}
}

// Subscribe returns a channel with the lines logged from now on. It has room
// for size lines; a watcher that is slower misses lines, the log never waits.
// The channel is closed by the returned function and by Close.
func (l *Log) Subscribe(size int) (<-chan Line, func()) { return l.subs.add(size) }
