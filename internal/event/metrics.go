package event

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the counters of the server. Labels are bounded: no address, no
// domain, no text of a peer.
type Metrics struct {
	// Registry is our own, so that no library adds to it unseen.
	Registry *prometheus.Registry
	// Notices counts warnings and errors by severity.
	Notices *prometheus.CounterVec
	// LogLost counts log lines that were dropped because the log did not take
	// them.
	LogLost prometheus.Counter
	// Connections counts SMTP clients by master.cf service, Sessions those that
	// are connected now.
	Connections *prometheus.CounterVec
	Sessions    *prometheus.GaugeVec
	// Rejects counts refusals by SMTP stage ("RCPT") and reply code ("550").
	Rejects *prometheus.CounterVec
	// Limited counts commands beyond a limit of postroad_limit, by its name.
	Limited *prometheus.CounterVec
	// Screened counts what postscreen found out about clients, by finding.
	Screened *prometheus.CounterVec
	// Logins counts authentications by mechanism and result ("ok", "failed", "error",
	// "throttled").
	Logins *prometheus.CounterVec
	// Received and ReceivedBytes count messages accepted by origin ("smtp",
	// "local", "internal").
	Received, ReceivedBytes *prometheus.CounterVec
	// Activated counts messages entering the active queue, Removed those that
	// left the queue, Expired those returned because they were too old.
	Activated, Removed, Expired prometheus.Counter
	// Deliveries counts attempts per recipient by transport and status.
	Deliveries *prometheus.CounterVec
	// Delay holds the delays of attempts by part.
	Delay *prometheus.HistogramVec
	// Reports counts delivery status notifications by kind.
	Reports *prometheus.CounterVec
}

// delayBuckets go from five milliseconds to five days, the default lifetime of
// a message in the queue.
func delayBuckets() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 14400, 86400, 432000}
}

// NewMetrics returns Metrics registered in a new registry.
func NewMetrics() *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry()}
	m.Notices = m.counters("notices_total", "Log lines with a severity, by severity.", "severity")
	m.LogLost = m.counter("log_lines_lost_total", "Log lines dropped because the mail log did not take them.")
	m.Connections = m.counters("smtpd_connections_total", "SMTP clients that connected, by master.cf service.", "service")
	m.Sessions = m.gauges("smtpd_sessions", "SMTP clients connected now, by master.cf service.", "service")
	m.Rejects = m.counters("smtpd_rejects_total", "SMTP commands refused, by protocol stage and reply code.", "stage", "code")
	m.Limited = m.counters("smtpd_limited_total", "SMTP commands beyond a limit of postroad_limit, by its name.", "limit")
	m.Screened = m.counters("postscreen_findings_total", "What was found out about clients before the SMTP server, by finding.", "finding")
	m.Logins = m.counters("smtpd_logins_total", "Authentication attempts, by mechanism and result.", "mechanism", "result")
	m.Received = m.counters("messages_received_total", "Messages accepted into the queue, by origin.", "origin")
	m.ReceivedBytes = m.counters("messages_received_bytes_total", "Bytes of the messages accepted, by origin.", "origin")
	m.Activated = m.counter("queue_activated_total", "Times that a message entered the active queue.")
	m.Removed = m.counter("queue_removed_total", "Messages that left the queue.")
	m.Expired = m.counter("queue_expired_total", "Messages returned because they were in the queue for too long.")
	m.Deliveries = m.counters("deliveries_total", "Delivery attempts per recipient, by transport and status.", "transport", "status")
	m.Reports = m.counters("reports_total", "Delivery status notifications sent, by kind.", "kind")
	m.Delay = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "postroad", Name: "delivery_delay_seconds",
		Help:    "Delay of delivery attempts, by part: total, before_queue, queue, setup, transmit.",
		Buckets: delayBuckets(),
	}, []string{"part"})
	m.Registry.MustRegister(m.Delay, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Gauge adds a number that is asked for when the metrics are read, such as the
// length of a queue; labels are constant. A gauge of the same name and labels is
// replaced: a server that starts again in this process has new sources.
func (m *Metrics) Gauge(name, help string, labels map[string]string, value func() float64) error {
	g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "postroad", Name: name, Help: help, ConstLabels: labels}, value)
	m.Registry.Unregister(g)
	return m.Registry.Register(g)
}

// Handler serves the metrics over HTTP in Prometheus's text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{})
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "postroad", Name: name, Help: help})
	m.Registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postroad", Name: name, Help: help}, labels)
	m.Registry.MustRegister(c)
	return c
}

func (m *Metrics) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "postroad", Name: name, Help: help}, labels)
	m.Registry.MustRegister(g)
	return g
}
