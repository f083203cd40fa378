package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
)

// Config is what a Resolver is made of. The zero value of a field is its
// default.
type Config struct {
	// Servers are asked in this order; default 127.0.0.1:53.
	Servers []netip.AddrPort
	// Search and Ndots serve native lookups only; Ndots defaults to 1.
	Search []string
	Ndots  int
	// Timeout limits one question to one server (5s), Attempts the rounds over
	// all servers (2).
	Timeout  time.Duration
	Attempts int
	// Rotate spreads questions over the servers; TCPOnly never uses UDP.
	Rotate, TCPOnly bool
	// TrustAD believes the AD bit of servers that are not on loopback.
	TrustAD bool
	// DNSSEC sets the DO bit.
	DNSSEC bool
	// CacheSize bounds the answers kept (10000), InFlight the questions under
	// way (500).
	CacheSize, InFlight int
	// HostsPath is the hosts file of native lookups, default /etc/hosts.
	HostsPath string
	// Transport carries the questions; default UDP and TCP.
	Transport Transport
}

const (
	// udpSize is what fits in any path without fragments (RFC 9715 3.1).
	udpSize = 1232
	// holdDown is how long a server that did not answer is asked last.
	holdDown = 30 * time.Second
)

// Resolver answers questions about names. It is safe for concurrent use.
type Resolver struct {
	cfg     Config
	servers []*server
	hosts   *Hosts
	turn    atomic.Uint32
	slots   chan struct{}

	mu      sync.Mutex
	cache   *cache
	flights map[key]*flight
}

// server is one name server and what is known about it.
type server struct {
	addr    netip.AddrPort
	trusted bool
	// badUntil is a Unix time in nanoseconds; noEDNS is set after FORMERR.
	badUntil atomic.Int64
	noEDNS   atomic.Bool
}

// flight is a question under way; done closes when ans is set.
type flight struct {
	done chan struct{}
	ans  *answer
}

// New returns a Resolver.
func New(cfg Config) *Resolver {
	if len(cfg.Servers) == 0 {
		cfg.Servers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
	}
	if cfg.Ndots == 0 {
		cfg.Ndots = 1
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Attempts <= 0 {
		cfg.Attempts = 2
	}
	if cfg.CacheSize <= 0 {
		cfg.CacheSize = 10000
	}
	if cfg.InFlight <= 0 {
		cfg.InFlight = 500
	}
	if cfg.HostsPath == "" {
		cfg.HostsPath = "/etc/hosts"
	}
	if cfg.Transport == nil {
		cfg.Transport = netTransport
	}
	r := &Resolver{
		cfg: cfg, hosts: NewHosts(cfg.HostsPath), slots: make(chan struct{}, cfg.InFlight),
		cache: newCache(cfg.CacheSize), flights: make(map[key]*flight),
	}
	for _, a := range cfg.Servers {
		r.servers = append(r.servers, &server{addr: a, trusted: cfg.TrustAD || a.Addr().IsLoopback()})
	}
	return r
}

// FromResolvConf returns a Resolver for the servers of a resolv.conf(5).
func FromResolvConf(path string) (*Resolver, error) {
	cfg, err := ReadResolvConf(path)
	if err != nil {
		return nil, err
	}
	return New(cfg), nil
}

// lookup answers one question, from the cache when it can. Callers with the
// same question share one flight, which none of them can cancel alone.
func (r *Resolver) lookup(ctx context.Context, name string, qtype uint16) (*answer, error) {
	ascii, ok := ToASCII(name)
	if !ok {
		return nil, &Error{Kind: NotFound, Name: name, Text: textBadName}
	}
	k := key{ascii, qtype}
	r.mu.Lock()
	if ans := r.cache.get(k, time.Now()); ans != nil {
		r.mu.Unlock()
		return ans.result()
	}
	f := r.flights[k]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		r.flights[k] = f
		// goroutine: ends with the question, which fly limits in time.
		go r.fly(context.WithoutCancel(ctx), k, f)
	}
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.ans.result()
	case <-ctx.Done():
		return nil, tempError(k, ctx.Err())
	}
}

// result gives the answer in the shape of a Go call.
func (a *answer) result() (*answer, error) {
	if a.err != nil {
		return a, a.err
	}
	return a, nil
}

// fly asks, keeps the answer, and wakes those who wait.
func (r *Resolver) fly(ctx context.Context, k key, f *flight) {
	total := r.cfg.Timeout * time.Duration(r.cfg.Attempts*len(r.servers))
	ctx, cancel := context.WithTimeout(ctx, min(total, 2*time.Minute))
	defer cancel()
	f.ans = r.resolve(ctx, k)
	f.ans.expires = time.Now().Add(f.ans.ttl)
	r.mu.Lock()
	delete(r.flights, k)
	if f.ans.ttl > 0 {
		r.cache.put(k, f.ans)
	}
	r.mu.Unlock()
	close(f.done)
}

