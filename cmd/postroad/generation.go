package main

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"

	"postroad/internal/agent"
	"postroad/internal/agent/smtp"
	"postroad/internal/bounce"
	"postroad/internal/check"
	"postroad/internal/cleanup"
	"postroad/internal/cli"
	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
	"postroad/internal/qmgr"
	"postroad/internal/rewrite"
	"postroad/internal/table"
	"postroad/internal/verify"
)

// generation is everything that is built from one reading of the configuration.
// It never changes; a reload builds a new one whole.
type generation struct {
	cfg      *postconf.Config
	settings Settings
	tables   *table.Set
	// rewrite and cleanup are the services that main.cf names, pickup is the one
	// that local submissions go through; stages are all.
	rewrite *rewrite.Engine
	cleanup *cleanup.Service
	pickup  *cleanup.Service
	stages  stages
	bounce  *bounce.Service
	qmgr    *qmgr.Generation
	clients []*smtp.Client
	verify  *verify.Setup
}

// Settings are the main.cf parameters that concern the server as a whole.
type Settings struct {
	QueueDirectory string `postconf:"queue_directory"`
	LongQueueIDs   bool   `postconf:"enable_long_queue_ids"`
	UTF8           bool   `postconf:"smtputf8_enable"`
	DefaultTable   string `postconf:"default_database_type"`
	SyslogName     string `postconf:"syslog_name"`
	MailName       string `postconf:"mail_name"`
	MessageLimit   int64  `postconf:"message_size_limit"`
	// FlushUsers and MailqUsers are those who may ask for what the commands do.
	FlushUsers   []string `postconf:"authorized_flush_users"`
	MailqUsers   []string `postconf:"authorized_mailq_users"`
	FlushDomains []string `postconf:"fast_flush_domains"`
	// MetricsListen is the address of the /metrics page, empty for none.
	MetricsListen string   `postconf:"postroad_metrics_listen"`
	Interfaces    []string `postconf:"inet_interfaces"`
	stageNames
}

// builder collects what goes wrong while a generation is built.
type builder struct {
	rt       *master.Runtime
	resolver *dns.Resolver
	users    *privdeliver.Users
	syncs    *agent.Syncs
	spool    cleanup.Spool
	verify   *verify.Cache
	problems []postconf.Problem
}

// build builds a generation. All problems are logged; a fatal one is the error,
// and then nothing of the generation is used.
func (b *builder) build(g *master.Generation) (*generation, error) {
	view := g.Config.View(nil)
	gen := &generation{cfg: g.Config}
	b.note(view.Decode(&gen.settings))
	b.note(cli.Unserved(g.Config, false))
	log := event.NewLogger(b.rt.Log, gen.settings.SyslogName+"/postroad", 1)
	voice := func(name string) *event.Logger { return log.With(gen.settings.SyslogName+"/"+name, 1) }
	gen.tables = table.NewSet(table.Options{
		QueueDir: gen.settings.QueueDirectory, UTF8: gen.settings.UTF8, DefaultType: gen.settings.DefaultTable,
		Warn: voice("postroad").Warnf, Info: voice("postroad").Infof, Param: view.Setting, OpenFile: b.rt.Open,
		Place: check.Places(g.Config),
	})
	b.stages(g, gen, log)
	var reports bounce.Settings
	b.note(b.service(g, "bounce").Decode(&reports))
	reports.MyOrigin = gen.rewrite.Myorigin()
	texts, err := bounce.ReadTemplates(b.service(g, "bounce"), reports.TemplateFile, b.read, voice("bounce").Warnf)
	if err != nil {
		b.note([]postconf.Problem{{Text: "bounce_template_file: " + err.Error() + "; the built-in templates are used"}})
	}
	gen.bounce = bounce.New(reports, texts, gen.postReport, voice("bounce"))
	gen.qmgr = &qmgr.Generation{Router: gen.rewriter(b.service(g, "qmgr")), Reporter: gen.bounce, Probes: gen.rewrite.Probes(), Verify: b.verify, Transports: map[mail.Transport]*qmgr.Transport{}}
	b.note(b.service(g, "qmgr").Decode(&gen.qmgr.Settings))
	gen.qmgr.Settings.Adjust(voice("qmgr").Warnf)
	b.readVerify(gen, b.service(g, "verify"), voice("verify"))
	b.transports(gen)
	for _, p := range b.problems {
		if p.Fatal {
			log.Fatalf("%s", p.Error())
		} else {
			log.Warnf("%s", p.Error())
		}
	}
	if postconf.HasFatal(b.problems) {
		gen.close()
		return nil, errors.New(firstFatal(b.problems))
	}
	return gen, nil
}

// firstFatal is the problem that is told to who asked for a reload; the log has
// all of them.
func firstFatal(problems []postconf.Problem) string {
	for _, p := range problems {
		if p.Fatal {
			return p.Error()
		}
	}
	return ""
}

