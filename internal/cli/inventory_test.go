package cli

import (
	"strings"
	"testing"

	"postroad/internal/postconf"
)

// TestNothingIsIgnoredInSilence: what is set and does nothing is named, with its
// line; what does something, or is set to its default, is not.
func TestNothingIsIgnoredInSilence(t *testing.T) {
	t.Parallel()
	cfg, problems := postconf.Parse("/etc/postfix", []byte(`myhostname = mx.test
smtp_dns_reply_filter = hash:/etc/postfix/generic
slow_destination_rate_delay = 1s
biff = no
my_own = 1
queue_run_delay = 300s
max_use = 7
`), []byte("smtp inet n - n - - smtpd\n  -o smtpd_command_filter=pcre:/x\nslow unix - - n - - smtp\n"), postconf.LoadOptions{})
	if postconf.HasFatal(problems) {
		t.Fatal(problems)
	}
	text := func(all bool) string {
		var lines []string
		for _, p := range Unserved(cfg, all) {
			if p.Fatal {
				t.Errorf("fatal: %v", p)
			}
			lines = append(lines, p.Error())
		}
		return strings.Join(lines, "\n")
	}
	got := text(false)
	for _, want := range []string{"main.cf, line 2: parameter smtp_dns_reply_filter has no effect", "master.cf, line 1: parameter smtpd_command_filter has no effect"} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n") + 1; n != 2 {
		t.Errorf("%d lines:\n%s", n, got)
	}
	if !strings.Contains(text(true), "parameter max_use has no effect: ") {
		t.Errorf("differences are not told:\n%s", text(true))
	}
}
