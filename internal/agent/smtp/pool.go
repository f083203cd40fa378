package smtp

import (
	"sync"
	"time"
)

// Bounds of the connection cache.
const (
	maxIdlePerSite = 50
	maxIdle        = 1000
)

// pool keeps idle connections by site for a short time. The one used last goes
// out first, so that the rest can time out.
type pool struct {
	limit time.Duration
	mu    sync.Mutex
	// idle is the top of a stack per site; depth and next are in the session.
	idle  map[string]*session
	count int
	done  bool
}

func newPool(limit time.Duration) *pool {
	return &pool{limit: limit, idle: make(map[string]*session)}
}

// get takes a session for the site, or returns nil.
func (p *pool) get(key string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.idle[key]
	if s != nil {
		p.remove(s)
		s.idle.Stop()
	}
	return s
}

// put keeps a session; when there are too many, it is ended instead.
func (p *pool) put(s *session) {
	p.mu.Lock()
	top := p.idle[s.key]
	if p.done || p.count >= maxIdle || top != nil && top.depth >= maxIdlePerSite {
		p.mu.Unlock()
		s.quit()
		return
	}
	s.next, s.depth = top, 1
	if top != nil {
		s.depth = top.depth + 1
	}
	p.idle[s.key] = s
	p.count++
	s.pooled = true
	if s.idle == nil {
		s.idle = time.AfterFunc(p.limit, func() { p.expire(s) })
	} else {
		s.idle.Reset(p.limit)
	}
	p.mu.Unlock()
}

// expire ends a session that nobody wanted.
func (p *pool) expire(s *session) {
	p.mu.Lock()
	found := s.pooled
	if found {
		p.remove(s)
	}
	p.mu.Unlock()
	if found {
		s.quit()
	}
}

// remove takes s off its stack; the caller holds the lock.
func (p *pool) remove(s *session) {
	top := p.idle[s.key]
	if top == s {
		if s.next == nil {
			delete(p.idle, s.key)
		} else {
			p.idle[s.key] = s.next
		}
	} else {
		for above := top; above != nil && above != s; above = above.next {
			above.depth--
			if above.next == s {
				above.next = s.next
				break
			}
		}
	}
	s.next, s.pooled = nil, false
	p.count--
}

// close ends all sessions; later ones are not kept.
func (p *pool) close() {
	p.mu.Lock()
	p.done = true
	var all []*session
	for _, top := range p.idle {
		for s := top; s != nil; s = s.next {
			all = append(all, s)
		}
	}
	for _, s := range all {
		p.remove(s)
		s.idle.Stop()
	}
	p.mu.Unlock()
	for _, s := range all {
		s.quit()
	}
}
