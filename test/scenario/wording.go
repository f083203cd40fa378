package scenario

import (
	"regexp"
	"strings"
)

// inner are lines that name a function inside Postfix and say nothing that the line
// behind them does not say.
var inner = regexp.MustCompile(`^(?:stderr: )?\w+: warning: mail_stream_cleanup: close error$`)

// OwnWords drops what a report says to people: the text is ours, and meant to
// differ from Postfix's. From "This is the mail system" up to the first address
// or the next part only that line stays. It also drops what Postfix says of its
// processes and functions and has no counterpart here.
func OwnWords(lines []string) []string {
	var out []string
	skipping := false
	for _, line := range lines {
		if strings.HasPrefix(line, "| <") || strings.HasPrefix(line, "| --") || !strings.HasPrefix(line, "|") {
			skipping = false
		}
		if skipping || inner.MatchString(line) {
			continue
		}
		// A process of Postfix that sees a new table is replaced by another;
		// here the table is replaced.
		if strings.HasSuffix(line, " has changed -- restarting") {
			continue
		}
		out = append(out, line)
		skipping = strings.HasPrefix(line, "| This is the mail system at host ")
	}
	return out
}
