package postconf

import "testing"

// TestLookupPort knows the names of mail services wherever it runs.
func TestLookupPort(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"lmtp": 24, "smtp": 25, "smtps": 465, "submissions": 465, "submission": 587, "2525": 2525} {
		if got, err := LookupPort(name); got != want || err != nil {
			t.Errorf("%s is port %d, %v, want %d", name, got, err, want)
		}
	}
	if n, err := LookupPort("no-such-service"); err == nil {
		t.Errorf("a service that nobody knows has port %d", n)
	}
}
