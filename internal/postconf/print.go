package postconf

import (
	"fmt"
	"strings"
)

// The shape of folded output.
const (
	lineLimit  = 80
	indentText = "    "
)

// FormatLine returns text, such as "name = value", as postconf(1) prints it: runs
// of white space become one space, and with fold the line is broken before it
// gets too long.
func FormatLine(text string, fold bool) string {
	var b strings.Builder
	n := 0
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) }) {
		if n > 0 {
			if !fold || n+len(word) < lineLimit {
				b.WriteByte(' ')
				n++
			} else {
				b.WriteString("\n" + indentText)
				n = len(indentText)
			}
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}

// groups returns the arguments as they are printed: an option with its value is
// one group.
func (s *Service) groups(expand func(string) (string, error)) ([]argGroup, error) {
	var out []argGroup
	options := true
	for i := 0; i < len(s.Args); i++ {
		arg := s.Args[i]
		if options && (arg == "" || arg[0] != '-' || arg == "--") {
			options = false
		}
		switch {
		case options && arg == "-o" && i+1 < len(s.Args):
			i++
			value := s.Args[i]
			if expand != nil {
				var err error
				if value, err = expand(value); err != nil {
					return nil, err
				}
			}
			out = append(out, argGroup{"-o " + inBraces(value), true, 0})
		case options:
			out = append(out, argGroup{arg, false, len(arg)})
		default:
			out = append(out, argGroup{inBraces(arg), false, len(arg)})
		}
	}
	return out, nil
}

// argGroup is what stays on one line.
type argGroup struct {
	text string
	// option is set for an option with a value.
	option bool
	// width is the length by which Postfix decides whether it fits.
	width int
}

// inBraces puts braces round an argument with white space.
func inBraces(s string) string {
	if strings.ContainsAny(s, " \t\r\n") {
		return "{" + s + "}"
	}
	return s
}

// Format returns the entry as postconf -M prints it. With fold, options with a
// value and what does not fit get a line of their own. expand, which may be nil,
// expands the values of "-o".
func (s *Service) Format(fold bool, expand func(string) (string, error)) (string, error) {
	groups, err := s.groups(expand)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i, goal := range [...]int{0, 11, 17, 25, 33, 41, 49, 57} {
		if i > 0 {
			b.WriteByte(' ')
			for b.Len() < goal {
				b.WriteByte(' ')
			}
		}
		b.WriteString(s.columns[i])
	}
	appendGroups(&b, b.Len(), groups, fold)
	return b.String(), nil
}

// FormatColumn returns a column as postconf -F prints it after prefix, which is
// "name = " or empty. The last column comes with its arguments.
func (s *Service) FormatColumn(prefix string, field int, fold bool, expand func(string) (string, error)) (string, error) {
	var b strings.Builder
	b.WriteString(prefix)
	n := len(prefix)
	if n > 0 && n+len(s.columns[field]) > lineLimit {
		b.WriteString("\n" + indentText)
		n = len(indentText)
	}
	b.WriteString(s.columns[field])
	n += len(s.columns[field])
	if field == colCommand {
		groups, err := s.groups(expand)
		if err != nil {
			return "", err
		}
		appendGroups(&b, n, groups, fold)
	}
	return b.String(), nil
}

// CommandLine returns the columns from the given one on, separated by single
// spaces, with the arguments.
func (s *Service) CommandLine(from int, expand func(string) (string, error)) (string, error) {
	groups, err := s.groups(expand)
	if err != nil {
		return "", err
	}
	words := append([]string(nil), s.columns[from:]...)
	for _, g := range groups {
		words = append(words, g.text)
	}
	return strings.Join(words, " "), nil
}

// QuoteJSON returns s as a JSON string, with the escapes that Postfix uses. Bytes
// that are not UTF-8 stay as they are.
func QuoteJSON(s string) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ' || c == 0x7f:
			b = fmt.Appendf(b, `\u%04X`, c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

// appendGroups appends arguments to a line of which n bytes are written. When lines
// are folded, nothing follows an option with a value on its line.
func appendGroups(b *strings.Builder, n int, groups []argGroup, fold bool) {
	for _, g := range groups {
		if g.option {
			n = lineLimit
		}
		if n > len(indentText) {
			if !fold || n+1+g.width < lineLimit {
				b.WriteByte(' ')
				n++
			} else {
				b.WriteString("\n" + indentText)
				n = len(indentText)
			}
		}
		b.WriteString(g.text)
		n += len(g.text)
		if g.option {
			n = lineLimit
		}
	}
}
