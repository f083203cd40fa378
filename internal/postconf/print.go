package postconf

import "strings"

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

// Fields returns the arguments in groups, as they are printed: an option with its
// value is one group.
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
			out = append(out, argGroup{"-o " + inBraces(value), true})
		case options:
			out = append(out, argGroup{arg, false})
		default:
			out = append(out, argGroup{inBraces(arg), false})
		}
	}
	return out, nil
}

// argGroup is what stays on one line.
type argGroup struct {
	text string
	// option is set for an option with a value.
	option bool
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
	appendGroups(&b, b.Len(), groups, fold, false)
	return b.String(), nil
}

// appendGroups appends arguments to a line of which n bytes are written. alone
// says that nothing follows an option with a value on its line.
func appendGroups(b *strings.Builder, n int, groups []argGroup, fold, alone bool) {
	for _, g := range groups {
		if g.option {
			n = lineLimit
		}
		if n > len(indentText) {
			if !fold || n+1+len(g.text) < lineLimit {
				b.WriteByte(' ')
				n++
			} else {
				b.WriteString("\n" + indentText)
				n = len(indentText)
			}
		}
		b.WriteString(g.text)
		n += len(g.text)
		if g.option && alone {
			n = lineLimit
		}
	}
}
