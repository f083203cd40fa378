package table

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of text in braces, in the words of Postfix.
var (
	errNoOpenBrace  = errors.New("no '{' at start of text")
	errNoCloseBrace = errors.New("missing '}'")
	errAfterBrace   = errors.New("syntax error after '}'")
)

// commaSpace separates the members of a list.
const commaSpace = ", \t\r\n"

// balance returns the index of the brace that closes the one at s[0], or -1.
// As in Postfix nothing protects a brace, so that they must be balanced.
func balance(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}

// braced returns the text inside "{ ... }", where nothing may follow.
func braced(s string) (string, error) {
	if !strings.HasPrefix(s, "{") {
		return "", fmt.Errorf("%w in \"%s\"", errNoOpenBrace, s)
	}
	end := balance(s)
	if end < 0 {
		return "", fmt.Errorf("%w in \"%s\"", errNoCloseBrace, s)
	}
	if end+1 < len(s) {
		return "", fmt.Errorf("%w in \"%s\"", errAfterBrace, s)
	}
	return s[1:end], nil
}

// splitBraced splits a list at commas and white space; text in braces stays
// together, with its braces.
func splitBraced(s string) []string {
	var out []string
	for {
		s = strings.TrimLeft(s, commaSpace)
		if s == "" {
			return out
		}
		end, depth := 0, 0
		for end < len(s) && (depth > 0 || strings.IndexByte(commaSpace, s[end]) < 0) {
			switch s[end] {
			case '{':
				depth++
			case '}':
				depth--
			}
			end++
		}
		out = append(out, s[:end])
		s = s[end:]
	}
}
