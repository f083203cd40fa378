package wire

import (
	"errors"
	"strings"
)

// Errors of SplitPath.
var (
	// ErrNoKeyword means that the argument does not begin with FROM: or TO:,
	// or has no path behind it.
	ErrNoKeyword = errors.New("wire: path keyword expected")
	// ErrBadPath means that the path has an unbalanced quote or bracket.
	ErrBadPath = errors.New("wire: malformed path")
)

// Verb splits a command line at the first white space.
func Verb(line []byte) (verb, args []byte) {
	line = trimSpace(line)
	for i, c := range line {
		if c == ' ' || c == '\t' {
			return line[:i], trimSpace(line[i:])
		}
	}
	return line, nil
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// SplitPath takes the argument of MAIL or RCPT apart: keyword ("FROM:", "TO:"),
// path, parameters (RFC 5321 4.1.1.2). White space around the path is accepted,
// and so is a path without brackets.
func SplitPath(args, keyword string) (path string, params Params, err error) {
	if len(args) < len(keyword) || !strings.EqualFold(args[:len(keyword)], keyword) {
		return "", Params{}, ErrNoKeyword
	}
	s := strings.TrimLeft(args[len(keyword):], " \t")
	if s == "" {
		return "", Params{}, ErrNoKeyword
	}
	end, ok := tokenEnd(s)
	if !ok {
		return "", Params{}, ErrBadPath
	}
	return s[:end], Params{rest: s[end:]}, nil
}

// tokenEnd finds the first white space outside quotes and brackets.
func tokenEnd(s string) (end int, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ', '\t':
			return i, true
		case '\\':
			i++
		case '<', '"', '[':
			j := closing(s, i)
			if j < 0 {
				return 0, false
			}
			i = j
		}
	}
	return len(s), true
}

// closing finds the byte that closes the quote or bracket at s[i]. Quotes
// inside brackets may hold a bracket, and "\" hides the next byte.
func closing(s string, i int) int {
	want := s[i]
	switch want {
	case '<':
		want = '>'
	case '[':
		want = ']'
	}
	for j := i + 1; j < len(s); j++ {
		switch {
		case s[j] == '\\':
			j++
		case s[j] == want:
			return j
		case s[j] == '"' && want == '>':
			if j = closing(s, j); j < 0 {
				return -1
			}
		}
	}
	return -1
}

// Params are the parameters of MAIL or RCPT.
type Params struct{ rest string }

// Next returns the next parameter as it was given. "=" splits it in two; without
// one, has is false.
func (p *Params) Next() (param, name, value string, has, ok bool) {
	s := strings.TrimLeft(p.rest, " \t")
	if s == "" {
		p.rest = ""
		return "", "", "", false, false
	}
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		end = len(s)
	}
	param, p.rest = s[:end], s[end:]
	name, value, has = strings.Cut(param, "=")
	return param, name, value, has, true
}
