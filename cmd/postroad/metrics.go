package main

import (
	"sync"
	"time"

	"postroad/internal/event"
	"postroad/internal/queue"
)

// countEvery bounds how often the queue is counted, however often somebody asks.
const countEvery = 10 * time.Second

// queueGauges tells the metrics how many messages wait, by the queues that Postfix
// has: they are asked for one by one and counted together.
type queueGauges struct {
	s *server

	mu   sync.Mutex
	when time.Time
	last map[string]float64
}

// register adds the gauges; those of a server before this one are replaced.
func (g *queueGauges) register(m *event.Metrics) error {
	for _, name := range []string{"incoming", "active", "deferred", "hold"} {
		err := m.Gauge("queue_messages", "Messages in the queue, by where they wait.", map[string]string{"queue": name},
			func() float64 { return g.value(name) })
		if err != nil {
			return err
		}
	}
	for name, value := range map[string]func() float64{
		"limits_keys":         func() float64 { keys, _ := g.s.limits.Len(); return float64(keys) },
		"limits_keys_evicted": func() float64 { _, evicted := g.s.limits.Len(); return float64(evicted) },
	} {
		if err := m.Gauge(name, limitHelp[name], nil, value); err != nil {
			return err
		}
	}
	return nil
}

// limitHelp explains the gauges of the counters of postroad_limit.
var limitHelp = map[string]string{
	"limits_keys":         "Keys that postroad_limit counts.",
	"limits_keys_evicted": "Keys that postroad_limit has forgotten to make room for others.",
}

func (g *queueGauges) value(name string) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last == nil || time.Since(g.when) >= countEvery {
		g.when, g.last = time.Now(), g.count()
	}
	return g.last[name]
}

func (g *queueGauges) count() map[string]float64 {
	store, m := g.s.door.store.Load(), g.s.manager.Load()
	if store == nil || m == nil {
		return map[string]float64{}
	}
	t, err := store.Count()
	if err != nil {
		g.s.log.Warnf("count the queue: %v", err)
		return map[string]float64{}
	}
	return split(t, m.Counts())
}

// split tells the queues apart: active is what is in memory. The numbers are of
// slightly different moments, so none may fall below zero.
func split(t queue.Tally, active int) map[string]float64 {
	incoming := max(0, t.Fresh-active)
	deferred := max(0, t.Messages-t.Held-incoming-active)
	return map[string]float64{
		"incoming": float64(incoming), "active": float64(active), "deferred": float64(deferred), "hold": float64(t.Held),
	}
}
