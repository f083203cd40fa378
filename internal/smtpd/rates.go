package smtpd

import (
	"net/netip"
	"sync"
	"time"
)

// maxClients bounds how many clients are counted at a time.
const maxClients = 100_000

// rateEvent is something that is counted per client.
type rateEvent uint8

const (
	rateConnection rateEvent = iota
	rateMessage
	rateRecipient
	rateTLS
	rateAuth
	rateEvents
)

// rateKey is a client, or a network, at one service.
type rateKey struct {
	service string
	network netip.Prefix
}

// Rates counts what clients do, over all services: anvil(8). Counts are kept in
// memory and start anew with the process, as in Postfix.
type Rates struct {
	mu      sync.Mutex
	clients map[rateKey]*clientRate
	// pruned is when those of no interest were last forgotten.
	pruned time.Time
	peaks  peaks
}

// clientRate is what one client did in the current unit of time.
type clientRate struct {
	began  time.Time
	active int
	counts [rateEvents]int
}

// NewRates returns counters at zero.
func NewRates() *Rates { return &Rates{clients: map[rateKey]*clientRate{}} }

// client finds or makes a counter. The lock is held. It is nil when too many
// clients are counted: then nobody new is limited.
func (r *Rates) client(key rateKey, unit time.Duration) *clientRate {
	now := time.Now()
	// Once in a while, so that a crowd does not make each connection dear.
	if now.Sub(r.pruned) >= max(unit, time.Second) {
		r.prune(now, unit)
	}
	c := r.clients[key]
	if c == nil {
		if len(r.clients) >= maxClients {
			return nil
		}
		c = &clientRate{began: now}
		r.clients[key] = c
		r.peaks.size(len(r.clients), now)
	}
	if now.Sub(c.began) >= unit {
		c.began, c.counts = now, [rateEvents]int{}
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
	r.pruned = now
}

// connect counts a connection and returns how many are open and how many began
// in this unit.
func (r *Rates) connect(key rateKey, unit time.Duration) (active, rate int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.client(key, unit)
	if c == nil {
		return 0, 0
	}
	c.active++
	c.counts[rateConnection]++
	r.peaks.note(rateConnection, c.counts[rateConnection], unit, key)
	r.peaks.connections(c.active, key)
	return c.active, c.counts[rateConnection]
}

// disconnect ends what connect began. What the client did is remembered until
// its unit of time is over.
func (r *Rates) disconnect(key rateKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[key]; c != nil && c.active > 0 {
		c.active--
	}
}

// event counts something and returns how often it happened in this unit.
func (r *Rates) event(key rateKey, what rateEvent, unit time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.client(key, unit)
	if c == nil {
		return 0
	}
	c.counts[what]++
	r.peaks.note(what, c.counts[what], unit, key)
	return c.counts[what]
}

// count is how often something has happened in this unit.
func (r *Rates) count(key rateKey, what rateEvent, unit time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[key]; c != nil && time.Since(c.began) < unit {
		return c.counts[what]
	}
	return 0
}

// rateKey is the client or the network that is counted.
func (s *session) rateKey() rateKey {
	addr := s.peer.Client.Addr
	bits := s.set.PrefixV6
	if addr.Is4() {
		bits = s.set.PrefixV4
	}
	// An address that is not known has the zero prefix: all of them are one client.
	p, _ := addr.Prefix(min(max(bits, 0), addr.BitLen()))
	return rateKey{s.srv.Service, p}
}

// overConnections counts the connection and tells whether it is one too many.
func (s *session) overConnections() (over bool, why string) {
	if s.srv.Rates == nil || s.flags.rateExempt || !s.set.limitsRates() {
		return false, ""
	}
	s.rated, s.flags.rated = s.rateKey(), true
	active, rate := s.srv.Rates.connect(s.rated, s.set.RateUnit)
	switch {
	case s.set.ConnectionCount > 0 && active > s.set.ConnectionCount:
		s.log.Warnf("Connection concurrency limit exceeded: %d from %s for service %s", active, s.client(), s.srv.Service)
	case s.set.ConnectionRate > 0 && rate > s.set.ConnectionRate:
		s.log.Warnf("Connection rate limit exceeded: %d from %s for service %s", rate, s.client(), s.srv.Service)
	default:
		return false, ""
	}
	return true, "Error: too many connections from " + s.peer.Client.AddrString()
}

// limitsRates tells whether anything is limited: then connections are counted, so
// that it is known how long a client matters.
func (set *Settings) limitsRates() bool {
	for _, limit := range []int{set.ConnectionCount, set.ConnectionRate, set.MessageRate, set.RecipientRate, set.TLSRate, set.AuthRate} {
		if limit > 0 {
			return true
		}
	}
	return false
}

// tlsRefused tells whether a client began too many TLS sessions of late. It comes
// before a handshake, which is what costs, and does not count it.
func (s *session) tlsRefused(how string) bool {
	if s.set.TLSRate <= 0 || s.srv.Rates == nil || s.flags.rateExempt {
		return false
	}
	if s.srv.Rates.count(s.rateKey(), rateTLS, s.set.RateUnit) <= s.set.TLSRate {
		return false
	}
	s.log.Warnf("Refusing %s request from %s for service %s", how, s.client(), s.srv.Service)
	return true
}

// rateRule is how one limited event is called.
type rateRule struct{ log, text string }

// rateRules are the names of the events.
var rateRules = [rateEvents]rateRule{
	rateMessage:   {"Message delivery request rate", "too much mail"},
	rateRecipient: {"Recipient address rate", "too many recipients"},
	rateAuth:      {"AUTH command rate", "too many AUTH commands"},
	rateTLS:       {"New TLS session rate", "too many new TLS sessions"},
}

// overRate counts an event and tells whether it is one too many.
func (s *session) overRate(what rateEvent) (over bool, why string) {
	limit := [rateEvents]int{
		rateMessage: s.set.MessageRate, rateRecipient: s.set.RecipientRate, rateAuth: s.set.AuthRate, rateTLS: s.set.TLSRate,
	}[what]
	if limit <= 0 || s.srv.Rates == nil || s.flags.rateExempt {
		return false, ""
	}
	n := s.srv.Rates.event(s.rateKey(), what, s.set.RateUnit)
	if n <= limit {
		return false, ""
	}
	rule := rateRules[what]
	s.log.Warnf("%s limit exceeded: %d from %s for service %s", rule.log, n, s.client(), s.srv.Service)
	who := s.peer.Client.AddrString()
	if what == rateTLS {
		who = s.client()
	}
	return true, "Error: " + rule.text + " from " + who
}
