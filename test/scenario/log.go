package scenario

import (
	"regexp"
	"sort"
	"strings"

	"postroad/internal/testkit"
)

// silent are log lines that say nothing about the mail: starts and stops,
// statistics, and remarks about the machine.
var silent = regexp.MustCompile(`postfix-script|postfix/master: (?:daemon started|terminating|reload)|statistics: |dict_nis_init|` +
	`backwards-compatible|COMPATIBILITY_README|disable backwards compat|cleanup: warning: (?:file system clock|resetting file time)|/postlog: |scache: |master: warning: process .* killed by signal`)

// retry are the lines that each attempt to deliver writes again.
var retry = regexp.MustCompile(`\(queue active\)$|: connect to |status=deferred|: host \S+ said: |refused to talk to me: `)

// frame splits a munged log line: host, tag, text.
var frame = regexp.MustCompile(`^(\S+) (?:postfix/)?([-/\w]+): (.*)$`)

// bare finds the tag of a line that is of no instance, as postmulti writes.
var bare = regexp.MustCompile(`^(\S+) (\w+)\[\d+\]: `)

// about finds the queue id that a line is about.
var about = regexp.MustCompile(`^(?:warning: )?(QID\d+): `)

// tableTrouble is what a table says that does not answer. In Postfix the program
// speaks that asked; here the table does, and adds the cause.
var tableTrouble = regexp.MustCompile(`^(warning: \S+ lookup error for "[^"]*")(?:: .*)?$`)

// agentLine is the verdict on one recipient.
var agentLine = regexp.MustCompile(`^QID\d+: to=<`)

// arrange brings the log into an order that does not depend on which process
// was faster: lines about one message stand together in their own order, the
// verdicts on its recipients sorted; the others are grouped by the program that
// wrote them.
func arrange(log []string, m *testkit.Munger) []string {
	byID, byTag, seen := map[string][]string{}, map[string][]string{}, map[string]bool{}
	for _, line := range log {
		shown := bare.ReplaceAllString(m.Line(line), "$1 $2: ")
		g := frame.FindStringSubmatch(shown)
		if g == nil {
			byTag["?"] = append(byTag["?"], shown)
			continue
		}
		if silent.MatchString("postfix/" + g[2] + ": " + g[3]) {
			continue
		}
		if said := tableTrouble.FindStringSubmatch(g[3]); said != nil {
			g[2], g[3] = "table", said[1]
		}
		text := g[2] + ": " + g[3]
		if retry.MatchString(text) {
			// How often a message is tried depends on how fast the machine is.
			if seen[text] {
				continue
			}
			seen[text] = true
		}
		if id := about.FindStringSubmatch(g[3]); id != nil {
			byID[id[1]] = append(byID[id[1]], text)
		} else {
			byTag[g[2]] = append(byTag[g[2]], text)
		}
	}
	var out []string
	for _, tag := range sortedKeys(byTag) {
		out = append(out, byTag[tag]...)
	}
	ids := sortedKeys(byID)
	sort.SliceStable(ids, func(i, j int) bool {
		return len(ids[i]) < len(ids[j]) || len(ids[i]) == len(ids[j]) && ids[i] < ids[j]
	})
	for _, id := range ids {
		out = append(out, "")
		out = append(out, sortVerdicts(partIntake(byID[id]))...)
	}
	return out
}

// partIntake puts what smtpd says about a message before what cleanup says: they
// are two processes in Postfix, and either may be faster.
func partIntake(lines []string) []string {
	var smtpd, cleanup []string
	n := 0
	for ; n < len(lines); n++ {
		switch tag, _, _ := strings.Cut(lines[n], ":"); {
		case tag == "cleanup":
			cleanup = append(cleanup, lines[n])
		case strings.HasSuffix(tag, "smtpd"):
			smtpd = append(smtpd, lines[n])
		default:
			return append(append(smtpd, cleanup...), lines[n:]...)
		}
	}
	return append(smtpd, cleanup...)
}

// sortVerdicts sorts each run of verdicts on recipients.
func sortVerdicts(lines []string) []string {
	isVerdict := func(s string) bool {
		_, text, ok := strings.Cut(s, ": ")
		return ok && agentLine.MatchString(text)
	}
	for i := 0; i < len(lines); i++ {
		j := i
		for j < len(lines) && isVerdict(lines[j]) {
			j++
		}
		sort.Strings(lines[i:j])
		i = max(i, j-1)
	}
	return lines
}

// sortedKeys are the keys of a map in order.
func sortedKeys(m map[string][]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
