package event

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postroad/internal/mail"
	"postroad/internal/testkit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// stations builds Times from seconds after arrival; a negative number is a
// station not passed.
func stations(active, started, connected, done float64) Times {
	base := time.Date(2026, 11, 22, 13, 36, 39, 0, time.UTC)
	at := func(s float64) time.Time {
		if s < 0 {
			return time.Time{}
		}
		return base.Add(time.Duration(s * float64(time.Second)))
	}
	return Times{Arrived: base, Active: at(active), Started: at(started), Connected: at(connected), Done: at(done)}
}

func sampleDelivery() *Delivery {
	return &Delivery{
		ID: "4F925984F7F", To: "a@remote.test", Transport: "smtp", Relay: "mx.remote.test[192.0.2.1]:25",
		Times: stations(0.01, 0.18, 0.21, 0.21), TLS: "may", DSN: "2.0.0", Outcome: mail.Sent,
		Reason: "250 2.0.0 Ok: queued as 12345",
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		e    Event
	}{
		{"sent", sampleDelivery()},
		{"alias, second use of a connection", &Delivery{ID: "1", To: "joe@example.test", OrigTo: "info@example.test",
			Relay: "h[::1]:24", ConnUse: 2, Times: stations(0, 0, 0, 1.13), DSN: "2.1.5", Outcome: mail.Sent, Reason: "250 ok"}},
		{"same original in another case, first use", &Delivery{ID: "1", To: "joe@example.test", OrigTo: "Joe@Example.Test",
			Relay: "local", ConnUse: 1, Times: stations(0, 0, -1, 0.08), DSN: "2.0.0", Outcome: mail.Sent, Reason: "delivered to mailbox"}},
		{"no server", &Delivery{ID: "1", To: "a@x.test", Times: stations(542, 542.36, -1, 542.36), TLS: "may?", DSN: "4.4.1",
			Outcome: mail.Deferred, Reason: "connect to x.test[192.0.2.7]:25: Connection refused"}},
		{"quoted", &Delivery{ID: "1", To: "quoted user@remote.test", Times: stations(0, 0, 0, 0), DSN: "5.1.1",
			Outcome: mail.Bounced, Reason: "host h said: 550 5.1.1 no\r\nInjected: line"}},
		{"soft bounce", &Delivery{ID: "1", To: "a@x.test", Times: stations(0, 0, 0, 99.6), DSN: "4.0.0", Outcome: mail.Deferred, SoftBounce: true, Reason: "r"}},
		{"probe", &Delivery{ID: "1", To: "a@x.test", Times: stations(0, 0, 0, 12.4), DSN: "2.0.0", Outcome: mail.Deliverable, Reason: "delivers to mailbox"}},
		{"whole seconds", &Delivery{ID: "1", To: "a@x.test", Times: stations(1.6, 1.7, 1.8, 2.4), DelayDigits: -1, DSN: "2.0.0", Outcome: mail.Sent, Reason: "r"}},
		{"six digits", &Delivery{ID: "1", To: "a@x.test", Times: stations(0.00012, 0.0012, 0.012, 0.12), DelayDigits: 6, DSN: "2.0.0", Outcome: mail.Sent, Reason: "r"}},
		{"clock went back", &Delivery{ID: "1", To: "a@x.test", Times: stations(5, 4, 3, 2), DSN: "2.0.0", Outcome: mail.Sent, Reason: "r"}},
		{"never started", &Delivery{ID: "1", To: "a@x.test", Times: stations(2, -1, -1, 3), DSN: "4.3.0", Outcome: mail.Deferred, Reason: "mail transport unavailable"}},
		{"active", QueueActive{ID: "1", From: "a@b.test", Size: 315, Recipients: 1}},
		{"active, null sender", QueueActive{ID: "1", Size: 2000, Recipients: 12}},
		{"removed", Removed{ID: "1"}},
		{"removed by cleanup", Removed{ID: "1", Note: "canceled"}},
		{"expired", Expired{ID: "1", From: "a@b.test"}},
		{"force-expired", Expired{ID: "1", From: "a b@c.test", Forced: true}},
		{"bounce failed", BounceFailed{"1"}},
		{"still delivering", StillDelivering{"1"}},
		{"notice", Notice{"warning", "tab\there\x00"}},
		{"info", Notice{"", "plain"}},
	}
	var b strings.Builder
	for _, c := range cases {
		b.WriteString("# " + c.name + "\n" + string(c.e.AppendText(nil)) + "\n")
	}
	testkit.Golden(t, filepath.Join("testdata", "lines.golden"), b.String(), *update)
}