// resolve asks until there is an answer, following aliases that the server
// left open.
func (r *Resolver) resolve(ctx context.Context, k key) *answer {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return failed(k, ctx.Err())
	}
	asked, ttl := k, maxTTL
	for range maxCNAMEs {
		msg, authentic, err := r.ask(ctx, asked)
		if err != nil {
			return failed(k, err)
		}
		ans, next := read(asked, msg)
		ans.authentic = authentic
		ans.ttl = min(ans.ttl, ttl)
		if next == "" {
			if ans.err != nil {
				ans.err.Name = k.name
			}
			return ans
		}
		if !validAlias(next) {
			return failed(k, fmt.Errorf("alias to %q", next))
		}
		asked.name, ttl = next, ans.ttl
	}
	return failed(k, fmt.Errorf("more than %d aliases", maxCNAMEs))
}

// ask puts the question to the servers in turn until one gives an answer that
// means something.
func (r *Resolver) ask(ctx context.Context, k key) (*wire.Msg, bool, error) {
	var last error
	for range r.cfg.Attempts {
		for _, s := range r.order() {
			msg, err := r.askServer(ctx, s, k)
			if err == nil {
				s.badUntil.Store(0)
				return msg, msg.AuthenticatedData && s.trusted, nil
			}
			last = fmt.Errorf("server %v: %w", s.addr, err)
			if ctx.Err() != nil {
				return nil, false, last
			}
			var reply *replyError
			if !errors.As(err, &reply) {
				s.badUntil.Store(time.Now().Add(holdDown).UnixNano())
			}
		}
	}
	return nil, false, last
}

// order returns the servers, those that failed lately last.
func (r *Resolver) order() []*server {
	if len(r.servers) == 1 {
		return r.servers
	}
	first := 0
	if r.cfg.Rotate {
		first = int(r.turn.Add(1) % uint32(len(r.servers)))
	}
	now := time.Now().UnixNano()
	out := make([]*server, 0, len(r.servers))
	var bad []*server
	for i := range r.servers {
		s := r.servers[(first+i)%len(r.servers)]
		if s.badUntil.Load() > now {
			bad = append(bad, s)
			continue
		}
		out = append(out, s)
	}
	return append(out, bad...)
}

// askServer puts the question to one server: UDP, TCP when the reply was cut
// short or looks forged, and without EDNS for a server that refuses it.
func (r *Resolver) askServer(ctx context.Context, s *server, k key) (*wire.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	network := "udp"
	if r.cfg.TCPOnly {
		network = "tcp"
	}
	for {
		edns := !s.noEDNS.Load()
		msg, err := r.exchange(ctx, s.addr, network, k, edns)
		switch {
		case errors.Is(err, errStrays) && network == "udp", err == nil && msg.Truncated && network == "udp":
			network = "tcp"
			continue
		case err != nil:
			return nil, err
		}
		switch msg.Rcode {
		case wire.RcodeSuccess, wire.RcodeNameError:
			return msg, nil
		case wire.RcodeFormatError, wire.RcodeNotImplemented, wire.RcodeBadVers:
			if edns {
				// RFC 6891 7: a server that does not know EDNS.
				s.noEDNS.Store(true)
				continue
			}
		}
		return nil, &replyError{"reply code " + wire.RcodeToString[msg.Rcode]}
	}
}

// exchange sends one query and returns the reply that belongs to it.
func (r *Resolver) exchange(ctx context.Context, addr netip.AddrPort, network string, k key, edns bool) (*wire.Msg, error) {
	q := &wire.Msg{}
	q.SetQuestion(wire.Fqdn(k.name), k.qtype)
	q.Id = uint16(rand.Uint32())
	// RFC 6840 5.7: AD in a query asks for AD in the reply.
	q.AuthenticatedData = true
	if edns {
		q.SetEdns0(udpSize, r.cfg.DNSSEC)
	}
	packed, err := q.Pack()
	if err != nil {
		return nil, err
	}
	// RFC 5452 9.1: id and question must be ours; the address is the socket's
	// care. Unpack sets them before it stumbles over the rest.
	var msg *wire.Msg
	var bad error
	match := func(b []byte) bool {
		m := &wire.Msg{}
		err := m.Unpack(b)
		ours := m.Response && m.Id == q.Id && m.Opcode == wire.OpcodeQuery && len(m.Question) == 1 &&
			m.Question[0].Qtype == k.qtype && m.Question[0].Qclass == wire.ClassINET &&
			sameName(m.Question[0].Name, k.name)
		if ours {
			msg, bad = m, err
		}
		return ours
	}
	if err := r.cfg.Transport(ctx, addr, network, packed, match); err != nil {
		return nil, err
	}
	if bad != nil && !msg.Truncated {
		return nil, &replyError{bad.Error()}
	}
	return msg, nil
}

// replyError is a reply that came but is of no use; the server is alive.
type replyError struct{ text string }

func (e *replyError) Error() string { return e.text }

// failed is the answer when nobody answered.
func failed(k key, cause error) *answer {
	return &answer{canonical: k.name, ttl: failTTL, err: tempError(k, cause)}
}

func tempError(k key, cause error) *Error {
	return &Error{Kind: Temporary, Name: k.name, Type: typeName(k.qtype), Text: textTryAgain, Cause: cause}
}

// validAlias tells whether an alias target may be asked for; unlike a host it
// may have labels of any text (RFC 2181 11), here without dots and spaces.
func validAlias(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsAny(name, " \\")
}
