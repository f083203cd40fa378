package smtpd

import (
	"context"
	"errors"
	"slices"
	"strings"

	"postroad/internal/event"
	"postroad/internal/postconf"
	"postroad/internal/sasl"
	"postroad/internal/table"
	"postroad/internal/tlsmgr"
)

// FromView makes the server of a master.cf service, but for the rooms that the
// caller sets: Access, Cleanup, Names, Rates, Space, Flush, PIDs. read reads the
// files of TLS keys; nil is the process itself. The Server is nil when a problem
// is fatal.
func FromView(v *postconf.View, tables *table.Set, log event.Sink, read tlsmgr.ReadFile) (*Server, []postconf.Problem) {
	b := &viewBuilder{v: v, tables: tables, read: read, srv: &Server{Settings: &Settings{}, Log: log}}
	b.problems = v.Decode(b.srv.Settings)
	if postconf.HasFatal(b.problems) {
		return nil, b.problems
	}
	// Only services of the network are under stress.
	svc := v.Service()
	if _, _, set := v.Raw("stress"); !set && (svc == nil || svc.Type == "inet") {
		stress := &Settings{}
		if problems := v.With("stress", "yes").Decode(stress); !postconf.HasFatal(problems) {
			b.srv.Stress = stress
		}
	}
	set := b.srv.Settings
	b.srv.Tag = set.SyslogName + "/smtpd"
	if svc != nil {
		b.srv.Service, b.srv.MaxSessions = svc.Name, svc.MaxProc
	}
	if b.srv.MaxSessions < 0 {
		b.srv.MaxSessions = set.DefaultLimit
	}
	if p := set.UpstreamProxy; p != "" && p != haproxy {
		b.problems = append(b.problems, postconf.Problem{Fatal: true, Text: "unsupported smtpd_upstream_proxy_protocol value: " + p})
	}
	var err error
	b.srv.proxy, err = parseProxyFilter(set)
	b.note(true, err)
	b.lists()
	b.milters()
	b.tls()
	b.sasl()
	if postconf.HasFatal(b.problems) {
		return nil, b.problems
	}
	return b.srv, b.problems
}

// viewBuilder collects the problems of FromView.
type viewBuilder struct {
	v        *postconf.View
	tables   *table.Set
	read     tlsmgr.ReadFile
	srv      *Server
	problems []postconf.Problem
}

func (b *viewBuilder) note(fatal bool, err error) {
	if err != nil {
		b.problems = append(b.problems, postconf.Problem{Fatal: fatal, Text: err.Error()})
	}
}

func (b *viewBuilder) hosts(param string, items []string) HostMatcher {
	if len(items) == 0 {
		return nil
	}
	list, err := b.tables.HostList(param, items, slices.Contains(b.srv.Settings.ParentMatches, param))
	b.note(true, err)
	if err != nil {
		return nil
	}
	return list
}

func (b *viewBuilder) lists() {
	set, l := b.srv.Settings, &b.srv.Lists
	l.Xclient = b.hosts("smtpd_authorized_xclient_hosts", set.XclientHosts)
	l.Xforward = b.hosts("smtpd_authorized_xforward_hosts", set.XforwardHosts)
	l.VERP = b.hosts("smtpd_authorized_verp_clients", set.VERPClients)
	l.RateExempt = b.hosts("smtpd_client_event_limit_exceptions", set.RateExempt)
	l.AuthExempt = b.hosts("smtpd_sasl_exceptions_networks", set.AuthExempt)
	l.BareNewlineExempt = b.hosts("smtpd_forbid_bare_newline_exclusions", set.BareNewlineExempt)
	l.Debug = b.hosts("debug_peer_list", set.DebugPeers)
	if len(set.DiscardEHLOMaps) > 0 {
		maps, err := b.tables.Maps("smtpd_discard_ehlo_keyword_address_maps", set.DiscardEHLOMaps)
		b.note(true, err)
		l.DiscardEHLO = func(ctx context.Context, key string) (string, bool, error) {
			hit, err := maps.Lookup(ctx, key)
			return hit.Value, hit.Found, err
		}
	}
	if set.CommandFilter != "" {
		var err error
		l.Commands, err = b.tables.Open(set.CommandFilter)
		b.note(true, err)
	}
	b.forbidden()
	b.refusals()
}

// refusals prepares what is made of refusals.
func (b *viewBuilder) refusals() {
	set := b.srv.Settings
	if len(set.RejectFilter) == 0 && len(set.RejectFooterMaps) == 0 && set.RejectFooter == "" {
		return
	}
	r := &refusals{footer: set.RejectFooter, allowed: postconf.NewCharset(postconf.Unescape(set.ExpansionFilter))}
	var err error
	r.filter, err = b.tables.Maps("smtpd_reject_filter_maps", set.RejectFilter)
	b.note(true, err)
	r.footers, err = b.tables.Maps("smtpd_reject_footer_maps", set.RejectFooterMaps)
	b.note(true, err)
	b.srv.refusals = r
}

// forbidden separates the tables of smtpd_forbidden_commands from its words.
func (b *viewBuilder) forbidden() {
	set := b.srv.Settings
	var words []string
	var maps []string
	for _, w := range set.Forbidden {
		if strings.Contains(w, ":") {
			maps = append(maps, w)
		} else {
			words = append(words, w)
		}
	}
	set.Forbidden = words
	if b.srv.Stress != nil {
		b.srv.Stress.Forbidden = words
	}
	if len(maps) == 0 {
		return
	}
	m, err := b.tables.Maps("smtpd_forbidden_commands", maps)
	b.note(true, err)
	if err != nil {
		return
	}
	b.srv.Lists.Forbidden = func(line string) bool {
		hit, err := m.Lookup(context.Background(), line)
		return err == nil && hit.Found
	}
}

// tls builds the server side of TLS. A server at level may goes on without it
// when there is no certificate, and says so.
func (b *viewBuilder) tls() {
	var set tlsmgr.Settings
	b.problems = append(b.problems, b.v.Decode(&set)...)
	set.Read = b.read
	set.Warn = b.srv.logger(0).Warnf
	if names, err := b.tables.Maps("tls_server_sni_maps", set.SNIMaps); err != nil {
		b.note(true, err)
	} else if !names.Empty() {
		set.Names = func(ctx context.Context, name string) (string, bool, error) {
			hit, err := names.Lookup(ctx, name)
			return hit.Value, hit.Found, err
		}
	}
	srv, err := tlsmgr.NewServer(&set)
	if err == nil {
		b.srv.TLS = srv
		if srv != nil {
			for _, text := range srv.Notes {
				b.note(false, errors.New(text))
			}
		}
		return
	}
	level, bad := set.ServerLevel()
	if bad != nil {
		b.note(true, bad)
		return
	}
	b.srv.lacks = lacks{tls: true, demanded: level == tlsmgr.LevelEncrypt}
	b.note(set.Wrapper && !errors.Is(err, tlsmgr.ErrNoCertificate), err)
}

func (b *viewBuilder) sasl() {
	if !b.srv.Settings.AuthEnable {
		return
	}
	var set sasl.Settings
	b.problems = append(b.problems, b.v.Decode(&set)...)
	srv, err := sasl.New(&set, sasl.Deps{
		Open:     func(spec string) (sasl.Table, error) { return b.tables.Open(spec) },
		Accounts: func(path string) sasl.Table { return b.tables.SASLDB(path) },
		List:     func(param string, items []string) (sasl.Matcher, error) { return b.tables.StringList(param, items) },
		Read:     b.read,
	})
	b.note(true, err)
	b.srv.SASL = srv
}
