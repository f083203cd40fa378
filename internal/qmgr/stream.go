package qmgr

import (
	"time"

	"postroad/internal/agent"
)

// stream decides when connections to a destination are kept open: not for a
// single message, nor for the first ones of a burst, but as soon as attempts
// follow each other. It is Postfix's connection caching on demand.
type stream struct {
	reuse agent.Reuse
	// ended is when the last attempt ended; drained tells that nothing was left
	// to do then.
	ended   time.Time
	drained bool
}

const (
	// backToBack is how soon after the end of an attempt the next one must begin
	// to follow it.
	backToBack = time.Second
	// drainGap is how long a destination may have nothing to do before its
	// stream is over. Postfix ends it at once; a faster queue manager drains for
	// a moment within the same burst.
	drainGap = 10 * time.Millisecond
)

// begin is called when an attempt starts; busy counts those under way with it.
func (s *stream) begin(now time.Time, busy int) agent.Reuse {
	if s.drained && now.Sub(s.ended) > drainGap {
		*s = stream{}
	}
	s.drained = false
	follows := !s.ended.IsZero() && now.Sub(s.ended) <= backToBack
	switch {
	case !s.reuse.Store:
		if follows {
			s.reuse = agent.Reuse{Load: true, Store: true}
		}
	case !follows && busy <= 1:
		// Out of steam; what is open may still be used.
		s.reuse.Store = false
	}
	return s.reuse
}

// end is called when an attempt is over.
func (s *stream) end(now time.Time, drained bool) { s.ended, s.drained = now, drained }
