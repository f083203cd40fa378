package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postroad/internal/access"
	"postroad/internal/cleanup"
	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/postscreen"
	"postroad/internal/rewrite"
	"postroad/internal/smtpd"
	"postroad/internal/table"
)

// smtpd builds the SMTP server of one master.cf service.
func (s *server) smtpd(gen *generation, svc *postconf.Service) (*smtpd.Server, error) {
	view := gen.cfg.View(svc)
	srv, problems := smtpd.FromView(view, gen.tables, s.rt.Log, s.readFile)
	var set sessionSettings
	problems = append(problems, view.Decode(&set)...)
	problems = append(problems, noCleanup(gen.cfg, view, set.Cleanup)...)
	log := event.NewLogger(s.rt.Log, logName(view, "smtpd"), 1)
	router := gen.rewrite
	if len(svc.Overrides) > 0 {
		own, more := rewrite.New(view, gen.tables, log)
		problems = append(problems, more...)
		router = own
	}
	engine, more := access.New(view, access.Deps{
		Tables: gen.tables, Rewrite: router, DNS: s.resolver, Log: log, Verify: s.verifier(gen, view),
	})
	problems = append(problems, more...)
	for _, p := range problems {
		if p.Fatal {
			log.Fatalf("%s", p.Error())
		} else {
			log.Warnf("%s", p.Error())
		}
	}
	if postconf.HasFatal(problems) || srv == nil {
		return nil, errors.New(firstFatal(problems))
	}
	srv.Access = engine
	srv.Cleanup = &receiver{server: s, set: &set}
	srv.Senseless = func(ctx context.Context, addr mail.Address) bool {
		r, err := router.Lookup(ctx, "", router.Rewrite(rewrite.Local, string(addr)))
		return err == nil && r.Invalid
	}
	srv.Lists.Filters.Route = func(ctx context.Context, sender, addr mail.Address) (mail.Route, error) {
		local := func(a mail.Address) mail.Address { return router.Rewrite(rewrite.Local, string(a)) }
		return router.Resolve(ctx, local(sender), local(addr))
	}
	srv.Rates = s.rates
	srv.PIDs = &s.pids
	if svc.Type == "inet" {
		srv.Master = s.rt.Master
	}
	srv.Flush = flusher{s}
	srv.Scratch = filepath.Join(gen.settings.QueueDirectory, storeDir)
	srv.Notices = notices{s, set.ErrorRecipient}
	srv.Space = func() error { return s.door.CheckSpace(set.MessageLimit) }
	if set.PeernameLookup {
		srv.Names = names{s.resolver}
	}
	return srv, nil
}

// maxKeyFile bounds a file of keys or certificates.
const maxKeyFile = 4 << 20

