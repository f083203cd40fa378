package scenario

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"postroad/internal/testkit"
)

// receivedID finds the queue id in the first Received line of a message.
var receivedID = regexp.MustCompile(`\bid QID(\d+)`)

// arrangeMail shows all messages, munged, in the order of their places and
// there in the order in which the server took them: two deliveries at the same
// time may end in any order.
func arrangeMail(all []Delivered, m *testkit.Munger) []string {
	type row struct {
		where, text string
		id          int
	}
	var rows []row
	for _, d := range all {
		r := row{where: d.Where, text: m.Text(d.Text)}
		if g := receivedID.FindStringSubmatch(r.text); g != nil {
			r.id, _ = strconv.Atoi(g[1]) // digits by the pattern
		}
		rows = append(rows, r)
	}
	sort.SliceStable(rows, func(i, j int) bool {
		a, b := rows[i], rows[j]
		if a.where != b.where {
			return a.where < b.where
		}
		if a.id != b.id {
			return a.id < b.id
		}
		return a.text < b.text
	})
	var out []string
	n := 0
	for i, r := range rows {
		if i == 0 || rows[i-1].where != r.where {
			n = 0
		}
		n++
		out = append(out, "", fmt.Sprintf("== %s, message %d", r.where, n))
		out = append(out, strings.Split(strings.TrimSuffix(r.text, "\n"), "\n")...)
	}
	return out
}
