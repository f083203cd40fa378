package scenario

import "strings"

// OwnWords drops what a report says to people: the text is ours, and meant to
// differ from Postfix's. From "This is the mail system" up to the first address
// or the next part only that line stays.
func OwnWords(lines []string) []string {
	var out []string
	skipping := false
	for _, line := range lines {
		if strings.HasPrefix(line, "| <") || strings.HasPrefix(line, "| --") || !strings.HasPrefix(line, "|") {
			skipping = false
		}
		if skipping {
			continue
		}
		out = append(out, line)
		skipping = strings.HasPrefix(line, "| This is the mail system at host ")
	}
	return out
}
