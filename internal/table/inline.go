package table

import (
	"errors"
	"fmt"
	"strings"
)

// openInline opens inline:{ key=value, {key = value with comma}, ... }.
func openInline(name string, o *Options) (Table, error) {
	title := "inline:" + name
	const need = "need \"inline:{name=value...}\""
	inner, err := braced(name)
	pairs := splitBraced(inner)
	if err != nil || len(pairs) == 0 {
		return nil, fmt.Errorf("bad syntax: \"%s\"; %s", title, need)
	}
	m := &memory{name: title, entries: make(map[string]string)}
	for _, pair := range pairs {
		if pair[0] == '{' {
			if pair, err = braced(pair); err != nil {
				return nil, fmt.Errorf("%w: \"%s\"; %s", err, title, need)
			}
		}
		key, value, err := splitNameValue(pair)
		if err != nil {
			return nil, fmt.Errorf("%w: \"%s\"; %s", err, title, need)
		}
		if !o.KeepCase {
			key = Fold(key, o.UTF8)
		}
		if !m.add(key, value) {
			m.entries[key] = value // the last one counts
		}
	}
	return m, nil
}

// Errors of a "name = value" pair, in the words of Postfix.
var (
	errNoName   = errors.New("missing attribute name")
	errNoEquals = errors.New("missing '=' after attribute name")
	errNoKey    = errors.New("no key found; expected format: key = value")
	errUnquoted = errors.New("unbalanced '\"'")
)

// splitNameValue splits "name = value"; the name has no white space outside
// double quotes, which are part of it.
func splitNameValue(s string) (name, value string, err error) {
	s = trimSpace(s)
	if s == "" {
		return "", "", errNoKey
	}
	end, quoted := 0, false
	for end < len(s) && (quoted || s[end] != '=' && !isSpace(s[end])) {
		switch s[end] {
		case '\\':
			end++
		case '"':
			quoted = !quoted
		}
		end++
	}
	if quoted {
		return "", "", errUnquoted
	}
	end = min(end, len(s))
	name, rest := s[:end], strings.TrimLeft(s[end:], asciiSpace)
	if rest == "" || rest[0] != '=' {
		if name == "" {
			return "", "", errNoName
		}
		return "", "", errNoEquals
	}
	return name, strings.TrimLeft(rest[1:], asciiSpace), nil
}
