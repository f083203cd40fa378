package postconf

import (
	"fmt"
	"strconv"
	"strings"
)

// The bounds of one expansion. Postfix has only the first one.
const (
	maxDepth  = 100     // nesting of references
	maxSteps  = 100_000 // references visited; a long one counts more
	maxResult = 1 << 20 // bytes produced
)

// expander expands $name, ${name}, $(name), conditions, comparisons and function
// calls in one value.
type expander struct {
	// lookup returns the unexpanded value of a name.
	lookup func(name string) (string, bool)
	// visit, when set, makes this a scan: it is called for each name, both
	// branches of a condition are visited, and nothing is produced.
	visit func(name string)
	// once makes the values of names stay as they are; final, when set, tells this
	// for a single name.
	once  bool
	final func(name string) bool

	out   strings.Builder
	steps int
	err   error
}

// Expand expands the $names of s with the given lookup function, recursively, in
// the language of main.cf values. A name that lookup does not know is empty.
func Expand(s string, lookup func(name string) (string, bool)) (string, error) {
	if strings.IndexByte(s, '$') < 0 {
		return s, nil
	}
	e := &expander{lookup: lookup}
	e.parse(s, 0)
	return e.out.String(), e.err
}

// ExpandOnce is Expand for templates whose names have values that a stranger
// chose: what lookup returns is not expanded again.
func ExpandOnce(s string, lookup func(name string) (string, bool)) (string, error) {
	e := &expander{lookup: lookup, once: true}
	e.parse(s, 0)
	return e.out.String(), e.err
}

// References calls visit for each name that s refers to, in both branches of
// conditions, and returns the syntax error, if there is one.
func References(s string, visit func(name string)) error {
	e := &expander{visit: visit, lookup: func(string) (string, bool) { return "", false }}
	e.parse(s, 0)
	return e.err
}

// fail records the first error.
func (e *expander) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

// emit appends literal text.
func (e *expander) emit(s string) {
	if e.visit != nil || e.err != nil {
		return
	}
	if e.out.Len()+len(s) > maxResult {
		e.fail("result of expansion is too long")
		return
	}
	e.out.WriteString(s)
}

// step counts one more reference at the given depth.
func (e *expander) step(depth int, text string) bool {
	e.steps += 1 + len(text)/64
	if depth > maxDepth {
		e.fail("unreasonable macro call nesting: %q", clip(text))
	} else if e.steps > maxSteps {
		e.fail("expansion takes too many steps: %q", clip(text))
	}
	return e.err == nil
}

// clip shortens text for a message.
func clip(s string) string { return clipTo(s, 100) }

