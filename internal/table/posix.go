package table

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// posixSyntax is how regexec(3) reads a pattern.
type posixSyntax struct {
	// fold ignores case, lines gives newlines a meaning (REG_NEWLINE),
	// extended is ERE and not BRE.
	fold, lines, extended bool
}

// posixText is a POSIX expression in two other languages.
type posixText struct {
	// text is for Go, perl for PCRE2.
	text, perl string
	// needPCRE tells that Go has no equivalent.
	needPCRE bool
}

// Errors of POSIX expressions, in the words of regerror(3).
var (
	errParen     error = words("Unmatched ( or \\(")
	errBackslash error = words("Trailing backslash")
	errRepeat    error = words("Invalid preceding regular expression")
	errInterval  error = words("Invalid content of \\{\\}")
	errBrace     error = words("Unmatched \\{")
	errBracket   error = words("Unmatched [, [^, [:, [., or [=")
	errRange     error = words("Invalid range end")
	errClass     error = words("Invalid character class name")
	errCollation error = words("Invalid collation character")
	errBackref   error = words("Invalid back reference")
	errTooBig    error = words("Regular expression too big")
)

// words are an error in the words of the C library, which begin with a capital.
type words string

// Error implements error.
func (w words) Error() string { return string(w) }

// Limits of an expression: glibc's on repeats, and ours on nesting.
const (
	maxRepeat     = 0x7fff
	maxParenDepth = 200
)

// posixClasses are the character classes of the C locale.
var posixClasses = []string{
	"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit",
}

// posixParser translates one expression.
type posixParser struct {
	posixSyntax
	in       string
	at       int
	groups   int
	closed   []bool
	depth    int
	needPCRE bool
}

// translatePOSIX reads an expression as glibc's regcomp(3) does, GNU
// extensions included.
func translatePOSIX(pattern string, syntax posixSyntax) (posixText, error) {
	p := &posixParser{posixSyntax: syntax, in: pattern, closed: []bool{true}}
	body, err := p.alternatives()
	if err != nil {
		return posixText{}, err
	}
	flags := "(?s)"
	if syntax.lines {
		flags = "(?m)"
	}
	goFlags := flags
	if syntax.fold {
		goFlags += "(?i)"
	}
	return posixText{text: goFlags + widenPattern(body), perl: flags + body, needPCRE: p.needPCRE}, nil
}

// widenPattern writes bytes above ASCII as the runes that posixRegexp uses.
func widenPattern(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return s
	}
	return widen(s)
}

// peek tells whether the input continues with token.
func (p *posixParser) peek(token string) bool { return strings.HasPrefix(p.in[p.at:], token) }

// take consumes token if it is next.
func (p *posixParser) take(token string) bool {
	if !p.peek(token) {
		return false
	}
	p.at += len(token)
	return true
}

// op returns how an operator is written: bare in ERE, escaped in BRE.
func (p *posixParser) op(c string) string {
	if p.extended {
		return c
	}
	return "\\" + c
}

// alternatives reads branches up to a closing parenthesis or the end.
func (p *posixParser) alternatives() (string, error) {
	var out strings.Builder
	for {
		branch, err := p.branch()
		if err != nil {
			return "", err
		}
		out.WriteString(branch)
		if !p.take(p.op("|")) {
			return out.String(), nil
		}
		out.WriteByte('|')
	}
}

// branch reads pieces up to an alternative, a closing parenthesis or the end.
func (p *posixParser) branch() (string, error) {
	var out strings.Builder
	for start := true; p.at < len(p.in); start = false {
		if p.peek(p.op("|")) || p.depth > 0 && p.peek(p.op(")")) {
			break
		}
		atom, anchor, err := p.atom(start)
		if err != nil {
			return "", err
		}
		for {
			repeat, found, err := p.repeat()
			if err != nil {
				return "", err
			}
			if !found {
				break
			}
			if anchor {
				return "", errRepeat
			}
			atom = "(?:" + atom + ")" + repeat
		}
		out.WriteString(atom)
	}
	return out.String(), nil
}