func TestMetricsCount(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	for _, e := range []Counter{
		sampleDelivery(), QueueActive{ID: "1"}, Removed{ID: "1"}, Expired{ID: "1"}, Notice{"error", "x"}, Notice{"", "x"}, &LimitReached{Rule: "x"},
	} {
		e.Count(m)
	}
	if err := m.Gauge("queue_messages", "Messages by queue.", map[string]string{"queue": "active"}, func() float64 { return 1 }); err != nil {
		t.Fatal(err)
	}
	// The one that comes later counts.
	if err := m.Gauge("queue_messages", "Messages by queue.", map[string]string{"queue": "active"}, func() float64 { return 7 }); err != nil {
		t.Fatal(err)
	}
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("metric %s has no help text", f.GetName())
		}
		if !strings.HasPrefix(f.GetName(), "postroad_") && !strings.HasPrefix(f.GetName(), "go_") && !strings.HasPrefix(f.GetName(), "process_") {
			t.Errorf("metric %s has a foreign name", f.GetName())
		}
		for _, s := range f.GetMetric() {
			got[f.GetName()] += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"postroad_deliveries_total": 1, "postroad_queue_activated_total": 1, "postroad_queue_removed_total": 1,
		"postroad_queue_expired_total": 1, "postroad_notices_total": 1, "postroad_smtpd_limited_total": 1, "postroad_delivery_delay_seconds": 5, "postroad_queue_messages": 7,
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}

func FuzzDelay(f *testing.F) {
	f.Add(int64(1), 2)
	f.Add(int64(995000), 2)
	f.Add(int64(9_950_000), 6)
	f.Fuzz(func(t *testing.T, micros int64, digits int) {
		micros %= 1e12
		text := string(AppendDelay(nil, time.Duration(micros)*time.Microsecond, digits))
		whole, frac, dotted := strings.Cut(text, ".")
		if whole == "" || dotted && (frac == "" || strings.HasSuffix(frac, "0") || len(frac) > 6) {
			t.Errorf("AppendDelay(%d, %d) = %q", micros, digits, text)
		}
		back, err := time.ParseDuration(text + "s")
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Duration(max(micros, 0))*time.Microsecond - back; d.Abs() > 500*time.Millisecond {
			t.Errorf("AppendDelay(%d, %d) = %q is off by %v", micros, digits, text, d)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\nb")
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range AppendPrintable(nil, s) {
			if c < ' ' || c == 0x7f {
				t.Fatalf("%q has a control character", s)
			}
		}
	})
}

// TestLoginCounts: a login that works has no line and counts.
func TestLoginCounts(t *testing.T) {
	t.Parallel()
	for result, e := range map[string]*Login{
		"ok": {Mechanism: "PLAIN"}, "failed": {Mechanism: "plain", Failed: true}, "error": {Mechanism: "PLAIN", Failed: true, Temporary: true},
		"throttled": {Mechanism: "PLAIN", Failed: true, Temporary: true, Throttled: true},
	} {
		m := NewMetrics()
		e.Count(m)
		families, err := m.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range families {
			if f.GetName() == "postroad_smtpd_logins_total" {
				got = f.GetMetric()[0].String()
			}
		}
		if !strings.Contains(got, `value:"`+result+`"`) || !strings.Contains(got, `value:"PLAIN"`) || e.Logged() != (result != "ok") {
			t.Errorf("%s: %s, logged %v", result, got, e.Logged())
		}
	}
}
