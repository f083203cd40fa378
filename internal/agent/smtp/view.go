package smtp

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"postroad/internal/agent"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
	"postroad/internal/table"
)

// Deps are the things outside the configuration that FromView needs.
type Deps struct {
	Tables   *table.Set
	Resolver Resolver
	// Own, Source4, Source6 and Dial are as in Config.
	Own              func(netip.Addr) bool
	Source4, Source6 netip.Addr
	Dial             Dialer
	// Search and Complete are trivial-rewrite's, for the generic maps.
	Search   table.AddressSearch
	Complete func(addr string) mail.Address
	// Pass is as in Config.
	Pass agent.PassFunc
	Log  *event.Logger
}

// FromView makes the agent of a master.cf service whose command is smtp, or
// lmtp when lmtp is set. The Client is nil when a problem is fatal.
func FromView(v *postconf.View, lmtp bool, d Deps) (*Client, []postconf.Problem) {
	cfg := Config{LMTP: lmtp, Resolver: d.Resolver, Own: d.Own, Source4: d.Source4, Source6: d.Source6, Dial: d.Dial, Pass: d.Pass, Log: d.Log}
	problems := v.Decode(&cfg.Common)
	if lmtp {
		problems = append(problems, v.DecodeLMTP(&cfg.Settings)...)
	} else {
		problems = append(problems, v.Decode(&cfg.Settings)...)
	}
	name := "smtp"
	if lmtp {
		name = "lmtp"
	}
	fatal := func(err error) {
		if err != nil {
			problems = append(problems, postconf.Problem{Fatal: true, Text: err.Error()})
		}
	}
	maps := func(param string, specs []string) Maps {
		m, err := d.Tables.Maps(name+param, specs)
		fatal(err)
		if m.Empty() {
			return nil
		}
		return finder{m}
	}
	cfg.TLSPolicy = maps("_tls_policy_maps", cfg.Settings.TLSPolicyMaps)
	set := &cfg.Settings
	cfg.Outgoing = Outgoing{
		Proto: name, BodyLimit: cfg.Common.BodyCheckSize,
		Header: maps("_header_checks", set.HeaderChecks), MIME: maps("_mime_header_checks", set.MIMEHeaderChecks),
		Nested: maps("_nested_header_checks", set.NestedHeaderChecks), Body: maps("_body_checks", set.BodyChecks),
	}
	if generic, err := d.Tables.Maps(name+"_generic_maps", set.GenericMaps); err != nil {
		fatal(err)
	} else if !generic.Empty() {
		cfg.Outgoing.Generic = d.generic(generic, slices.Contains(cfg.Common.Propagate, "generic"))
	}
	cfg.DiscardByAddr = maps("_discard_ehlo_keyword_address_maps", set.DiscardKeywordMaps)
	cfg.PIXByAddr = maps("_pix_workaround_maps", set.PIXMaps)
	cfg.ReplyFilter = maps("_reply_filter", set.ReplyFilter)
	if m, err := d.Tables.Maps(name+"_dns_reply_filter", set.DNSReplyFilter); err != nil {
		fatal(err)
	} else if !m.Empty() {
		cfg.DNSFilter = m
	}
	cfg.Passwords = maps("_sasl_password_maps", cfg.Settings.SASLPasswordMaps)
	if len(cfg.Settings.CacheDestinations) > 0 {
		list, err := d.Tables.DomainList(name+"_connection_cache_destinations", cfg.Settings.CacheDestinations, false)
		fatal(err)
		if err == nil {
			cfg.CacheAlways = list
		}
	}
	if len(cfg.Common.DebugPeers) > 0 {
		list, err := d.Tables.HostList("debug_peer_list", cfg.Common.DebugPeers, slices.Contains(cfg.Common.ParentMatches, "debug_peer_list"))
		fatal(err)
		if err == nil {
			cfg.Debug = list
		}
	}
	for _, text := range set.RequirePolicy {
		item := RequireItem{Text: text}
		if strings.Contains(text, ":") {
			m, err := d.Tables.Maps(name+"_requiretls_policy", []string{text})
			fatal(err)
			item.Table = finder{m}
		}
		cfg.RequireTLS = append(cfg.RequireTLS, item)
	}
	if postconf.HasFatal(problems) {
		return nil, problems
	}
	c, err := New(cfg)
	fatal(err)
	if err == nil && (c.level == LevelDANE || c.level == LevelDANEOnly) {
		problems = append(problems, postconf.Problem{Text: name + "_tls_security_level = " + c.level.String() +
			": TLSA records are not looked up; dane is treated as may, and mail for dane-only destinations is deferred"})
	}
	return c, problems
}

// generic looks addresses up in the generic maps.
func (d *Deps) generic(maps *table.Maps, propagate bool) func(context.Context, mail.Address) (mail.Address, error) {
	return func(ctx context.Context, addr mail.Address) (mail.Address, error) {
		hit, err := maps.LookupAddress(ctx, addr, d.Search)
		if err != nil || !hit.Found {
			return addr, err
		}
		if to := rewrite.Mapped(d.Complete, addr, hit.Value, hit.Extension, propagate, 1); len(to) > 0 {
			return to[0], nil
		}
		return addr, nil
	}
}

// finder is a list of tables as this room looks into it.
type finder struct{ maps *table.Maps }

// Find implements Maps.
func (f finder) Find(ctx context.Context, key string) (string, bool, error) {
	hit, err := f.maps.Lookup(ctx, key)
	return hit.Value, hit.Found, err
}

// FindParent implements RequireTable.
func (f finder) FindParent(ctx context.Context, key string) (string, bool, error) {
	hit, err := f.maps.LookupFixed(ctx, key)
	return hit.Value, hit.Found, err
}
