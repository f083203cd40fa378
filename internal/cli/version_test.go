package cli

import (
	"testing"

	"postroad/internal/postconf"
)

// TestVersion keeps the parameter equal to what the command prints.
func TestVersion(t *testing.T) {
	t.Parallel()
	if p, ok := postconf.Find("postroad_version"); !ok || p.Default != Version {
		t.Errorf("postroad_version is not %s", Version)
	}
}
