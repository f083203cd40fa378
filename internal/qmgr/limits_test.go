package qmgr

import (
	"testing"
	"time"

	"postroad/internal/postconf"
)

func TestReadLimits(t *testing.T) {
	t.Parallel()
	cfg, problems := postconf.Parse("/etc/postfix", []byte(`
default_destination_concurrency_limit = 7
slow_destination_rate_delay = 2s
slow_destination_concurrency_positive_feedback = 1/sqrt_concurrency
slow_destination_recipient_limit = 1
`), []byte("slow unix - - n - 3 smtp\nsmtp unix - - n - - smtp\n"), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	view := cfg.View(nil)
	slow, problems := ReadLimits(view, cfg.Service("slow", "unix"))
	want := Limits{Processes: 3, Concurrency: 7, Initial: 5, Recipients: 1, RateDelay: 2 * time.Second,
		Positive: Feedback{1, 0.5}, Negative: Feedback{1, 0}, Cohorts: 1}
	if len(problems) > 0 || slow != want {
		t.Errorf("slow: %+v %v\nwant %+v", slow, problems, want)
	}
	plain, _ := ReadLimits(view, cfg.Service("smtp", "unix"))
	if plain.Processes != 100 || plain.Recipients != 50 || plain.RateDelay != 0 {
		t.Errorf("smtp: %+v", plain)
	}
}

func TestParseFeedback(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Feedback{"1": {1, 0}, "0.5 / concurrency": {0.5, 1}, "2/sqrt_concurrency": {2, 0.5}} {
		if got, err := parseFeedback(text); err != nil || got != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1/window"} {
		if _, err := parseFeedback(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