// repeat reads one repetition operator.
func (p *posixParser) repeat() (text string, found bool, err error) {
	switch {
	case p.take("*"):
		return "*", true, nil
	case p.take(p.op("+")):
		return "+", true, nil
	case p.take(p.op("?")):
		return "?", true, nil
	case p.take(p.op("{")):
		text, err = p.interval()
		return text, true, err
	}
	return "", false, nil
}

// interval reads the rest of {n}, {n,}, {n,m} and {,m}.
func (p *posixParser) interval() (string, error) {
	end := strings.Index(p.in[p.at:], p.op("}"))
	if end < 0 {
		return "", errBrace
	}
	text := p.in[p.at : p.at+end]
	p.at += end + len(p.op("}"))
	low, high, comma := strings.Cut(text, ",")
	if len(low) > 5 || len(high) > 5 {
		return "", errTooBig
	}
	least, ok := number(low)
	if low == "" && comma {
		least, ok = 0, true
	}
	if !ok {
		return "", errInterval
	}
	if most, _ := number(high); least > maxRepeat || most > maxRepeat {
		return "", errTooBig
	}
	switch {
	case !comma:
		return fmt.Sprintf("{%d}", least), nil
	case high == "":
		return fmt.Sprintf("{%d,}", least), nil
	}
	most, ok := number(high)
	if !ok || most < least {
		return "", errInterval
	}
	return fmt.Sprintf("{%d,%d}", least, most), nil
}

// number reads a repeat count.
func number(s string) (n int, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != ""
}

// atom reads one atom; anchor tells that it cannot be repeated.
func (p *posixParser) atom(start bool) (text string, anchor bool, err error) {
	switch {
	case p.take(p.op("(")):
		text, err = p.group()
		return text, false, err
	case p.take("["):
		text, err = p.bracket()
		return text, false, err
	case p.take("."):
		if p.lines {
			return "[^\\n]", false, nil
		}
		return ".", false, nil
	case p.extended && p.peek("*") || p.extended && p.peek("+") || p.extended && p.peek("?") || p.extended && p.peek("{"):
		return "", false, errRepeat
	case p.peek("^") && (p.extended || start):
		p.at++
		if !p.extended && p.take("*") {
			return "^\\*", false, nil // literal behind the "^" of a BRE
		}
		return "^", true, nil
	case p.peek("$") && (p.extended || p.lastInBranch()):
		p.at++
		if p.lines {
			return "(?m:$)", true, nil
		}
		return "\\z", true, nil
	case p.take("\\"):
		return p.escape()
	}
	c := p.in[p.at]
	p.at++
	return quoteByte(c), false, nil
}

// lastInBranch tells whether the "$" of a BRE stands at the end of a branch.
func (p *posixParser) lastInBranch() bool {
	rest := p.in[p.at+1:]
	return rest == "" || strings.HasPrefix(rest, "\\)") || strings.HasPrefix(rest, "\\|")
}

// group reads the rest of a parenthesis.
func (p *posixParser) group() (string, error) {
	if p.depth >= maxParenDepth {
		return "", errTooBig
	}
	p.groups++
	p.closed = append(p.closed, false)
	n := p.groups
	p.depth++
	body, err := p.alternatives()
	p.depth--
	if err != nil {
		return "", err
	}
	if !p.take(p.op(")")) {
		return "", errParen
	}
	p.closed[n] = true
	return "(" + body + ")", nil
}

