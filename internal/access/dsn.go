package access

// dsnRow says what an address status of one kind becomes when the reply is
// about the other kind (RFC 3463 3.2).
type dsnRow struct{ code, sender, recipient string }

// dsnRows maps X.1.Y codes.
var dsnRows = [...]dsnRow{
	{"1.0", "1.0", "1.0"},
	{"1.1", "1.7", "1.1"},
	{"1.2", "1.8", "1.2"},
	{"1.3", "1.7", "1.3"},
	{"1.4", "1.7", "1.4"},
	{"1.5", "1.0", "1.5"},
	{"1.6", "1.7", "1.6"},
	{"1.7", "1.7", "1.3"},
	{"1.8", "1.8", "1.2"},
}

// fixDSN corrects an enhanced status code that speaks about another kind of
// thing than the reply does.
func (c *Checker) fixDSN(enhanced, class string) string {
	if len(enhanced) < 5 || enhanced[1:4] != ".1." {
		return enhanced
	}
	fixed := "0.0"
	if class == classSender || class == classRecipient {
		fixed = "1.0"
		for _, r := range dsnRows {
			if r.code == enhanced[2:] {
				fixed = r.recipient
				if class == classSender {
					fixed = r.sender
				}
			}
		}
	}
	if fixed == enhanced[2:] {
		return enhanced
	}
	c.infof("mapping DSN status %s into %s status %c.%s", enhanced, class, enhanced[0], fixed)
	return enhanced[:2] + fixed
}

// infof writes a line without severity.
func (c *Checker) infof(format string, args ...any) {
	if c.req.Log != nil {
		c.req.Log.Infof(format, args...)
		return
	}
	c.e.deps.Log.Infof(format, args...)
}
