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

// openRules opens a table of rules: those of a file, which is followed, or those
// in the name itself where that is "{ {rule}, {rule} }".
func openRules(typ, name string, o *Options, parse func(lines []logicalLine, o *Options) Table) (Table, error) {
	if strings.HasPrefix(name, "{") {
		lines, err := inlineRules(typ, name)
		if err != nil {
			return nil, err
		}
		return parse(lines, o), nil
	}
	t, err := followText(typ+":"+name, o.path(name), o, func(text string, o *Options) Table {
		return parse(ruleLines(name, text, o), o)
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, Reason(err))
	}
	return t, nil
}

// ruleLines splits the text of a file.
func ruleLines(name, text string, o *Options) (out []logicalLine) {
	r := lineReader{rest: text}
	for line, ok := r.next(); ok; line, ok = r.next() {
		if isSpace(line.text[0]) {
			o.skipf("%s: logical line must not start with whitespace: \"%s\"", name, clip(line.text, 30))
			continue
		}
		line.text = strings.TrimRight(line.text, asciiSpace)
		out = append(out, line)
	}
	return out
}

// inlineRules reads "{ {rule}, {rule} }".
func inlineRules(typ, name string) ([]logicalLine, error) {
	inner, err := braced(name)
	if err != nil {
		return nil, fmt.Errorf("%s map: %w", typ, err)
	}
	var out []logicalLine
	for i, item := range splitBraced(inner) {
		text, err := braced(item)
		if err != nil {
			return nil, fmt.Errorf("%s map: %w", typ, err)
		}
		if text = trimSpace(text); text != "" && text[0] != '#' {
			out = append(out, logicalLine{text: text, number: i + 1})
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
