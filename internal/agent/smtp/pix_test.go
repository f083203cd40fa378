package smtp

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postroad/internal/mail"
)

// TestPIX: what is done for a server behind a firewall that hides its greeting, by
// the list and by the table of addresses.
func TestPIX(t *testing.T) {
	t.Parallel()
	const table = "192.0.2.1"
	for _, tt := range []struct {
		name, words, byAddr string
		age                 time.Duration
		greeting            string
		pause               time.Duration
		hello, log          string
	}{
		{"both, old enough", "disable_esmtp delay_dotcrlf", "", time.Hour, "***2***0*", 10 * time.Second, "HELO", "disable_esmtp delay_dotcrlf"},
		{"both, new", "disable_esmtp delay_dotcrlf", "", 0, "***2***0*", 0, "HELO", "disable_esmtp"},
		{"upper case", "DELAY_DOTCRLF", "", time.Hour, "*", 10 * time.Second, "EHLO", "delay_dotcrlf"},
		{"an ordinary server", "disable_esmtp delay_dotcrlf", "", time.Hour, "mx.test", 0, "EHLO", ""},
		{"none", "", "", time.Hour, "*", 0, "EHLO", ""},
		{"by address", "disable_esmtp", "delay_dotcrlf", time.Hour, "*", 10 * time.Second, "EHLO", "delay_dotcrlf"},
		{"address has none", "disable_esmtp", " ", time.Hour, "*", 0, "EHLO", ""},
		{"table fails", "disable_esmtp", "!", time.Hour, "*", 0, "HELO", "disable_esmtp"},
	} {
		synctest.Test(t, func(t *testing.T) {
			session := steps("> 220 "+tt.greeting, "< "+tt.hello+" c.test", "> 250 mx.test", "< MAIL FROM:<a@c.test>", "> 250 ok", "< RCPT TO:<b@example.test>", "> 250 ok", "< DATA", "> 354 go",
				"data", "> 250 2.0.0 ok", "< QUIT", "end")
			w := one(t, session)
			cfg := w.config()
			cfg.Settings.PIXWorkarounds = strings.Fields(tt.words)
			cfg.Settings.PIXDelay, cfg.Settings.PIXThreshold = 10*time.Second, 500*time.Second
			if tt.byAddr != "" {
				cfg.PIXByAddr = fakeMaps{table: tt.byAddr}
			}
			d := w.delivery("example.test", "b@example.test")
			d.Envelope.Arrived = d.Active.Add(-tt.age)
			c, begin := w.client(cfg), time.Now()
			r := c.Deliver(t.Context(), d)[0]
			if took := time.Since(begin); r.Outcome != mail.Sent || took != tt.pause {
				t.Errorf("%s: %+v after %v, want %v", tt.name, r, took, tt.pause)
			}
			_, log, _ := strings.Cut(strings.Join(w.log.Lines(), "\n"), "enabling PIX workarounds: ")
			log, _, _ = strings.Cut(log, " for mx.test")
			if log != tt.log {
				t.Errorf("%s: enabled %q, want %q", tt.name, log, tt.log)
			}
			c.Close()
			w.wg.Wait()
		})
	}
}
