package milter

import (
	"errors"
	"fmt"
	"strings"

	"postroad/internal/postconf"
)

// Macros gives the value of a macro. The name is always in braces: "{i}",
// "{mail_addr}". ok is false for one that has no value now.
type Macros func(name string) (value string, ok bool)

// stage says with which event a list of macros goes. The numbers up to
// stageEndOfHeader are those of the protocol (SMFIM_*).
type stage int

const (
	stageConnect stage = iota
	stageHelo
	stageMail
	stageRcpt
	stageData
	stageEndOfData
	stageEndOfHeader
	stageUnknown
	macroStages
)

// macroLists are names of macros by stage, as the administrator or the filter
// wrote them: "j" or "{daemon_name}".
type macroLists [macroStages][]string

// splitNames cuts a list of macro names. Braces are part of names.
func splitNames(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// braced is the form of a name under which it is looked up.
func braced(name string) string {
	if strings.HasPrefix(name, "{") {
		return name
	}
	return "{" + name + "}"
}

// evaluate returns names and values in turn, as they are sent. A macro without a
// value is left out.
func (c *Config) evaluate(names []string, values Macros) []string {
	out := make([]string, 0, 2*len(names))
	for _, name := range names {
		key := braced(name)
		value, ok := values(key)
		if !ok {
			value, ok = c.defaults[key]
		}
		if ok {
			out = append(out, name, value)
		}
	}
	return out
}

// errDefault is the error of milter_macro_defaults.
var errDefault = errors.New("malformed default macro entry")

// parseDefaults reads milter_macro_defaults: name=value or {name = value}, where
// the name may be in braces itself.
func parseDefaults(items []string) (map[string]string, []string, error) {
	defaults := make(map[string]string, len(items))
	var warnings []string
	for _, item := range items {
		text := item
		if end := closingBrace(text); end == len(text)-1 && end > 0 {
			inner, why := postconf.Unbrace(text)
			if why != "" {
				return nil, nil, fmt.Errorf("%w: %s in %q", errDefault, why, item)
			}
			text = inner
		}
		name, value, ok := strings.Cut(text, "=")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); !ok || name == "" {
			return nil, nil, fmt.Errorf("%w: %q", errDefault, item)
		}
		if name = braced(name); hasKey(defaults, name) {
			warnings = append(warnings, "ignoring multiple default macro entries for "+name)
			continue
		}
		defaults[name] = value
	}
	return defaults, warnings, nil
}

func hasKey(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}

// closingBrace is where the brace at the front of s is closed, or -1.
func closingBrace(s string) int {
	if !strings.HasPrefix(s, "{") {
		return -1
	}
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
