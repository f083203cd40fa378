package rewrite

import "strings"

// foldAt is the length of a line from which on the next address goes to a new
// one, as in Postfix.
const foldAt = 70

// Refold lays out an address list whose addresses have changed their length:
// one blank between words, and a new line where the last has become long. used is
// the length of what stands before it.
func Refold(value string, used int) string {
	var out strings.Builder
	for i, item := range splitList(value) {
		if i > 0 {
			out.WriteByte(',')
			used++
			if used+1+len(item) < foldAt {
				out.WriteByte(' ')
				used++
			} else {
				out.WriteString("\n\t")
				used = 0 // the tab is not counted
			}
		}
		out.WriteString(item)
		used += len(item)
	}
	return out.String()
}

// splitList cuts an address list at its commas, outside of quotes, comments and
// angle brackets, and makes each run of white space outside of them one blank.
func splitList(value string) []string {
	var items []string
	var item []byte
	depth, quoted, blank := 0, false, false
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		if !quoted && depth == 0 {
			if c == ' ' || c == '\t' {
				blank = len(item) > 0
				continue
			}
			if c == ',' {
				items, item, blank = append(items, string(item)), nil, false
				continue
			}
			if blank {
				item, blank = append(item, ' '), false
			}
		}
		item = append(item, c)
		switch {
		case c == '\\' && i+1 < len(value):
			i++
			item = append(item, value[i])
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			depth++
		case c == ')' && !quoted && depth > 0:
			depth--
		}
	}
	return append(items, string(item))
}
