package main

import (
	"testing"
	"time"

	"postroad/internal/postconf"
)

// TestStatisticsTime: anvil reports as often as the configuration in force says.
func TestStatisticsTime(t *testing.T) {
	t.Parallel()
	var s server
	for master, want := range map[string]time.Duration{
		"": 5 * time.Minute, "anvil unix - - n - 1 anvil -o anvil_status_update_time=7s\n": 7 * time.Second,
	} {
		cfg, _ := postconf.Parse("/etc/postfix", []byte("anvil_status_update_time = 5m\n"), []byte(master), postconf.LoadOptions{})
		s.gen.Store(&generation{cfg: cfg})
		if got := s.statisticsTime(); got != want {
			t.Errorf("%q: %v, want %v", master, got, want)
		}
	}
}