// escape reads what follows a backslash.
func (p *posixParser) escape() (text string, anchor bool, err error) {
	if p.at >= len(p.in) {
		return "", false, errBackslash
	}
	c := p.in[p.at]
	p.at++
	switch c {
	case 'w', 'W':
		return "\\" + string(c), false, nil
	case 's':
		return "[[:space:]]", false, nil
	case 'S':
		return "[^[:space:]]", false, nil
	case 'b', 'B':
		return "\\" + string(c), true, nil
	case '<':
		p.needPCRE = true
		return "\\b(?=\\w)", true, nil
	case '>':
		p.needPCRE = true
		return "\\b(?<=\\w)", true, nil
	case '`':
		return "\\A", true, nil
	case '\'':
		return "\\z", true, nil
	}
	if '1' <= c && c <= '9' {
		if n := int(c - '0'); n >= len(p.closed) || !p.closed[n] {
			return "", false, errBackref
		}
		p.needPCRE = true
		return "\\g{" + string(c) + "}", false, nil
	}
	return quoteByte(c), false, nil
}

// quoteByte writes a byte so that it means itself.
func quoteByte(c byte) string {
	if c < utf8.RuneSelf && c > ' ' && !isAlnum(c) {
		return "\\" + string([]byte{c})
	}
	return string([]byte{c})
}

// bracket reads the rest of a bracket expression.
func (p *posixParser) bracket() (string, error) {
	var out strings.Builder
	out.WriteByte('[')
	if p.take("^") {
		out.WriteByte('^')
		if p.lines {
			out.WriteString("\\n")
		}
	}
	for first := true; ; first = false {
		if p.at >= len(p.in) {
			return "", errBracket
		}
		if !first && p.take("]") {
			return out.String() + "]", nil
		}
		if p.take("[:") {
			name, err := p.untilClose(":]", errClass)
			if err != nil {
				return "", err
			}
			if !isClass(name) {
				return "", errClass
			}
			out.WriteString("[:" + name + ":]")
			continue
		}
		low, err := p.bracketByte()
		if err != nil {
			return "", err
		}
		high := low
		if p.peek("-") && !p.peek("-]") {
			p.at++
			if high, err = p.bracketByte(); err != nil {
				return "", err
			}
			if high < low {
				return "", errRange
			}
		}
		writeRange(&out, low, high)
	}
}

// bracketByte reads one character, [.c.] or [=c=] of a bracket expression.
func (p *posixParser) bracketByte() (byte, error) {
	for _, open := range []string{"[.", "[="} {
		if !p.take(open) {
			continue
		}
		name, err := p.untilClose(open[1:]+"]", errCollation)
		if err != nil {
			return 0, err
		}
		if len(name) != 1 {
			return 0, errCollation
		}
		return name[0], nil
	}
	if p.at >= len(p.in) {
		return 0, errBracket
	}
	c := p.in[p.at]
	p.at++
	return c, nil
}

// untilClose takes the name up to its closing mark.
func (p *posixParser) untilClose(mark string, _ error) (string, error) {
	i := strings.Index(p.in[p.at:], mark)
	if i < 0 {
		return "", errBracket
	}
	name := p.in[p.at : p.at+i]
	p.at += i + len(mark)
	return name, nil
}

// isClass tells whether name is a character class.
func isClass(name string) bool {
	for _, c := range posixClasses {
		if c == name {
			return true
		}
	}
	return false
}

// writeRange writes a range of bytes; one that crosses from ASCII upwards is
// written in two parts, which lie apart in the runes of posixRegexp.
func writeRange(out *strings.Builder, low, high byte) {
	if low < utf8.RuneSelf && high >= utf8.RuneSelf {
		writeRange(out, low, utf8.RuneSelf-1)
		low = utf8.RuneSelf
	}
	out.WriteString(bracketQuote(low))
	if high > low {
		out.WriteString("-" + bracketQuote(high))
	}
}

// bracketQuote writes a byte inside a bracket expression.
func bracketQuote(c byte) string {
	if c < utf8.RuneSelf && !isAlnum(c) {
		return fmt.Sprintf("\\x%02x", c)
	}
	return string([]byte{c})
}
