package postscreen

import (
	"context"
	"errors"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/postconf"
	"postroad/internal/table"
	"postroad/internal/tlsmgr"
)

// Deps are what the caller has.
type Deps struct {
	Tables   *table.Set
	Resolver Resolver
	Caches   *Caches
	Log      event.Sink
	// PIDs number the voices of the server in the log; nil makes them 1.
	PIDs *event.PIDs
	// Read reads the files of TLS keys; nil is the process itself.
	Read tlsmgr.ReadFile
}

// maxLookups bounds the questions to lists that are under way at a time.
const maxLookups = 1000

// FromView makes the server of a master.cf service, but for HandOff. The Server is
// nil when a problem is fatal.
func FromView(v *postconf.View, d Deps) (*Server, []postconf.Problem) {
	set := &Settings{}
	b := &viewBuilder{v: v, deps: d, srv: &Server{Settings: set}}
	b.problems = v.Decode(set)
	if postconf.HasFatal(b.problems) {
		return nil, b.problems
	}
	stress := &Settings{}
	if problems := v.With("stress", "yes").Decode(stress); !postconf.HasFatal(problems) {
		b.srv.rules.stress = stress
	}
	if svc := v.Service(); svc != nil {
		b.srv.Service = svc.Name
	}
	b.srv.log, b.srv.tlsLog = b.voice("postscreen"), b.voice("tlsproxy")
	if p := set.UpstreamProxy; p != "" && p != haproxy {
		b.note(errors.New("unsupported postscreen_upstream_proxy_protocol value: " + p))
	}
	b.rules()
	b.lists()
	b.tls()
	if postconf.HasFatal(b.problems) {
		return nil, b.problems
	}
	if set.CacheMap != "" && d.Caches != nil {
		b.srv.cache = d.Caches.open(set.CacheMap, d.Tables, b.srv.log)
	}
	return b.srv, b.problems
}

// viewBuilder collects the problems of FromView.
type viewBuilder struct {
	v        *postconf.View
	deps     Deps
	srv      *Server
	problems []postconf.Problem
}

// note adds a fatal problem.
func (b *viewBuilder) note(err error) {
	if err != nil {
		b.problems = append(b.problems, postconf.Problem{Fatal: true, Text: err.Error()})
	}
}

// voice is a logger of one of the programs that this room stands for.
func (b *viewBuilder) voice(program string) *event.Logger {
	pid := 1
	if b.deps.PIDs != nil {
		pid = b.deps.PIDs.Next()
	}
	return event.NewLogger(b.deps.Log, b.srv.Settings.SyslogName+"/"+program, pid)
}

// rules puts settings into the form in which they are used.
func (b *viewBuilder) rules() {
	set, r := b.srv.Settings, &b.srv.rules
	if set.GreetBanner != "" {
		r.enabled |= only(pregreet)
	}
	if len(set.Sites) > 0 {
		r.enabled |= only(dnsbl)
	}
	for ch, on := range map[check]bool{pipelining: set.Pipelining, nonSMTP: set.NonSMTP, bareNewline: set.BareNewline} {
		if on {
			r.enabled |= only(ch)
		}
	}
	r.ttl = [checks]time.Duration{
		pregreet: set.GreetTTL, dnsbl: set.DNSBLMin, pipelining: set.PipeliningTTL, nonSMTP: set.NonSMTPTTL, bareNewline: set.BareNewlineTTL,
	}
	r.minTTL = r.ttl[0]
	for _, ttl := range r.ttl {
		r.minTTL = min(r.minTTL, ttl)
	}
	for _, a := range []struct {
		param, value string
		to           *action
	}{
		{"postscreen_denylist_action", set.DenyAction, &r.deny},
		{"postscreen_greet_action", set.GreetAction, &r.actions[pregreet]},
		{"postscreen_dnsbl_action", set.DNSBLAction, &r.actions[dnsbl]},
		{"postscreen_pipelining_action", set.PipeliningAction, &r.actions[pipelining]},
		{"postscreen_non_smtp_command_action", set.NonSMTPAction, &r.actions[nonSMTP]},
		{"postscreen_bare_newline_action", set.BareNewlineAction, &r.actions[bareNewline]},
	} {
		act, ok := actions[strings.ToLower(a.value)]
		if !ok {
			b.note(errors.New("bad " + a.param + " value: " + a.value))
		}
		*a.to = act
	}
	r.mask = parseMask(set.DiscardEHLO)
	set.Footer = b.once(set.Footer)
	r.allowed = postconf.NewCharset(postconf.Unescape(b.once(set.Filter)))
}

