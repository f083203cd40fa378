package postroad

import (
	"strings"
	"testing"
)

// floors is the house: a room may import rooms of lower floors only. Rooms of
// one floor that must talk get an interface from cmd/postroad.
var floors = map[string]int{
	"internal/sys": 0, "internal/mail": 0, "internal/event": 0, "internal/privdeliver": 0,
	"internal/wire": 1, "internal/dns": 1, "internal/postconf": 1, "internal/control": 1, "internal/maildrop": 1,
	"internal/table": 2, "internal/queue": 2, "internal/tlsmgr": 2, "internal/policy": 2, "internal/limits": 2, "internal/milter": 2,
	"internal/rewrite": 3, "internal/sasl": 3, "internal/agent": 3, "internal/verify": 3, "internal/check": 3,
	"internal/access": 4, "internal/cleanup": 4, "internal/bounce": 4, "internal/agent/smtp": 4,
	"internal/smtpd": 5, "internal/postscreen": 5, "internal/qmgr": 5,
	"internal/master": 6, "internal/cli": 7,
	"cmd/postroad": 8,
}

// besides are folders that no room may import and that may import any room.
var besides = []string{"internal/testkit", "test", "bench", "internal/table/tabletest", "internal/agent/agenttest", "internal/event/eventtest"}

// banned are packages that must stay out of the mail path, with the reason.
var banned = map[string]string{
	"net/textproto":  "its DotReader ends a message at a bare line feed",
	"net/smtp":       "its reader is net/textproto",
	"net/mail":       "its parser has taken quadratic time",
	"mime/multipart": "its parser has taken unbounded memory",
	"log":            "events go through internal/event",
}

// sameFloor are imports within a floor, with the reason.
var sameFloor = map[[2]string]string{
	{"internal/event", "internal/mail"}:      "the nouns are the ground that events stand on",
	{"internal/privdeliver", "internal/sys"}: "it says what the system said",
}

func TestFloors(t *testing.T) {
	t.Parallel()
	for _, src := range sources(t) {
		if beside(src.room) || src.room == "." || src.room == "tools" {
			continue
		}
		floor, ok := floors[src.room]
		if !ok {
			t.Errorf("%s: the room %s is on no floor; give it one in floors_test.go and ARCHITECTURE.md", src.path, src.room)
			continue
		}
		for _, imp := range src.file.Imports {
			path := strings.Trim(imp.Path.Value, `"`)
			if why := banned[path]; why != "" && !src.test {
				t.Errorf("%s imports %s: %s", src.path, path, why)
			}
			room, ours := strings.CutPrefix(path, "postroad/")
			if !ours || room == src.room || (beside(room) && src.test) {
				continue
			}
			below, known := floors[room]
			if !known || (below >= floor && sameFloor[[2]string{src.room, room}] == "") {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down only", src.path, floor, room, below)
			}
		}
	}
}

func beside(room string) bool {
	for _, b := range besides {
		if room == b || strings.HasPrefix(room, b+"/") {
			return true
		}
	}
	return false
}
