package scenario

import (
	"sort"
	"strings"
)

// sortListings brings the messages of each queue listing into the order of
// their (munged) names: a server may list them in any.
func sortListings(lines []string) []string {
	var out []string
	for i := 0; i < len(lines); {
		n := listing(lines[i:])
		switch {
		case strings.HasPrefix(lines[i], "-Queue ID- ") && n > 0:
			out = append(out, lines[i])
			text := strings.TrimSuffix(strings.Join(lines[i+1:i+n], "\n"), "\n")
			entries := strings.Split(text, "\n\n")
			sort.Slice(entries, func(a, b int) bool { return before(entries[a], entries[b]) })
			out = append(out, strings.Split(strings.Join(entries, "\n\n")+"\n", "\n")...)
			i += n
		case strings.HasPrefix(lines[i], `{"queue_name": `):
			j := i
			for j < len(lines) && strings.HasPrefix(lines[j], `{"queue_name": `) {
				j++
			}
			part := append([]string(nil), lines[i:j]...)
			sort.Slice(part, func(a, b int) bool { return before(jsonName(part[a]), jsonName(part[b])) })
			out = append(out, part...)
			i = j
		default:
			out = append(out, lines[i])
			i++
		}
	}
	return out
}

// listing is the number of lines before the sum that ends a listing, or 0.
func listing(lines []string) int {
	for i, line := range lines {
		if strings.HasPrefix(line, "-- N Kbytes in") {
			return i
		}
	}
	return 0
}

// jsonName is the queue id in a line of JSON.
func jsonName(line string) string {
	_, rest, _ := strings.Cut(line, `"queue_id": "`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// before orders QID9 before QID10.
func before(a, b string) bool {
	a, _, _ = strings.Cut(a, " ")
	b, _, _ = strings.Cut(b, " ")
	a, b = strings.TrimRight(a, "*!#"), strings.TrimRight(b, "*!#")
	return len(a) < len(b) || len(a) == len(b) && a < b
}
