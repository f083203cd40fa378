//go:build oracle

package cli

import (
	"strings"
	"testing"
)

// since311 has what Postfix 3.11 changed in the texts of the installed one, and
// what we add to them.
var since311 = strings.NewReplacer("specify only one of -s -q or -d", "specify only one of -d -i -q or -s", "name must be local", "name must be local and have no domain",
	"type: dbm\n", "type: dbm; use lmdb, cdb or hash instead\n", "type: sdbm\n", "type: sdbm; use lmdb, cdb or hash instead\n")

// TestPostmapLikePostfix runs the steps with Postfix's commands and with ours.
func TestPostmapLikePostfix(t *testing.T) {
	t.Parallel()
	theirs, ours := mapStage(t), mapStage(t)
	same := 0
	for _, step := range mapSteps {
		want, got := theirStep(t, theirs, step), runMapStep(ours, step)
		if got != want {
			t.Errorf("Postfix says\n%swe say\n%s", want, got)
			continue
		}
		same++
	}
	t.Logf("%d of %d steps agree", same, len(mapSteps))
}
