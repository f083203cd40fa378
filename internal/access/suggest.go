package access

import "strings"

// suggest returns what was probably meant by a word that is unknown.
func (c *compiler) suggest(r *rule) string {
	if r.status != unknown {
		return ""
	}
	word := strings.ToLower(r.word)
	best, distance := "", maxTypos
	for name := range c.e.words {
		d := editDistance(word, name, maxTypos+1)
		if d < distance || d == distance && (best == "" || name < best) {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// maxTypos is how many letters a word may be off.
const maxTypos = 4

// editDistance is the number of letters to insert, delete or change between a
// and b; it stops counting at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}