// clipTo shortens text to a number of bytes.
func clipTo(s string, most int) string {
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// parse expands s: literal text, "$$" and references.
func (e *expander) parse(s string, depth int) {
	whole := s
	for len(s) > 0 && e.err == nil {
		i := strings.IndexByte(s, '$')
		if i < 0 {
			e.emit(s)
			return
		}
		e.emit(s[:i])
		s = s[i+1:]
		if s != "" && s[0] == '$' {
			e.emit("$")
			s = s[1:]
			continue
		}
		var ref string
		ref, s = e.reference(s, whole)
		if e.err == nil && e.step(depth, ref) {
			e.expr(ref, depth+1)
		}
	}
}

// reference cuts what stands after "$": a bare name or what is between brackets.
func (e *expander) reference(s, whole string) (ref, rest string) {
	if s != "" && (s[0] == '{' || s[0] == '(') {
		n := balanced(s, s[0])
		if n < 0 {
			e.fail("truncated macro reference: \"%s\"", clip(whole))
			return "", ""
		}
		ref, rest = s[1:n-1], s[n:]
	} else {
		n := 0
		for n < len(s) && isNameChar(s[n]) {
			n++
		}
		ref, rest = s[:n], s[n:]
	}
	if ref == "" {
		e.fail("empty macro name: \"%s\"", clip(whole))
	}
	return ref, rest
}

// balanced returns the length of the bracketed text with which s begins, or -1
// when the bracket is not closed.
func balanced(s string, open byte) int {
	end := byte('}')
	if open == '(' {
		end = ')'
	}
	level := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case open:
			level++
		case end:
			if level--; level == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// isNameChar reports whether c can be part of the name of a parameter.
func isNameChar(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// expr expands the text of one reference: a name, a comparison or a function
// call, with or without "?" and ":".
func (e *expander) expr(ref string, depth int) {
	var value, name string
	var op byte
	s := strings.TrimLeft(ref, wordSpace)
	if s != "" && s[0] == '{' {
		value, s = e.compare(s, depth)
		if e.err != nil {
			return
		}
		if s != "" {
			if op = s[0]; op != '?' && op != ':' {
				e.fail("\"?\" or \":\" expected at: \"...}>>>%.20s\"", s)
				return
			}
			s = s[1:]
		}
	} else {
		n := 0
		for n < len(s) && isNameChar(s[n]) {
			n++
		}
		var tail string
		name, tail = s[:n], s[n:]
		s = strings.TrimLeft(tail, wordSpace)
		switch {
		case s == "":
		case s[0] == '?' || s[0] == ':':
			op, s = s[0], s[1:]
		case s[0] == '{':
			e.call(name, s, depth)
			return
		default:
			e.fail("attribute name syntax error at: \"...%s>>>%.20s\"", ref[:len(ref)-len(tail)], tail)
			return
		}
		if e.visit != nil {
			e.visit(name)
		}
		value, _ = e.lookup(name)
	}
	if op != 0 {
		e.condition(op, value != "", s, depth)
		return
	}
	if e.once || name != "" && e.final != nil && e.final(name) {
		e.emit(value)
	} else {
		e.parse(value, depth)
	}
}

// wordSpace is the white space inside a reference.
const wordSpace = " \t\r\n"

// condition expands what stands after "?" or ":", given whether the name has a
// value or the comparison is true.
func (e *expander) condition(op byte, truth bool, s string, depth int) {
	scan := e.visit != nil
	if op == '?' {
		text, rest, ok := e.operand(s)
		if !ok {
			return
		}
		if truth || scan {
			e.parse(text, depth)
		}
		if rest == "" || e.err != nil {
			return
		}
		if rest[0] != ':' {
			e.fail("\":\" expected at: \"...%s}>>>%.20s\"", text, rest)
			return
		}
		s = rest[1:]
	}
	text, rest, ok := e.operand(s)
	if !ok {
		return
	}
	if !truth || scan {
		e.parse(text, depth)
	}
	if rest != "" && e.err == nil {
		e.fail("unexpected input at: \"...%s}>>>%.20s\"", text, rest)
	}
}

// operand cuts one result of a condition: text in braces, or else all that is
// left. White space round the braces is skipped.
func (e *expander) operand(s string) (text, rest string, ok bool) {
	t := strings.TrimLeft(s, wordSpace)
	if t == "" || t[0] != '{' {
		return s, "", true
	}
	return e.braced(t)
}

// braced cuts the text in braces with which s begins.
func (e *expander) braced(s string) (text, rest string, ok bool) {
	n := balanced(s, '{')
	if n < 0 {
		e.fail("unbalanced {} in attribute expression: \"%s\"", clip(s))
		return "", "", false
	}
	return s[1 : n-1], strings.TrimLeft(s[n:], wordSpace), true
}

// compare evaluates "{left} operator {right}". The value of a comparison that is
// true is "true", else it is empty.
func (e *expander) compare(s string, depth int) (value, rest string) {
	left, rest, ok := e.braced(s)
	if !ok {
		return "", ""
	}
	n := 0
	for n < len(rest) && strings.IndexByte("<>!=?+-*/~&|%", rest[n]) >= 0 {
		n++
	}
	op := rest[:n]
	if !isOperator(op) {
		e.fail("\"==\" or \"!=\"\" or \"<\"\" or \"<=\"\" or \">=\"\" or \">\" expected at: \"...%s}>>>%.20s\"", left, rest)
		return "", ""
	}
	m := n
	for m < len(rest) && isNameChar(rest[m]) && rest[m] != '_' {
		m++
	}
	suffix := rest[n:m]
	if suffix != "" && suffix != "level" {
		e.fail("bad operator suffix at: \"...%s>>>%s\"", op, suffix)
		return "", ""
	}
	tail := strings.TrimLeft(rest[m:], wordSpace)
	if tail == "" || tail[0] != '{' {
		e.fail("\"{expression}\" expected at: \"...{%s} %s>>>%.20s\"", left, op+suffix, rest[m:])
		return "", ""
	}
	right, rest, ok := e.braced(tail)
	if !ok {
		return "", ""
	}
	l, r := e.sub(left, depth), e.sub(right, depth)
	if e.err != nil || e.visit != nil {
		return "", rest
	}
	order, err := compareValues(l, r, suffix == "level")
	if err != nil {
		e.fail("%v", err)
		return "", ""
	}
	if holds(op, order) {
		return "true", rest
	}
	return "", rest
}

// sub expands s by itself, within the bounds of e.
func (e *expander) sub(s string, depth int) string {
	if e.err != nil || !e.step(depth, s) {
		return ""
	}
	in := &expander{lookup: e.lookup, visit: e.visit, once: e.once, final: e.final, steps: e.steps}
	in.parse(s, depth)
	e.steps = in.steps
	if in.err != nil && e.err == nil {
		e.err = in.err
	}
	return in.out.String()
}

// call expands "name{text}". There is one function.
func (e *expander) call(name, s string, depth int) {
	arg, rest, ok := e.braced(s)
	if !ok {
		return
	}
	arg = strings.Trim(arg, wordSpace)
	if rest != "" {
		e.fail("unexpected input at: \"...%s}>>>%.20s\"", arg, rest)
		return
	}
	if name != "domain_to_ascii" {
		e.fail("unknown function \"%s\" at\"...>>>%s{%s}\"", name, name, clip(arg))
		return
	}
	domain := e.sub(arg, depth)
	if e.err != nil || e.visit != nil {
		return
	}
	ascii, err := domainToASCII(domain)
	if err != nil {
		e.fail("%v", err)
		return
	}
	e.emit(ascii)
}

// isOperator reports whether op is a comparison.
func isOperator(op string) bool {
	switch op {
	case "==", "!=", "<", "<=", ">=", ">":
		return true
	}
	return false
}

// holds reports whether the comparison op is true for the given order.
func holds(op string, order int) bool {
	switch op {
	case "==":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">=":
		return order >= 0
	}
	return order > 0
}

// compareValues returns the order of two operands: as levels, as numbers when
// both consist of digits, or else as bytes.
func compareValues(l, r string, level bool) (int, error) {
	if level {
		a, err := ParseLevel(l)
		if err != nil {
			return 0, err
		}
		b, err := ParseLevel(r)
		if err != nil {
			return 0, err
		}
		return a.Compare(b), nil
	}
	if allDigits(l) && allDigits(r) {
		a, err := strconv.ParseInt(l, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("mac_exp_eval: bad conversion: %s", clip(l))
		}
		b, err := strconv.ParseInt(r, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("mac_exp_eval: bad conversion: %s", clip(r))
		}
		switch {
		case a < b:
			return -1, nil
		case a > b:
			return 1, nil
		}
		return 0, nil
	}
	return strings.Compare(l, r), nil
}

// allDigits reports whether s is one or more digits.
func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