// readFile reads a file that perhaps only root may read.
func (s *server) readFile(name string) ([]byte, error) {
	f, err := s.rt.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// sessionSettings are parameters of a service that concern the messages that come
// in through it.
type sessionSettings struct {
	ContentFilter  string   `postconf:"content_filter"`
	Override       []string `postconf:"receive_override_options"`
	MessageLimit   int64    `postconf:"message_size_limit"`
	PeernameLookup bool     `postconf:"smtpd_peername_lookup"`
	ErrorRecipient string   `postconf:"error_notice_recipient"`
	stageNames
}

// notices posts the transcripts of one SMTP service.
type notices struct {
	server    *server
	recipient string
}

// Notice implements smtpd.Notices.
func (n notices) Notice(ctx context.Context, subject, text string) error {
	return n.server.gen.Load().bounce.Notice(ctx, n.recipient, subject, text)
}

// receiver is cleanup as one SMTP service sees it: always that of the generation
// in force.
type receiver struct {
	server *server
	set    *sessionSettings
}

// Begin implements smtpd.Cleanup.
func (r *receiver) Begin(ctx context.Context, o *smtpd.MessageOptions) (smtpd.Message, error) {
	opt := cleanup.Options{
		Origin: mail.OriginSMTP, Session: o.Session, Facts: o.Facts, Context: rewrite.Remote, Filter: r.set.ContentFilter,
		NoAddressMappings:  slices.Contains(r.set.Override, "no_address_mappings"),
		NoHeaderBodyChecks: slices.Contains(r.set.Override, "no_header_body_checks"),
		NoMilters:          slices.Contains(r.set.Override, "no_milters"),
		Filters:            o.Filters,
	}
	if o.LocalRewrite {
		opt.Context = rewrite.Local
	}
	stage, err := r.server.gen.Load().cleanerNamed(r.set.stageNames.Cleanup)
	if err != nil {
		return nil, err
	}
	msg, err := stage.Begin(ctx, opt)
	if err != nil {
		return nil, err
	}
	return message{msg}, nil
}

// message is a message of cleanup in the words of smtpd.
type message struct{ *cleanup.Message }

// SetSender implements smtpd.Message.
func (m message) SetSender(addr mail.Address, p smtpd.SenderParams) {
	m.Message.SetSender(addr, cleanup.SenderParams{EnvID: p.EnvID, Ret: p.Ret, SMTPUTF8: p.SMTPUTF8, Body8Bit: p.EightBit, VERP: p.VERP, RequireTLS: p.RequireTLS})
}

// Apply implements smtpd.Message.
func (m message) Apply(a access.Actions) {
	m.Message.Apply(cleanup.Actions{
		Hold: a.Hold, Discard: a.Discard, Filter: a.Filter, Redirect: a.Redirect, Prepend: a.Prepend, BCC: a.BCC,
	})
}

// names finds client names.
type names struct{ r *dns.Resolver }

// Names implements smtpd.Resolver.
func (n names) Names(ctx context.Context, addr netip.Addr) ([]string, error) {
	// The hosts file counts before the DNS.
	if name := n.r.HostsName(addr); name != "" {
		return []string{name}, nil
	}
	found, _, err := n.r.PTR(ctx, addr)
	for i := range found {
		found[i] = strings.TrimSuffix(found[i], ".")
	}
	return found, err
}

// Addrs implements smtpd.Resolver.
func (n names) Addrs(ctx context.Context, name string, like netip.Addr) ([]netip.Addr, error) {
	family := dns.IPv6
	if like.Unmap().Is4() {
		family = dns.IPv4
	}
	return n.r.Native(ctx, name, family)
}

// Temporary implements smtpd.Resolver.
func (names) Temporary(err error) bool { return dns.IsTemporary(err) }

// flusher serves ETRN.
type flusher struct{ s *server }

// Flush implements smtpd.Flusher.
func (f flusher) Flush(_ context.Context, domain string) (bool, error) {
	if !f.s.gen.Load().mayFlush(domain) {
		return false, nil
	}
	m := f.s.manager.Load()
	if m == nil {
		return true, errNoStore
	}
	return true, m.FlushSite(domain)
}

// Abort implements smtpd.Message: the log says that the transaction came to
// nothing.
func (m message) Abort() { m.Message.Canceled() }

// checkFilters reports for "postroad check" what the SMTP services say about
// filters and other settings of theirs when they are built.
func checkFilters(cfg *postconf.Config) []postconf.Problem {
	tables := table.NewSet(table.Options{Warn: func(string, ...any) {}, Param: cfg.View(nil).Setting})
	defer func() { _ = tables.Close() }()
	var problems []postconf.Problem
	for _, svc := range cfg.Active() {
		var more []postconf.Problem
		switch {
		case svc.Type == "inet" && svc.Program() == "postscreen":
			_, more = postscreen.FromView(cfg.View(svc), postscreen.Deps{Tables: tables, Read: os.ReadFile})
		case (svc.Type == "inet" || svc.Type == "pass") && svc.Program() == "smtpd":
			view := cfg.View(svc)
			_, more = smtpd.FromView(view, tables, nil, os.ReadFile)
			var names stageNames
			more = append(more, view.Decode(&names)...)
			more = append(more, noCleanup(cfg, view, names.Cleanup)...)
		}
		problems = append(problems, more...)
	}
	return problems
}
