package rewrite

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

// Engine is trivial-rewrite(8) for one generation of the configuration.
type Engine struct {
	set    Settings
	log    *event.Logger
	own    map[netip.Addr]struct{}
	search table.AddressSearch

	local, alias, mailbox, relay *table.MatchList
	// dotParents tells that transport_maps wants ".parent" keys.
	dotParents bool

	localRoute, virtualRoute, relayRoute, defaultRoute target
	// probes resolves the recipients of probes.
	probes *Engine

	senderRelay, senderTransport, transports, relocated *table.Maps
	users                                               userMaps
}

// target is a transport setting: a transport and, perhaps, a next hop.
type target struct {
	transport mail.Transport
	nexthop   mail.Nexthop
}

// New returns the Engine for a configuration. It works as well as it can even
// when there are problems; a fatal one means that Postfix would not run.
func New(cfg *postconf.View, tables *table.Set, log *event.Logger) (*Engine, []postconf.Problem) {
	e := &Engine{log: log}
	problems := cfg.Decode(&e.set)
	b := builder{e: e, cfg: cfg, tables: tables, problems: problems}
	b.build()
	return e, b.problems
}

// builder collects the problems of making an Engine.
type builder struct {
	e        *Engine
	cfg      *postconf.View
	tables   *table.Set
	problems []postconf.Problem
}

func (b *builder) build() {
	e, s := b.e, &b.e.set
	if origin, err := b.cfg.Myorigin(); err == nil {
		s.Myorigin = origin // Debian keeps it in a file
	} else {
		b.check("myorigin", err)
	}
	e.own = b.interfaces()
	e.local = b.list("mydestination", s.Destination)
	e.alias = b.list("virtual_alias_domains", s.VirtualAliasDomains)
	e.mailbox = b.list("virtual_mailbox_domains", s.VirtualMailDomains)
	relay, err := b.tables.DomainList("relay_domains", s.RelayDomains, b.parents("relay_domains"))
	b.check("relay_domains", err)
	e.relay = relay
	e.dotParents = !b.parents("transport_maps")
	e.localRoute = b.target("local_transport", s.LocalTransport)
	e.virtualRoute = b.target("virtual_transport", s.VirtualTransport)
	e.relayRoute = b.target("relay_transport", s.RelayTransport)
	e.defaultRoute = b.target("default_transport", s.DefaultTransport)
	e.senderRelay = b.maps("sender_dependent_relayhost_maps", s.SenderRelayMaps)
	e.senderTransport = b.maps("sender_dependent_default_transport_maps", s.SenderTransportMaps)
	e.transports = b.maps("transport_maps", s.TransportMaps)
	e.relocated = b.maps("relocated_maps", s.RelocatedMaps)
	e.users = userMaps{
		local:              b.maps("local_recipient_maps", s.LocalRecipientMaps),
		relay:              b.maps("relay_recipient_maps", s.RelayRecipientMaps),
		mailbox:            b.maps("virtual_mailbox_maps", s.VirtualMailboxMaps),
		alias:              b.maps("virtual_alias_maps", s.VirtualAliasMaps),
		canonical:          b.maps("canonical_maps", s.CanonicalMaps),
		senderCanonical:    b.maps("sender_canonical_maps", s.SenderCanonicalMaps),
		recipientCanonical: b.maps("recipient_canonical_maps", s.RecipientCanonicalMaps),
	}
	e.search = table.AddressSearch{
		Delimiters:   s.RecipientDelimiter,
		LocalDomain:  e.originOrLocal,
		DoubleBounce: s.DoubleBounceSender,
		SplitOwner:   !s.OwnerRequestSpecial,
	}
	b.probes()
}

// probes makes the Engine for probes: the same, with the address_verify_*
// parameters in place of those that say where mail goes.
func (b *builder) probes() {
	p, s := *b.e, &b.e.set
	p.set.Relayhost = s.ProbeRelayhost
	p.localRoute = b.target("address_verify_local_transport", s.ProbeLocalTransport)
	p.virtualRoute = b.target("address_verify_virtual_transport", s.ProbeVirtualTransport)
	p.relayRoute = b.target("address_verify_relay_transport", s.ProbeRelayTransport)
	p.defaultRoute = b.target("address_verify_default_transport", s.ProbeDefaultTransport)
	p.senderRelay = b.maps("address_verify_sender_dependent_relayhost_maps", s.ProbeSenderRelay)
	p.senderTransport = b.maps("address_verify_sender_dependent_default_transport_maps", s.ProbeSenderTransport)
	p.transports = b.maps("address_verify_transport_maps", s.ProbeTransportMaps)
	b.e.probes = &p
}

// parents tells whether a parameter is named in parent_domain_matches_subdomains.
func (b *builder) parents(param string) bool {
	return slices.Contains(b.e.set.ParentMatches, param)
}

// list makes a list of whole domains: in these, Postfix gives a leading dot no
// meaning.
func (b *builder) list(param string, items []string) *table.MatchList {
	l, err := b.tables.StringList(param, items)
	b.check(param, err)
	return l
}

func (b *builder) maps(param string, specs []string) *table.Maps {
	m, err := b.tables.Maps(param, specs)
	b.check(param, err)
	return m
}

// target splits a transport setting; the part before the colon must be there.
func (b *builder) target(param, value string) target {
	t := parseTarget(value)
	if t.transport == "" {
		b.check(param, fmt.Errorf("parameter %s: null transport is not allowed", param))
	}
	return t
}

func (b *builder) check(param string, err error) {
	if err == nil {
		return
	}
	b.problems = append(b.problems, postconf.Problem{
		Fatal: true, Origin: postconf.Origin{File: param}, Text: err.Error(),
	})
}

// parseTarget splits "transport:nexthop".
func parseTarget(s string) target {
	name, hop, _ := strings.Cut(s, ":")
	return target{mail.Transport(name), mail.Nexthop(hop)}
}

// originOrLocal tells whether bare local parts may be looked up for a domain.
func (e *Engine) originOrLocal(ctx context.Context, domain string) (bool, error) {
	if strings.EqualFold(domain, e.set.Myorigin) {
		return true, nil
	}
	return e.IsLocal(ctx, domain)
}

// Probes is the Engine that resolves the recipients of probes.
func (e *Engine) Probes() *Engine { return e.probes }

// AddressSearch says how mail addresses are searched in tables.
func (e *Engine) AddressSearch() table.AddressSearch { return e.search }

// Myhostname is $myhostname.
func (e *Engine) Myhostname() string { return e.set.Myhostname }

// Mydomain is $mydomain.
func (e *Engine) Mydomain() string { return e.set.Mydomain }

// Myorigin is $myorigin.
func (e *Engine) Myorigin() string { return e.set.Myorigin }

// OwnAddress tells whether addr is one of $inet_interfaces or
// $proxy_interfaces.
func (e *Engine) OwnAddress(addr netip.Addr) bool {
	_, own := e.own[addr.Unmap().WithZone("")]
	return own
}
