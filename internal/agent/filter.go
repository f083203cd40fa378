package agent

import (
	"context"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

// FilterSettings are the main.cf parameters that replace what agents answer.
type FilterSettings struct {
	// Default is what the others refer to.
	Default []string `postconf:"default_delivery_status_filter"`
	Local   []string `postconf:"local_delivery_status_filter"`
	Virtual []string `postconf:"virtual_delivery_status_filter"`
	SMTP    []string `postconf:"smtp_delivery_status_filter"`
	LMTP    []string `postconf:"lmtp_delivery_status_filter"`
	Pipe    []string `postconf:"pipe_delivery_status_filter"`
}

// of is the parameter of a program and its value; none for other programs.
func (s *FilterSettings) of(program string) (param string, specs []string) {
	specs = map[string][]string{"local": s.Local, "virtual": s.Virtual, "smtp": s.SMTP, "lmtp": s.LMTP, "pipe": s.Pipe}[program]
	return program + "_delivery_status_filter", specs
}

// Filtered is an agent whose answers go through the delivery status filter of its
// program; it is the agent itself when there is none.
func Filtered(a Agent, v *postconf.View, tables *table.Set) (Agent, []postconf.Problem) {
	var set FilterSettings
	problems := v.Decode(&set)
	param, specs := set.of(v.Service().Program())
	if len(specs) == 0 {
		return a, problems
	}
	maps, err := tables.Maps(param, specs)
	if err != nil {
		return a, append(problems, postconf.Problem{Fatal: true, Text: err.Error()})
	}
	return &filtered{a, maps, param}, problems
}

type filtered struct {
	Agent
	maps  *table.Maps
	param string
}

// Deliver implements Agent.
func (f *filtered) Deliver(ctx context.Context, d *Delivery) []mail.Result {
	out := f.Agent.Deliver(ctx, d)
	for i := range out {
		f.apply(ctx, &out[i], d.Logger)
		for j := range out[i].Steps {
			if s := &out[i].Steps[j]; s.Agent == "" {
				f.apply(ctx, &s.Result, d.Logger)
			}
		}
		if steps := out[i].Steps; len(steps) > 0 {
			worst := worstOf(steps)
			worst.Index, worst.Steps, worst.Sync = out[i].Index, steps, out[i].Sync
			out[i] = worst
		}
	}
	return out
}

// apply replaces code and text of one answer. A success stays one, and so does a
// failure; what cannot be looked up now is tried again.
func (f *filtered) apply(ctx context.Context, r *mail.Result, log *event.Logger) {
	if r.Enhanced == "" {
		return
	}
	hit, err := f.maps.Lookup(ctx, r.Enhanced+" "+r.Text)
	success := r.Enhanced[0] == '2'
	if err != nil {
		if !success {
			r.Outcome, r.Enhanced = mail.Deferred, "4.3.0"
		}
		return
	}
	if !hit.Found {
		return
	}
	enhanced, text := SplitEnhanced(hit.Value, "")
	if enhanced == "" || text == "" || (enhanced[0] == '2') != success {
		log.Warnf("%s: bad status code: %s", f.param, hit.Value)
		return
	}
	r.Enhanced, r.Text = enhanced, text
	switch {
	case enhanced[0] == '4':
		r.Outcome = mail.Deferred
	case enhanced[0] == '5' && r.Outcome == mail.Deferred:
		r.Outcome = mail.Bounced
	}
}
