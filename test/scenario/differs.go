package scenario

import (
	"fmt"
	"regexp"
	"strings"
)

// Differ is one way in which Postfix 3.11 says something else than the 3.7 of
// Debian 12. A file of them has one a line:
//
//	s SEP REGEXP SEP REPLACEMENT SEP     change each line that matches
//	d SEP REGEXP SEP                     3.11 has no such line
//	a SEP REGEXP SEP LINE SEP            3.11 has LINE behind it
//	i SEP REGEXP SEP LINE SEP            3.11 has LINE before it
//	c SEP REGEXP SEP LINE SEP            where no log line about a message that a
//	                                     client sent matches, 3.11 has LINE as the
//	                                     last of them ("QID" stands for its name)
//
// SEP is any character, the same each time, without blanks around it.
type Differ struct {
	kind byte
	find *regexp.Regexp
	text string
}

// parseDiffers reads such a file.
func parseDiffers(text string) ([]Differ, error) {
	var all []Differ
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		d, err := parseDiffer(line)
		if err != nil {
			return nil, fmt.Errorf("difference %d: %q: %w", i+1, line, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// parseDiffer reads one line.
func parseDiffer(line string) (Differ, error) {
	if len(line) < 3 || !strings.Contains("sdaic", line[:1]) {
		return Differ{}, fmt.Errorf("want s, d, a, i or c and a separator")
	}
	parts := strings.Split(line[2:], line[1:2])
	want := 3
	if line[0] == 'd' {
		want = 2
	}
	if len(parts) != want || parts[want-1] != "" {
		return Differ{}, fmt.Errorf("want %d separators", want)
	}
	re, err := regexp.Compile(parts[0])
	if err != nil {
		return Differ{}, err
	}
	d := Differ{kind: line[0], find: re}
	if want == 3 {
		d.text = parts[1]
	}
	return d, nil
}

// Apply leads the lines of a 3.7 transcript to those of 3.11.
func Apply(differs []Differ, lines []string) []string {
	for _, d := range differs {
		if d.kind == 'c' {
			lines = d.closeBlocks(lines)
			continue
		}
		var out []string
		for _, line := range lines {
			if !d.find.MatchString(line) {
				out = append(out, line)
				continue
			}
			switch d.kind {
			case 's':
				out = append(out, d.find.ReplaceAllString(line, d.text))
			case 'a':
				out = append(out, line, d.text)
			case 'i':
				out = append(out, d.text, line)
			}
		}
		lines = out
	}
	return lines
}

// clientLine is the first line about a message that came by SMTP.
var clientLine = regexp.MustCompile(`^\S*smtpd: (QID\d+): client=`)

// closeBlocks adds the rule's line to each block of the log that is about a
// message from a client and has no line that matches.
func (d Differ) closeBlocks(lines []string) []string {
	var out []string
	for i := 0; i < len(lines); {
		j := i + 1
		for j < len(lines) && lines[j] != "" {
			j++
		}
		block := lines[i:j]
		out = append(out, block...)
		if id := blockOf(block); id != "" && !matchAny(d.find, block) {
			out = append(out, strings.ReplaceAll(d.text, "QID", id))
		}
		i = j
	}
	return out
}

// blockOf is the queue id that a block of the log is about, if a client sent
// the message.
func blockOf(block []string) string {
	for _, line := range block {
		if g := clientLine.FindStringSubmatch(line); g != nil {
			return g[1]
		}
	}
	return ""
}

// matchAny tells whether some line matches.
func matchAny(re *regexp.Regexp, lines []string) bool {
	for _, line := range lines {
		if re.MatchString(line) {
			return true
		}
	}
	return false
}
