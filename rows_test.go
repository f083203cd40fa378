package postroad

import (
	"testing"

	"postroad/internal/cli"
	"postroad/internal/postconf"
)

// TestEverySettingIsAParameter keeps the Settings of the rooms and the table of
// parameters equal: a tag that is no parameter would silently be nothing.
func TestEverySettingIsAParameter(t *testing.T) {
	t.Parallel()
	tagged := postconf.Tagged(cli.AllSettings()...)
	if len(tagged) < 200 {
		t.Fatalf("only %d parameters are read by anybody", len(tagged))
	}
	for name := range tagged {
		if _, ok := postconf.Find(name); !ok {
			t.Errorf("%s is read by a room and is no parameter", name)
		}
	}
}

// TestEveryDifferenceHasAReason: a parameter that we treat differently says why.
func TestEveryDifferenceHasAReason(t *testing.T) {
	t.Parallel()
	tagged := cli.Implemented()
	implemented, planned, different := 0, 0, 0
	postconf.Params(func(p *postconf.Param) {
		switch p.StatusIn(tagged) {
		case postconf.Implemented:
			implemented++
		case postconf.Different:
			different++
			if p.Reason == "" {
				t.Errorf("%s is treated differently and does not say why", p.Name)
			}
		default:
			planned++
		}
	})
	for name := range tagged {
		if p, ok := postconf.Find(name); ok && p.Status == postconf.Different {
			t.Errorf("%s counts and is said to be different", name)
		}
	}
	t.Logf("%d implemented, %d planned, %d different", implemented, planned, different)
}
