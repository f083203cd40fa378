// Package tabletest is the conformance kit for table types: what every Table
// must do, whatever is behind it. A new type is one more Case.
package tabletest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"postroad/internal/table"
)

// Case is one table and what is known about it.
type Case struct {
	// Spec is the "type:name" under which the table is opened.
	Spec string
	// Options are handed to table.Open; UTF8 is set by Run.
	Options table.Options
	// Kind is what the table must say of itself.
	Kind table.Kind
	// Found has keys and their values, Missing has keys that are not there.
	Found   map[string]string
	Missing []string
	// Any tells that the table has an answer for every key, Fails that it has
	// an error for every key, Empty that it has no answer at all.
	Any, Fails, Empty bool
}

// strange are keys that a peer may make us look up.
func strange() []string {
	return []string{
		"", " ", "\x00", "a\x00b", "\xff\xfe", "@", "@.", ".", "\"", "\\", "%s", "$1", "\r\n", "*", "-", "--", "::", "é",
		"İ@ſ", strings.Repeat("a", 5000), strings.Repeat("a", 70000) + "@b", strings.Repeat("x.", 3000),
	}
}

// Run checks the rules of package table on one table.
func Run(t *testing.T, c Case) {
	t.Helper()
	c.Options.UTF8 = true
	tab, err := table.Open(c.Spec, c.Options)
	if err != nil {
		t.Fatalf("open %s: %v", c.Spec, err)
	}
	if tab.String() != c.Spec {
		t.Errorf("the table calls itself %q, the administrator %q", tab, c.Spec)
	}
	if tab.Kind() != c.Kind {
		t.Errorf("%s: kind %d, want %d", tab, tab.Kind(), c.Kind)
	}
	if len(c.Found) == 0 && !c.Fails && !c.Empty {
		t.Errorf("%s: the case finds nothing", tab)
	}
	// An immutable snapshot gives any number of readers the same answers.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { c.lookups(t, tab) })
	}
	wg.Wait()
	if err := tab.Close(); err != nil {
		t.Errorf("%s: close: %v", tab, err)
	}
}

// lookups asks everything once.
func (c *Case) lookups(t *testing.T, tab table.Table) {
	ctx := context.Background()
	for key, want := range c.Found {
		c.found(t, tab, key, want)
		if c.Kind == table.Fixed {
			c.found(t, tab, strings.ToUpper(key), want)
		}
	}
	for _, key := range append(strange(), c.Missing...) {
		value, ok, err := tab.Lookup(ctx, key)
		switch {
		case c.Fails != (err != nil):
			t.Errorf("%s: key %.40q: error %v", tab, key, err)
		case err != nil && (ok || value != ""):
			t.Errorf("%s: key %.40q has both an answer and an error", tab, key)
		case !ok && value != "":
			t.Errorf("%s: key %.40q is missing but has the value %.60q", tab, key, value)
		case ok && !c.Any && c.Found[key] == "":
			t.Errorf("%s: key %.40q gives %.60q, want nothing", tab, key, value)
		}
	}
}

// found looks up a key that must be there.
func (c *Case) found(t *testing.T, tab table.Table, key, want string) {
	value, ok, err := tab.Lookup(context.Background(), key)
	if value != want || !ok || err != nil {
		t.Errorf("%s: key %.60q gives %.60q, %v, %v; want %.60q", tab, key, value, ok, err, want)
	}
}
