package smtp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"postroad/internal/agent"
	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/table"
	smtpwire "postroad/internal/wire"
)

// Maps is a list of lookup tables. An error means "try later".
type Maps interface {
	Find(ctx context.Context, key string) (value string, ok bool, err error)
}

// Matcher is a list of names; *table.MatchList is one.
type Matcher interface {
	Match(ctx context.Context, name string) (bool, error)
}

// HostMatcher is a list of hosts; *table.MatchList is one.
type HostMatcher interface {
	MatchHost(ctx context.Context, name string, addr netip.Addr) (bool, error)
}

// Dialer makes connections; local may be nil.
type Dialer func(ctx context.Context, network, address string, local net.Addr) (net.Conn, error)

// Config is what a Client is made of.
type Config struct {
	Settings Settings
	Common   Common
	// LMTP chooses the protocol.
	LMTP     bool
	Resolver Resolver
	// Own tells whether an address is one of ours (inet_interfaces,
	// proxy_interfaces); nil means none is.
	Own func(netip.Addr) bool
	// Source4 and Source6 are the addresses of an inet_interfaces setting that
	// names just one; they serve where no bind address is set.
	Source4, Source6 netip.Addr
	// Dial defaults to TCP and UNIX-domain sockets of the system.
	Dial Dialer
	// TLSPolicy and Passwords are the tables of those names, or nil.
	TLSPolicy, Passwords Maps
	// DiscardByAddr has EHLO keywords not to use by server address, ReplyFilter
	// replaces lines of servers; nil for none.
	DiscardByAddr, ReplyFilter Maps
	// PIXByAddr has workarounds by server address.
	PIXByAddr Maps
	// DNSFilter drops records of DNS answers.
	DNSFilter *table.Maps
	// RequireTLS are the items of smtp_requiretls_policy.
	RequireTLS []RequireItem
	// CacheAlways lists the destinations whose connections are always kept; nil
	// for none.
	CacheAlways Matcher
	// Debug lists the servers with whom the dialogue is logged; nil for none.
	Debug HostMatcher
	// Outgoing is what is done to mail on its way out.
	Outgoing Outgoing
	// Pass hands recipients to another transport, as in agent.Deps; nil knows none.
	Pass agent.PassFunc
	// Log takes remarks that belong to no delivery.
	Log *event.Logger
}

// Client is the delivery agent of one master.cf service.
type Client struct {
	Config
	look     lookup
	fallback []site
	level    Level
	tls      *engine
	sasl     saslRules
	pool     *pool
	bufs     sync.Pool
}

// outBufSize is the size of the write buffer; content leaves in such pieces.
const outBufSize = 32 << 10

// New returns the agent. An error is a setting that cannot be obeyed.
func New(cfg Config) (*Client, error) {
	if cfg.Own == nil {
		cfg.Own = func(netip.Addr) bool { return false }
	}
	if cfg.Dial == nil {
		cfg.Dial = dialSystem(cfg.Common.WindowSize)
	}
	c := &Client{Config: cfg}
	c.bufs.New = func() any { b := make([]byte, 0, outBufSize); return &b }
	c.pool = newPool(cfg.Settings.CacheTimeLimit)
	var err error
	if c.level, err = defaultLevel(&cfg.Settings); err != nil {
		return nil, err
	}
	if c.level != LevelNone || cfg.TLSPolicy != nil {
		if c.tls, err = newEngine(&c.Settings); err != nil {
			return nil, err
		}
	}
	for _, item := range cfg.Settings.FallbackRelay {
		s, err := parseSite(item, cfg.Settings.TCPPort, cfg.LMTP)
		if err != nil {
			return nil, err
		}
		s.fallback = true
		c.fallback = append(c.fallback, s)
	}
	c.sasl = newSASLRules(&cfg.Settings)
	family, err := families(cfg.Common.InetProtocols)
	if err != nil {
		return nil, err
	}
	c.look = lookup{
		set: &c.Settings, common: &c.Common, dns: cfg.Resolver, own: cfg.Own, family: family,
		useDNS: cfg.Settings.DNSSupportLevel != "disabled" && !cfg.Common.DisableDNS && (len(cfg.Settings.HostLookup) == 0 || slices.Contains(cfg.Settings.HostLookup, "dns")),
		native: cfg.Settings.DNSSupportLevel == "disabled" || cfg.Common.DisableDNS || slices.Contains(cfg.Settings.HostLookup, "native"),
	}
	return c, nil
}

func families(protocols []string) (dns.Family, error) {
	four, six := false, false
	for _, p := range protocols {
		switch strings.ToLower(p) {
		case "all":
			four, six = true, true
		case "ipv4":
			four = true
		case "ipv6":
			six = true
		default:
			return dns.Any, fmt.Errorf("bad protocol %q in inet_protocols", p)
		}
	}
	switch {
	case four == six:
		return dns.Any, nil
	case four:
		return dns.IPv4, nil
	}
	return dns.IPv6, nil
}

// Close ends the connections that are kept.
func (c *Client) Close() { c.pool.close() }

// Deliver implements agent.Agent.
func (c *Client) Deliver(ctx context.Context, d *agent.Delivery) (results []mail.Result) {
	a := newAttempt(c, d)
	defer func() {
		if p := recover(); p != nil {
			d.Logger.Errorf("%s: delivery to %s: %v", d.Envelope.ID, d.Route.Nexthop, p)
			if a.cur != nil {
				a.cur.abandon()
			}
		}
		// Whatever happened, each recipient has an answer.
		a.bulkFail(nil, newFailure("4.3.0", "unknown mail transport error"), failFinal)
		results = a.results
	}()
	a.run(ctx)
	return a.results
}

// dialSystem is the Dialer of production. Multipath TCP stays off: it bypasses
// the port rules of the sandbox.
func dialSystem(window int) Dialer {
	return func(ctx context.Context, network, address string, local net.Addr) (net.Conn, error) {
		d := net.Dialer{LocalAddr: local, FallbackDelay: -1, KeepAliveConfig: net.KeepAliveConfig{Enable: false}, Control: smtpwire.Window(window)}
		d.KeepAlive = -1
		d.SetMultipathTCP(false)
		return d.DialContext(ctx, network, address)
	}
}
