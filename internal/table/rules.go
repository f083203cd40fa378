package table

import (
	"errors"
	"fmt"
	"strings"
)

// ruleOp is what a line of a cidr:, regexp: or pcre: table does.
type ruleOp uint8

const (
	// opResult gives a result, opIf guards the rules up to its opEndif.
	opResult ruleOp = iota
	opIf
	opEndif
)

// Errors of rules, in the words of Postfix.
var (
	errAfterEndif = errors.New("garbage after ENDIF")
	errNoAddress  = errors.New("no address pattern")
	errNoResult   = errors.New("no lookup result")
)

// ruleText is the text of a rule table as logical lines.
type ruleText struct {
	lines []logicalLine
	// last is the number of the last physical line.
	last int
}

// ruleLines reads the rules of a table from its file, or from the name itself
// where that is "{ {rule}, {rule} }".
func ruleLines(typ, name string, o *Options) (ruleText, error) {
	if strings.HasPrefix(name, "{") {
		return inlineRules(typ, name)
	}
	text, err := o.readText(o.path(name))
	if err != nil {
		return ruleText{}, fmt.Errorf("open %s: %w", name, Reason(err))
	}
	out := ruleText{}
	r := lineReader{rest: text}
	for line, ok := r.next(); ok; line, ok = r.next() {
		if isSpace(line.text[0]) {
			o.warnf("%s: logical line must not start with whitespace: \"%s\"", name, clip(line.text, 30))
			continue
		}
		line.text = strings.TrimRight(line.text, asciiSpace)
		out.lines = append(out.lines, line)
	}
	out.last = r.line
	return out, nil
}

// inlineRules reads "{ {rule}, {rule} }".
func inlineRules(typ, name string) (ruleText, error) {
	inner, err := braced(name)
	if err != nil {
		return ruleText{}, fmt.Errorf("%s map: %w", typ, err)
	}
	out := ruleText{}
	for _, item := range splitBraced(inner) {
		text, err := braced(item)
		if err != nil {
			return ruleText{}, fmt.Errorf("%s map: %w", typ, err)
		}
		out.last++
		if text = trimSpace(text); text != "" && text[0] != '#' {
			out.lines = append(out.lines, logicalLine{text: text, number: out.last})
		}
	}
	return out, nil
}

// ruleStack remembers the ifs that are open.
type ruleStack struct{ rules, lines []int }

func (s *ruleStack) push(rule, line int) {
	s.rules = append(s.rules, rule)
	s.lines = append(s.lines, line)
}

// pop returns the innermost open if.
func (s *ruleStack) pop() (rule int, ok bool) {
	if len(s.rules) == 0 {
		return 0, false
	}
	n := len(s.rules) - 1
	rule = s.rules[n]
	s.rules, s.lines = s.rules[:n], s.lines[:n]
	return rule, true
}

// splitWord splits s at its first white space.
func splitWord(s string) (word, rest string) {
	i := strings.IndexAny(s, asciiSpace)
	if i < 0 {
		return s, ""
	}
	return s[:i], trimSpace(s[i:])
}

// isKeyword tells whether s begins with the word, in any case, and not with a
// longer one.
func isKeyword(s, word string) bool {
	return len(s) >= len(word) && strings.EqualFold(s[:len(word)], word) &&
		(len(s) == len(word) || !isAlnum(s[len(word)]))
}
