package postconf

import "testing"

// TestDefaults checks that each built-in default is in order: it expands, and its
// value is one that the row itself allows.
func TestDefaults(t *testing.T) {
	for _, level := range []string{"0", "1", "2", "3.6", "3.11"} {
		v := Defaults().With("compatibility_level", level)
		Params(func(p *Param) {
			value, err := v.Value(p.Name)
			if err == nil {
				err = p.Check(value)
			}
			if err != nil {
				t.Errorf("level %s: %v", level, err)
			}
		})
	}
}

// TestOrder checks the order of the tables, on which look-ups depend.
func TestOrder(t *testing.T) {
	last := ""
	Params(func(p *Param) {
		if p.Name <= last {
			t.Errorf("%s stands after %s", p.Name, last)
		}
		last = p.Name
		if q, ok := Find(p.Name); !ok || q != p {
			t.Errorf("%s: not found", p.Name)
		}
		if (p.Status == Different) != (p.Reason != "") {
			t.Errorf("%s: status %v, reason %q", p.Name, p.Status, p.Reason)
		}
	})
}