// once expands a text that is nothing but the name of a parameter: names in the
// value of that are for a later time.
func (b *viewBuilder) once(text string) string {
	name, ok := strings.CutPrefix(text, "$")
	if !ok || strings.ContainsAny(name, " $\\") {
		return text
	}
	value, err := b.v.Value(strings.Trim(name, "{}()"))
	b.note(err)
	return value
}

// lists opens what clients are looked up in.
func (b *viewBuilder) lists() {
	set, l, tables := b.srv.Settings, &b.srv.lists, b.deps.Tables
	var err error
	if len(set.AccessList) > 0 {
		l.access, err = newAccessList(tables, set.AccessList, set.Networks, b.srv.log)
		b.note(err)
	}
	l.interfaces, err = tables.AddrList("postscreen_allowlist_interfaces", set.AllowInterface)
	b.note(err)
	l.forbidden, err = tables.StringList("postscreen_forbidden_commands", set.Forbidden)
	b.note(err)
	l.discard, err = tables.Maps("postscreen_discard_ehlo_keyword_address_maps", set.DiscardMaps)
	b.note(err)
	l.footer, err = tables.Maps("postscreen_reject_footer_maps", set.FooterMaps)
	b.note(err)
	if set.CommandFilter != "" {
		l.filter, err = tables.Open(set.CommandFilter)
		b.note(err)
	}
	sites, err := parseSites(set.Sites, b.replyName)
	b.note(err)
	l.scorer = &scorer{
		sites: sites, resolver: b.deps.Resolver, timeout: set.DNSBLTimeout, delay: set.ReplyDelay,
		min: set.DNSBLMin, max: set.DNSBLMax, limit: b.lookups(), log: b.srv.log, blog: b.voice("dnsblog"),
	}
}

// lookups is the process limit of dnsblog(8) in master.cf.
func (b *viewBuilder) lookups() int {
	name, err := b.v.Value("dnsblog_service_name")
	b.note(err)
	n := 0
	if cfg := b.v.Config(); cfg != nil {
		if svc := cfg.Service(name, "unix"); svc != nil {
			n = svc.MaxProc
		} else if len(b.srv.Settings.Sites) > 0 {
			b.problems = append(b.problems, postconf.Problem{Text: "postscreen_dnsbl_sites: master.cf has no service \"" + name + "\""})
		}
	}
	if n <= 0 {
		return maxLookups
	}
	return min(n, maxLookups)
}

// replyName is what clients hear of a list.
func (b *viewBuilder) replyName(domain string) (string, error) {
	spec := b.srv.Settings.ReplyMap
	if spec == "" {
		return domain, nil
	}
	t, err := b.deps.Tables.Open(spec)
	if err != nil {
		return "", err
	}
	name, ok, err := t.Lookup(context.Background(), domain)
	if err != nil || ok {
		return name, err
	}
	return domain, nil
}

// tls builds the server side of TLS. Without a certificate there is none.
func (b *viewBuilder) tls() {
	var own, proxy TLSSettings
	b.problems = append(b.problems, b.v.Decode(&own)...)
	view := b.v
	if cfg := b.v.Config(); cfg != nil {
		svc := cfg.Service(own.Proxy, "unix")
		b.srv.rules.noTLSProxy = svc == nil
		view = cfg.View(svc)
	}
	b.problems = append(b.problems, view.Decode(&proxy)...)
	b.srv.rules.tlsLog = proxy.LogLevel
	var set tlsmgr.Settings
	b.problems = append(b.problems, view.DecodeAs(&set, "smtpd_", "tlsproxy_")...)
	set.Level, set.UseTLS, set.EnforceTLS = own.Level, own.UseTLS, own.EnforceTLS
	set.Read, set.Wrapper = b.deps.Read, false
	srv, err := tlsmgr.NewServer(&set)
	switch {
	case errors.Is(err, tlsmgr.ErrNoCertificate):
		b.problems = append(b.problems, postconf.Problem{Text: err.Error()})
	case err != nil:
		b.note(err)
	}
	b.srv.TLS = srv
}
