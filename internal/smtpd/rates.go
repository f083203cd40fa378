package smtpd

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// maxClients bounds how many clients are counted at a time.
const maxClients = 100_000

// Rates counts what clients do, over all services: anvil(8). Counts are kept in
// memory and start anew with the process, as in Postfix.
type Rates struct {
	mu      sync.Mutex
	clients map[string]*clientRate
}

// clientRate is what one client did in the current unit of time.
type clientRate struct {
	began  time.Time
	active int
	events map[string]int
}

// NewRates returns counters at zero.
func NewRates() *Rates { return &Rates{clients: map[string]*clientRate{}} }

// client finds or makes a counter. The lock is held. It is nil when too many
// clients are counted: then nobody new is limited.
func (r *Rates) client(key string, unit time.Duration) *clientRate {
	now := time.Now()
	c := r.clients[key]
	if c == nil {
		if len(r.clients) >= maxClients {
			r.prune(now, unit)
		}
		if len(r.clients) >= maxClients {
			return nil
		}
		c = &clientRate{began: now, events: map[string]int{}}
		r.clients[key] = c
	}
	if now.Sub(c.began) >= unit {
		c.began = now
		clear(c.events)
	}
	return c
}

// prune forgets clients that are not connected and have no counts that matter.
func (r *Rates) prune(now time.Time, unit time.Duration) {
	for key, c := range r.clients {
		if c.active == 0 && now.Sub(c.began) >= unit {
			delete(r.clients, key)
		}
	}
}

// connect counts a connection and returns how many are open and how many began
// in this unit.
func (r *Rates) connect(key string, unit time.Duration) (active, rate int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.client(key, unit)
	if c == nil {
		return 0, 0
	}
	c.active++
	c.events["connection"]++
	return c.active, c.events["connection"]
}

// disconnect ends what connect began.
func (r *Rates) disconnect(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[key]
	if c == nil {
		return
	}
	if c.active--; c.active <= 0 && len(c.events) <= 1 {
		delete(r.clients, key)
	}
}

// event counts something and returns how often it happened in this unit.
func (r *Rates) event(key, what string, unit time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.client(key, unit)
	if c == nil {
		return 0
	}
	c.events[what]++
	return c.events[what]
}

// rateKey is the client or the network that is counted.
func (s *session) rateKey() string {
	addr := s.peer.Client.Addr
	if !addr.IsValid() {
		return s.srv.Service
	}
	bits := s.set.PrefixV6
	if addr.Is4() {
		bits = s.set.PrefixV4
	}
	p, err := addr.Prefix(min(bits, addr.BitLen()))
	if err != nil {
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	return s.srv.Service + " " + p.String()
}

// overLimit counts the connection and tells whether it is one too many.
func (s *session) overLimit() (over bool, why string) {
	if s.srv.Rates == nil || s.flags.rateExempt || s.flags.rated {
		return false, ""
	}
	if s.set.ConnectionCount <= 0 && s.set.ConnectionRate <= 0 {
		return false, ""
	}
	s.flags.rated = true
	active, rate := s.srv.Rates.connect(s.rateKey(), s.set.RateUnit)
	addr := s.peer.Client.AddrString()
	switch {
	case s.set.ConnectionCount > 0 && active > s.set.ConnectionCount:
		s.log.Warnf("Connection concurrency limit exceeded: %d from %s for service %s", active, s.client(), s.srv.Service)
	case s.set.ConnectionRate > 0 && rate > s.set.ConnectionRate:
		s.log.Warnf("Connection rate limit exceeded: %d from %s for service %s", rate, s.client(), s.srv.Service)
	default:
		return false, ""
	}
	return true, "Error: too many connections from " + addr
}

// rateRule is one limited event.
type rateRule struct {
	limit     func(*Settings) int
	log, text string
}

// rateRules are the limits by event.
var rateRules = map[string]rateRule{
	"message":   {func(s *Settings) int { return s.MessageRate }, "Message delivery request rate", "too much mail"},
	"recipient": {func(s *Settings) int { return s.RecipientRate }, "Recipient address rate", "too many recipients"},
	"auth":      {func(s *Settings) int { return s.AuthRate }, "AUTH command rate", "too many AUTH commands"},
	"tls":       {func(s *Settings) int { return s.TLSRate }, "New TLS session rate", "too many new TLS sessions"},
}

// overRate counts an event and tells whether it is one too many.
func (s *session) overRate(what string) (over bool, why string) {
	rule := rateRules[what]
	limit := rule.limit(s.set)
	if limit <= 0 || s.srv.Rates == nil || s.flags.rateExempt {
		return false, ""
	}
	n := s.srv.Rates.event(s.rateKey(), what, s.set.RateUnit)
	if n <= limit {
		return false, ""
	}
	s.log.Warnf("%s limit exceeded: %d from %s for service %s", rule.log, n, s.client(), s.srv.Service)
	return true, fmt.Sprintf("Error: %s from %s", rule.text, s.peer.Client.AddrString())
}
