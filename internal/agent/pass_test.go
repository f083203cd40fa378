package agent

import (
	"context"
	"strings"
	"testing"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
	"postroad/internal/mail"
)

// TestPassOn: recipients are handed on without the demand for connections, and not
// for ever.
func TestPassOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		passed, results int
		ok              bool
		fault, log      string
	}{
		{0, 2, true, "", "QID: passing <a@x.test> to transport=other|QID: passing <b@x.test> to transport=other"},
		{maxPassed - 1, 2, true, "", "QID: passing <a@x.test> to transport=other|QID: passing <b@x.test> to transport=other"},
		{maxPassed, 2, true, "4.3.5 " + configError, "warning: transport=other leads back to itself"},
		{0, 2, false, "4.3.0 mail transport unavailable", "QID: passing <a@x.test> to transport=other|QID: passing <b@x.test> to transport=other|" +
			"warning: connect to subsystem private/other: No such file or directory"},
		{0, 0, true, "4.3.0 mail transport unavailable", "QID: passing <a@x.test> to transport=other|QID: passing <b@x.test> to transport=other|" +
			"warning: connect to subsystem private/other: No such file or directory"},
	} {
		log := &eventtest.Journal{}
		d := &Delivery{
			Envelope: &mail.Envelope{ID: "QID"}, Passed: tt.passed, Reuse: Reuse{Load: true, Store: true}, Logger: event.NewLogger(log, "postfix/local", 1),
			Recipients: []mail.Recipient{{Address: "z@x.test"}},
		}
		pass := func(_ context.Context, transport string, other *Delivery) ([]mail.Result, string, bool) {
			if transport != "other:hop" || other.Passed != tt.passed+1 || len(other.Recipients) != 2 || other.Reuse != (Reuse{}) {
				t.Errorf("%s gets %+v", transport, other)
			}
			return make([]mail.Result, tt.results), "virtual", tt.ok
		}
		res, program, fault := d.PassOn(t.Context(), pass, "other:hop", []mail.Recipient{{Address: "a@x.test"}, {Address: "b@x.test"}})
		got := ""
		if fault != nil {
			got = fault.Enhanced + " " + fault.Text
		}
		if got != tt.fault || fault == nil && (len(res) != 2 || program != "virtual") || strings.ReplaceAll(log.String(), "\n", "|") != tt.log {
			t.Errorf("%+v: %q, %d results of %s, log %q", tt, got, len(res), program, log.String())
		}
		if len(d.Recipients) != 1 || d.Passed != tt.passed {
			t.Errorf("the attempt itself has changed: %+v", d)
		}
	}
}
