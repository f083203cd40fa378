package main

import (
	"context"
	"time"

	"postroad/internal/control"
	"postroad/internal/limits"
	"postroad/internal/queue"
)

// runLimits keeps the counters of postroad_limit beside the mail while the queue is
// open. The last ones are written before it closes.
func (s *server) runLimits(ctx context.Context, store *queue.Store) {
	facts := store.Facts("limits")
	if err := s.limits.Load(facts); err != nil {
		s.log.Warnf("postroad_limit: read the counters: %v", err)
	}
	s.limits.Run(ctx, facts, func(err error) { s.log.Warnf("postroad_limit: write the counters: %v", err) })
}

// Limits implements control.Handler.
func (h *handler) Limits(_ context.Context, sel control.LimitSelection, yield func(*control.Limit) error) error {
	for _, e := range h.s.limits.List(sel.Rule, sel.Key) {
		out := control.Limit{Rule: e.Rule, Key: e.Key, State: e.State}
		for _, u := range e.Used {
			out.Used = append(out.Used, control.LimitUse{Per: u.Per, Used: u.Used})
		}
		if err := yield(&out); err != nil {
			return err
		}
	}
	return nil
}

// ResetLimits implements control.Handler.
func (h *handler) ResetLimits(_ context.Context, sel control.LimitSelection) (int, error) {
	return h.s.limits.Reset(sel.Rule, sel.Key), nil
}

// askLimits bounds the question to the running server.
const askLimits = 5 * time.Second

// knownLimits are the counters of the server that runs with a configuration, asked
// for when a rule needs them. They never change.
type knownLimits struct {
	x     *explanation
	known *limits.Counters
}

// Ask implements access.Limiter.
func (k *knownLimits) Ask(rule, key string, windows []limits.Window, n int, _ bool) (used []limits.Use, full *limits.Use) {
	if k.known == nil {
		k.known = limits.New()
		if err := k.load(); err != nil {
			k.x.log.Warnf("the counters of postroad_limit are not known: %v", err)
		}
	}
	return k.known.Ask(rule, key, windows, n, false)
}

// load asks the running server.
func (k *knownLimits) load() error {
	ctx, cancel := context.WithTimeout(context.Background(), askLimits)
	defer cancel()
	return control.NewClient(k.x.gen.settings.QueueDirectory).Limits(ctx, control.LimitSelection{}, func(l *control.Limit) error {
		k.known.Restore(l.Rule, l.Key, l.State)
		return nil
	})
}
