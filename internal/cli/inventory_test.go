package cli

import (
	"slices"
	"strings"
	"testing"

	"postroad/internal/postconf"
	"postroad/internal/qmgr"
)

// TestNothingIsIgnoredInSilence: what is set and does nothing is named, with its
// line; what does something, or is set to its default, is not.
func TestNothingIsIgnoredInSilence(t *testing.T) {
	t.Parallel()
	// Two that nothing reads yet, whichever they are.
	tagged := postconf.Tagged(AllSettings()...)
	var planned []string
	postconf.Params(func(p *postconf.Param) {
		if p.Type == postconf.String && p.Default == "" && p.StatusIn(tagged) == postconf.Planned &&
			!slices.Contains(elsewhere, p.Name) && !qmgr.ReadsLimit(p.Name) {
			planned = append(planned, p.Name)
		}
	})
	if len(planned) < 2 {
		t.Fatal("nothing is planned any more: this test has no example")
	}
	one, two := planned[0], planned[1]
	cfg, problems := postconf.Parse("/etc/postfix", []byte(`myhostname = mx.test
`+one+` = hash:/etc/postfix/generic
slow_destination_rate_delay = 1s
biff = no
my_own = 1
queue_run_delay = 300s
max_use = 7
in_flow_delay = 0
policy_time_limit = 1h
smtpd_tls_dcert_file = /etc/ssl/dsa.pem
`), []byte("smtp inet n - n - - smtpd\n  -o "+two+"=pcre:/x\nslow unix - - n - - smtp\npolicy unix - n n - 0 spawn user=nobody argv=/bin/cat\n"), postconf.LoadOptions{})
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
	for _, want := range []string{"main.cf, line 2: parameter " + one + " has no effect", "master.cf, line 1: parameter " + two + " has no effect"} {
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
	notes := map[string]bool{}
	for _, p := range Unserved(cfg, true) {
		notes[strings.Fields(p.Text)[1]] = p.Note
	}
	if note, told := notes["max_use"]; !told || !note {
		t.Error("what needs nothing done is no note")
	}
	if note, told := notes["smtpd_tls_dcert_file"]; !told || note {
		t.Error("what a site misses is no warning")
	}
	if _, told := notes["in_flow_delay"]; told {
		t.Error("what happens as asked is told")
	}
}
