package event

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the counters of the server. Labels are bounded: no address, no
// domain, no text of a peer.
type Metrics struct {
	// Registry is our own, so that no library adds to it unseen.
	Registry *prometheus.Registry
	// Notices counts warnings and errors by severity.
	Notices *prometheus.CounterVec
}

// NewMetrics returns Metrics registered in a new registry.
func NewMetrics() *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		Notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postroad_notices_total", Help: "Log lines with a severity, by severity.",
		}, []string{"severity"}),
	}
	m.Registry.MustRegister(m.Notices)
	return m
}
