package postscreen

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"postroad/internal/dns"
	"postroad/internal/event"
)

// Resolver looks lists up in the DNS.
type Resolver interface {
	// Addrs returns the addresses of a name.
	Addrs(ctx context.Context, host string, family dns.Family) ([]netip.Addr, dns.Info, error)
}

// site is one list in the DNS.
type site struct {
	domain string
	// name is what a client hears: the domain may hold a password.
	name  string
	rules []siteRule
}

// siteRule is what an answer of a list weighs; a nil pattern takes any answer.
type siteRule struct {
	pattern *dns.Pattern
	weight  int
}

// parseSites reads postscreen_dnsbl_sites: domain[=pattern][*weight].
func parseSites(items []string, reply func(domain string) (string, error)) ([]*site, error) {
	var all []*site
	byDomain := map[string]*site{}
	for _, item := range items {
		rest, weightText, weighted := strings.Cut(item, "*")
		rule := siteRule{weight: 1}
		var err error
		if weighted {
			if rule.weight, err = strconv.Atoi(weightText); err != nil {
				return nil, fmt.Errorf("bad DNSBL weight factor \"%s\" in \"%s\"", weightText, item)
			}
		}
		domain, pattern, filtered := strings.Cut(rest, "=")
		if filtered {
			if rule.pattern, err = dns.ParsePattern(pattern); err != nil {
				return nil, fmt.Errorf("bad DNSBL filter syntax: %w", err)
			}
		}
		if !dns.ValidHostname(domain) {
			return nil, fmt.Errorf("bad DNSBL domain name \"%s\" in \"%s\"", domain, item)
		}
		s := byDomain[strings.ToLower(domain)]
		if s == nil {
			s = &site{domain: domain}
			if s.name, err = reply(domain); err != nil {
				return nil, fmt.Errorf("postscreen_dnsbl_reply_map: %w", err)
			}
			byDomain[strings.ToLower(domain)] = s
			all = append(all, s)
		}
		s.rules = append(s.rules, rule)
	}
	return all, nil
}

// score is what the lists say about one client. Connections of the client that
// overlap share it.
type score struct {
	addr netip.Addr
	// done is closed when every list has answered.
	done chan struct{}

	// The rest is guarded by the scorer.
	refs, pending, total int
	worst                *site
	weight               int
	failTTL, passTTL     time.Duration
}

// job is one question to one list.
type job struct {
	score *score
	site  *site
}

// scorer asks the lists.
type scorer struct {
	sites    []*site
	resolver Resolver
	// timeout bounds one question, delay is dnsblog_reply_delay.
	timeout, delay time.Duration
	min, max       time.Duration
	// limit is how many questions may be under way; others wait in queue.
	limit int
	// log is postscreen's voice, blog that of dnsblog.
	log, blog *event.Logger

	mu      sync.Mutex
	scores  map[netip.Addr]*score
	queue   []job
	working int
}

// request begins to find out about a client; release must follow.
func (s *scorer) request(ctx context.Context, addr netip.Addr) *score {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sc := s.scores[addr]; sc != nil {
		sc.refs++
		return sc
	}
	sc := &score{addr: addr, done: make(chan struct{}), refs: 1, pending: len(s.sites), failTTL: -1, passTTL: -1}
	if s.scores == nil {
		s.scores = map[netip.Addr]*score{}
	}
	s.scores[addr] = sc
	for _, site := range s.sites {
		s.queue = append(s.queue, job{sc, site})
		if s.working < s.limit {
			s.working++
			// goroutine: asks lists until no question is left; each has a time limit.
			go s.work(context.WithoutCancel(ctx))
		}
	}
	return sc
}

// release ends the interest of one connection in a score.
func (s *scorer) release(sc *score) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sc.refs--; sc.refs == 0 {
		delete(s.scores, sc.addr)
	}
}

// result is the score so far, the list that weighs most, and how long it is good.
func (s *scorer) result(sc *score) (total int, name string, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sc.worst != nil {
		name = sc.worst.name
	}
	ttl = sc.passTTL
	if sc.total > 0 {
		ttl = sc.failTTL
	}
	return sc.total, name, min(max(ttl, s.min), s.max)
}

// work asks the questions that wait.
func (s *scorer) work(ctx context.Context) {
	for {
		s.mu.Lock()
		// Nobody waits any more for those whose clients are gone.
		for len(s.queue) > 0 && s.queue[0].score.refs == 0 {
			s.queue = s.queue[1:]
		}
		if len(s.queue) == 0 {
			s.working--
			s.queue = nil
			s.mu.Unlock()
			return
		}
		j := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		s.ask(ctx, j)
	}
}

// ask asks one list.
func (s *scorer) ask(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	name := queryName(j.score.addr) + "." + j.site.domain
	addrs, info, err := s.resolver.Addrs(ctx, name, dns.IPv4)
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		// As in Postfix the score stays open then: its clients wait for the timer.
		s.log.Warnf("dnsblog reply timeout %ds for %s", int(s.timeout.Seconds()), j.site.domain)
		return
	}
	ttl := info.TTL
	if err != nil {
		addrs = nil
		var known *dns.Error
		if !errors.As(err, &known) || known.Kind == dns.Temporary || known.Kind == dns.Invalid {
			s.blog.Warnf("dnsblog_query: lookup error for DNS query %s: Host or domain name not found. %v", name, err)
			ttl = -1
		}
	}
	for _, a := range addrs {
		s.blog.Emit(&event.Screening{What: "listed", Text: "addr " + j.score.addr.String() + " listed by domain " + j.site.domain + " as " + a.String()})
	}
	s.count(j, addrs, ttl)
}

// queryName is the address as lists have it (RFC 5782 2.1, 2.4).
func queryName(addr netip.Addr) string {
	name := dns.ReverseName(addr)
	name = strings.TrimSuffix(name, ".in-addr.arpa")
	return strings.TrimSuffix(name, ".ip6.arpa")
}

// count adds the answer of one list to the score.
func (s *scorer) count(j job, addrs []netip.Addr, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sc := j.score
	shorten := func(to *time.Duration) {
		if *to < 0 || *to > ttl {
			*to = ttl
		}
	}
	for _, rule := range j.site.rules {
		if matches(rule.pattern, addrs) {
			if sc.worst == nil || sc.weight < rule.weight {
				sc.worst, sc.weight = j.site, rule.weight
			}
			sc.total += rule.weight
		}
		// An answer of a blocklist makes a bad client, and so does the silence of
		// an allowlist; either is good for as long as the DNS says.
		if (rule.weight > 0) == (len(addrs) > 0) {
			shorten(&sc.failTTL)
		} else {
			shorten(&sc.passTTL)
		}
	}
	if sc.pending--; sc.pending == 0 {
		close(sc.done)
	}
}

// matches tells whether an answer counts.
func matches(p *dns.Pattern, addrs []netip.Addr) bool {
	for _, a := range addrs {
		if p == nil || p.Match(a) {
			return true
		}
	}
	return false
}
