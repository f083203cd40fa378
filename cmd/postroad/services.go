package main

import (
	"errors"

	"postroad/internal/cleanup"
	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/master"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
	"postroad/internal/verify"
)

// stages are the cleanup(8) and trivial-rewrite(8) services of master.cf by name.
// A site has several when some of its mail is to be treated differently:
// cleanup_service_name and rewrite_service_name choose.
type stages struct {
	cleanups map[string]*cleanup.Service
	rewrites map[string]*rewrite.Engine
}

// stageNames are the services that another one hands its work to.
type stageNames struct {
	Cleanup string `postconf:"cleanup_service_name"`
	Rewrite string `postconf:"rewrite_service_name"`
}

// errNoCleanup is what a client gets for a cleanup service that master.cf has not.
var errNoCleanup = errors.New("cleanup_service_name names no cleanup service of master.cf")

// stages builds the services, and those that main.cf names even if master.cf has
// none: programs that only look at a configuration need no master.cf.
func (b *builder) stages(g *master.Generation, gen *generation, log *event.Logger) {
	gen.stages = stages{cleanups: map[string]*cleanup.Service{}, rewrites: map[string]*rewrite.Engine{}}
	main := g.Config.View(nil)
	b.each(g, "trivial-rewrite", gen.settings.stageNames.Rewrite, func(name string, view *postconf.View) {
		engine, problems := rewrite.New(view, gen.tables, log.With(logName(view, "trivial-rewrite"), 1))
		b.note(problems)
		gen.stages.rewrites[name] = engine
	})
	gen.rewrite = gen.stages.rewrites[gen.settings.stageNames.Rewrite]
	b.each(g, "cleanup", gen.settings.stageNames.Cleanup, func(name string, view *postconf.View) {
		voice := log.With(logName(view, "cleanup"), 1)
		service, problems := cleanup.New(view, cleanup.Deps{
			Tables: gen.tables, Rewrite: gen.rewriter(view), Spool: b.spool, Log: voice, Expanded: gen.reportExpanded,
			Verified: func(r mail.Recipient, text string) {
				if err := b.verify.Update(verify.Deliverable, text, r.Original, r.Address); err != nil {
					voice.Warnf("verify: %v", err)
				}
			},
		})
		b.note(problems)
		gen.stages.cleanups[name] = service
	})
	gen.cleanup = gen.stages.cleanups[gen.settings.stageNames.Cleanup]
	pickup := main
	if s := g.Config.Service("pickup", "unix"); s != nil {
		pickup = g.Config.View(s)
	}
	gen.pickup, _ = gen.cleaner(pickup)
	if gen.pickup == nil {
		b.note([]postconf.Problem{{Text: "pickup: " + errNoCleanup.Error() + "; the one of main.cf is used"}})
		gen.pickup = gen.cleanup
	}
	b.note(gen.pickup.SetPickup(pickup))
}

// each calls build for every service of a program, and for the one called name.
func (b *builder) each(g *master.Generation, program, name string, build func(name string, view *postconf.View)) {
	found := false
	for _, s := range g.Config.Active() {
		if s.Type == "unix" && s.Program() == program {
			found = found || s.Name == name
			build(s.Name, g.Config.View(s))
		}
	}
	if !found {
		build(name, g.Config.View(nil))
	}
}

// rewriter is the trivial-rewrite service that a view names.
func (g *generation) rewriter(view *postconf.View) *rewrite.Engine {
	var names stageNames
	if problems := view.Decode(&names); postconf.HasFatal(problems) || g.stages.rewrites[names.Rewrite] == nil {
		return g.rewrite
	}
	return g.stages.rewrites[names.Rewrite]
}

// cleaner is the cleanup service that a view names, or an error when master.cf has
// none of that name.
func (g *generation) cleaner(view *postconf.View) (*cleanup.Service, error) {
	var names stageNames
	if problems := view.Decode(&names); postconf.HasFatal(problems) {
		return nil, errors.New(firstFatal(problems))
	}
	return g.cleanerNamed(names.Cleanup)
}

func (g *generation) cleanerNamed(name string) (*cleanup.Service, error) {
	if c := g.stages.cleanups[name]; c != nil {
		return c, nil
	}
	return nil, errNoCleanup
}

// noCleanup warns of an SMTP service whose cleanup service does not exist: it
// refuses all mail for now, as Postfix does.
func noCleanup(cfg *postconf.Config, view *postconf.View, name string) []postconf.Problem {
	if s := cfg.Service(name, "unix"); s != nil && s.Program() == "cleanup" {
		return nil
	}
	_, origin, set := view.Raw("cleanup_service_name")
	if !set {
		return nil // the built-in one serves
	}
	return []postconf.Problem{{Origin: origin, Text: view.Service().ID() + ": " + errNoCleanup.Error() + ": " + name}}
}
