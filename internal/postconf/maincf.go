package postconf

import (
	"fmt"
	"strings"
)

// maxSettings bounds the number of different names in main.cf.
const maxSettings = 20_000

// Setting is one "name = value".
type Setting struct {
	Name, Value string
	Origin
}

// Main is what main.cf says.
type Main struct {
	// File is the path of the file.
	File string
	// settings has the setting that counts for each name.
	settings map[string]*Setting
	// names has the names in the order of their first appearance.
	names []string
}

// Lookup returns the setting of a name.
func (m *Main) Lookup(name string) (*Setting, bool) {
	s, ok := m.settings[name]
	return s, ok
}

// Names returns the names that are set, in the order of the file.
func (m *Main) Names() []string { return append([]string(nil), m.names...) }

// ParseMain reads the text of a main.cf. file is used in messages only.
func ParseMain(file string, data []byte) (*Main, []Problem) {
	m := &Main{File: file, settings: map[string]*Setting{}}
	var problems []Problem
	warn := func(line int, fatal bool, format string, args ...any) {
		problems = append(problems, Problem{Fatal: fatal, Origin: Origin{file, line}, Text: fmt.Sprintf(format, args...)})
	}
	lines := logicalLines(data, func(line int, text string) {
		warn(line, false, "logical line must not start with whitespace: \"%s\"", startOf(text))
	})
	for _, l := range lines {
		text := l.text
		if i := strings.IndexByte(text, 0); i >= 0 {
			warn(l.first, false, "text after null byte may be ignored")
			text = text[:i]
		}
		name, value, why := splitNameValue(text)
		if why != "" {
			warn(l.first, true, "%s: \"%s\"", why, clip(text))
			continue
		}
		s := &Setting{name, value, Origin{file, l.first}}
		old, again := m.settings[name]
		switch {
		case !again && len(m.names) == maxSettings:
			warn(l.first, true, "more than %d parameters", maxSettings)
			return m, problems
		case !again:
			m.names = append(m.names, name)
		case old.Value != value:
			warn(l.first, false, "overriding earlier entry: %s=%s", name, clipTo(old.Value, 2000))
		}
		m.settings[name] = s
	}
	return m, problems
}

// startOf returns the start of a line for a message.
func startOf(s string) string {
	if len(s) > 30 {
		return s[:30] + "..."
	}
	return s
}