func (b *builder) note(problems []postconf.Problem) { b.problems = append(b.problems, problems...) }

// read reads a file that perhaps only root may read.
func (b *builder) read(name string) ([]byte, error) {
	f, err := b.rt.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxTemplates))
}

// maxTemplates bounds bounce_template_file.
const maxTemplates = 1 << 20

// service is the view of a master.cf service, with its -o, or main.cf alone.
func (b *builder) service(g *master.Generation, name string) *postconf.View {
	if s := g.Config.Service(name, "unix"); s != nil {
		return g.Config.View(s)
	}
	return g.Config.View(nil)
}

// transports builds the delivery agents of master.cf.
func (b *builder) transports(gen *generation) {
	deps := &agent.Deps{
		Tables: gen.tables, Search: gen.rewrite.AddressSearch(), Users: b.users, Syncs: b.syncs, Resolve: gen.rewrite.Resolve,
		Rewrite:   func(addr string) mail.Address { return gen.rewrite.Rewrite(rewrite.Local, addr) },
		Addresses: entries, Pass: gen.pass, Submit: gen.forward,
		Log: event.NewLogger(b.rt.Log, gen.settings.SyslogName+"/postroad", 1),
	}
	main := gen.cfg.View(nil)
	for _, s := range gen.cfg.Active() {
		if s.Type != "unix" {
			continue
		}
		view := gen.cfg.View(s)
		a, problems := b.agent(gen, view, deps)
		b.note(problems)
		if a == nil {
			continue
		}
		a, problems = agent.Filtered(a, view, gen.tables)
		b.note(problems)
		limits, problems := qmgr.ReadLimits(main, s)
		b.note(problems)
		gen.qmgr.Transports[mail.Transport(s.Name)] = &qmgr.Transport{Agent: a, Limits: limits, LogName: logName(view, s.Program())}
	}
	gen.qmgr.Fallback = &qmgr.Transport{Agent: unavailable{}, LogName: gen.settings.SyslogName + "/error", Limits: qmgr.Limits{Initial: 5, Recipients: 50}}
}

// entries finds the entries of an alias or a .forward file.
func entries(list string) []agent.Entry {
	var out []agent.Entry
	for spot := range rewrite.HeaderAddresses(list) {
		out = append(out, agent.Entry{Address: spot.Addr, Text: list[spot.Start:spot.End]})
	}
	return out
}

// pass has another transport of this generation deliver, in place of local(8).
func (g *generation) pass(ctx context.Context, to string, d *agent.Delivery) ([]mail.Result, string, bool) {
	name, nexthop, _ := strings.Cut(to, ":")
	t := g.qmgr.Transports[mail.Transport(name)]
	if t == nil {
		return nil, "", false
	}
	d.Route.Transport = mail.Transport(name)
	if nexthop != "" {
		d.Route.Nexthop = mail.Nexthop(nexthop)
	}
	d.Logger = d.Logger.With(t.LogName, os.Getpid())
	return t.Agent.Deliver(ctx, d), t.LogName, true
}

// logName is the tag of a service's log lines: its own syslog_name and its program.
func logName(view *postconf.View, program string) string {
	name, err := view.Value("syslog_name")
	if err != nil || name == "" {
		name = "postfix"
	}
	return name + "/" + program
}

// agent builds the agent of one service; nil when the service is no agent of ours.
func (b *builder) agent(gen *generation, view *postconf.View, deps *agent.Deps) (agent.Agent, []postconf.Problem) {
	program := view.Service().Program()
	if program == "smtp" || program == "lmtp" {
		c, problems := smtp.FromView(view, program == "lmtp", smtp.Deps{
			Tables: gen.tables, Resolver: b.resolver, Own: gen.rewrite.OwnAddress, Log: deps.Log,
			Search: gen.rewrite.AddressSearch(), Complete: deps.Rewrite, Source4: gen.source(true), Source6: gen.source(false), Pass: gen.pass,
		})
		if c == nil {
			return nil, problems
		}
		gen.clients = append(gen.clients, c)
		return c, problems
	}
	for _, row := range agent.Rows() {
		if row.Program == program {
			return row.New(view, deps)
		}
	}
	return nil, nil
}

// source is the address that mail leaves from when inet_interfaces names just one
// address of a family, as Postfix does.
func (g *generation) source(four bool) netip.Addr {
	var only netip.Addr
	for _, item := range g.settings.Interfaces {
		addr, err := netip.ParseAddr(item)
		if err != nil {
			return netip.Addr{}
		}
		if addr.Is4() != four || addr.IsLoopback() {
			continue
		}
		if only.IsValid() {
			return netip.Addr{}
		}
		only = addr
	}
	return only
}

// close ends what the generation keeps open.
func (g *generation) close() {
	for _, c := range g.clients {
		c.Close()
	}
	_ = g.tables.Close()
}
