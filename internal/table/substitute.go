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

// Errors of a result text.
var (
	errBadReplacement = errors.New("bad replacement syntax")
	errGroupNumber    = errors.New("non-numeric replacement index")
)

// parseTemplate reads a result: "$$" is "$", and $1, ${1}, $(1) are groups.
func parseTemplate(s string) (*template, error) {
	t := &template{}
	var text strings.Builder
	for s != "" {
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
			return nil, err
		}
		group := 0
		for _, c := range []byte(name) {
			if c < '0' || c > '9' || group > 9999 {
				return nil, fmt.Errorf("%w \"%s\"", errGroupNumber, name)
			}
			group = group*10 + int(c-'0')
		}
		if group < 1 {
			return nil, fmt.Errorf("out of range replacement index \"%s\"", name)
		}
		t.text = append(t.text, text.String())
		text.Reset()
		t.groups = append(t.groups, group)
		t.highest = max(t.highest, group)
		s = rest
	}
	t.text = append(t.text, text.String())
	return t, nil
}

// groupName takes the name behind a "$", with or without brackets. Letters
// belong to it, so that "$1x" is an error and no guess.
func groupName(s string) (name, rest string, err error) {
	if s == "" {
		return "", "", errBadReplacement
	}
	if end, ok := map[byte]byte{'{': '}', '(': ')'}[s[0]]; ok {
		i := strings.IndexByte(s, end)
		if i < 2 {
			return "", "", errBadReplacement
		}
		return s[1:i], s[i+1:], nil
	}
	i := 0
	for i < len(s) && (s[i] == '_' || isAlnum(s[i])) {
		i++
	}
	if i == 0 {
		return "", "", errBadReplacement
	}
	return s[:i], s[i:], nil
}

// isAlnum tells whether c is an ASCII letter or digit.
func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// constant returns the text when the template has no groups.
func (t *template) constant() (string, bool) { return t.text[0], len(t.groups) == 0 }

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
