package table

import (
	"errors"
	"fmt"
	"strings"
)

// template is the result of a rule, with $1 and the like cut out.
type template struct {
	// parts holds text and groups in turn: text before the first group, and
	// text behind each.
	text   []string
	groups []int
	// highest is the highest group that occurs.
	highest int
}

// parseTemplate reads a result: "$$" is "$", and $1, ${1}, $(1) are groups.
// outOfRange is how the table says that there is no such group.
func parseTemplate(whole, outOfRange string) (*template, []error) {
	t := &template{}
	var errs []error
	var text strings.Builder
	for s := whole; s != ""; {
		before, rest, found := strings.Cut(s, "$")
		text.WriteString(before)
		if !found {
			break
		}
		if strings.HasPrefix(rest, "$") {
			text.WriteByte('$')
			s = rest[1:]
			continue
		}
		name, rest, err := groupName(rest)
		if err != nil {
			return nil, append(errs, fmt.Errorf("%w: \"%s\"", err, whole))
		}
		group, err := groupNumber(name, outOfRange)
		if err != nil {
			errs = append(errs, err)
		}
		t.text = append(t.text, text.String())
		text.Reset()
		t.groups = append(t.groups, group)
		t.highest = max(t.highest, group)
		s = rest
	}
	t.text = append(t.text, text.String())
	return t, errs
}

// Errors of a result text, in the words of Postfix.
var (
	errNoGroup    = errors.New("empty macro name")
	errGroupStart = errors.New("truncated macro reference")
)

// groupNumber reads the number of a group.
func groupNumber(name, outOfRange string) (int, error) {
	n := 0
	for i := 0; i < len(name); i++ {
		if name[i] < '0' || name[i] > '9' {
			return 0, fmt.Errorf("non-numeric replacement index \"%s\"", name)
		}
		n = min(n*10+int(name[i]-'0'), maxGroup)
	}
	if n < 1 {
		return 0, fmt.Errorf("%s replacement index \"%s\"", outOfRange, name)
	}
	return n, nil
}

// maxGroup is more groups than an expression can have.
const maxGroup = 1 << 20

// groupName takes the name behind a "$", with or without brackets. Letters
// belong to it, so that "$1x" is an error and no guess.
func groupName(s string) (name, rest string, err error) {
	for _, pair := range []string{"{}", "()"} {
		if s == "" || s[0] != pair[0] {
			continue
		}
		i := strings.IndexByte(s, pair[1])
		switch {
		case i < 0:
			return "", "", errGroupStart
		case i == 1:
			return "", "", errNoGroup
		}
		return s[1:i], s[i+1:], nil
	}
	i := 0
	for i < len(s) && (s[i] == '_' || isAlnum(s[i])) {
		i++
	}
	if i == 0 {
		return "", "", errNoGroup
	}
	return s[:i], s[i:], nil
}

// isAlnum tells whether c is an ASCII letter or digit.
func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// expand puts the groups of a match in; spans holds begin and end of each
// group of s, -1 when it did not take part.
func (t *template) expand(s string, spans []int) string {
	var b strings.Builder
	b.WriteString(t.text[0])
	for i, g := range t.groups {
		if 2*g+1 < len(spans) && spans[2*g] >= 0 {
			b.WriteString(s[spans[2*g]:spans[2*g+1]])
		}
		b.WriteString(t.text[i+1])
	}
	return b.String()
}
