package postconf

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// EditMode says what an edit does.
type EditMode byte

// The modes of an edit.
const (
	EditSet     EditMode = iota // set a value
	EditComment                 // put "#" before the lines
	EditDelete                  // remove the lines
)

// MainEdit is one wanted change of main.cf.
type MainEdit struct{ Name, Value string }

// ParseMainEdit reads an argument of postconf(1): "name=value" for EditSet, else
// a name. The errors are in the words of Postfix.
func ParseMainEdit(mode EditMode, arg string) (MainEdit, error) {
	if strings.IndexByte(arg, '\n') >= 0 {
		return MainEdit{}, errors.New("-e, -X, or -# accepts no multi-line input")
	}
	text := strings.TrimLeft(arg, spaces)
	if strings.HasPrefix(text, "#") {
		return MainEdit{}, errors.New("-e, -X, or -# accepts no comment input")
	}
	if mode == EditSet {
		name, value, why := splitNameValue(text)
		if why != "" {
			return MainEdit{}, fmt.Errorf("%s: \"%s\"", why, text)
		}
		return MainEdit{name, value}, nil
	}
	if text == "" {
		return MainEdit{}, errors.New("-X or -# requires non-blank parameter names")
	}
	if strings.IndexByte(text, '=') >= 0 {
		return MainEdit{}, errors.New("-X or -# requires parameter names without value")
	}
	return MainEdit{Name: text}, nil
}

// EditMain returns the text of main.cf with the changes made: each entry of a
// name is replaced, made a comment or removed, and a name that has none is added
// at the end. Everything else, comments and order included, stays as it is. The
// warnings are in the words of Postfix.
func EditMain(file string, data []byte, mode EditMode, edits []MainEdit) (out []byte, warnings []string) {
	type want struct {
		value string
		found int
	}
	wants := map[string]*want{}
	for _, e := range edits {
		if old := wants[e.Name]; old != nil && mode == EditSet && old.value != e.Value {
			warnings = append(warnings, fmt.Sprintf("ignoring earlier request: '%s = %s'", e.Name, old.value))
		}
		wants[e.Name] = &want{value: e.Value}
	}
	var b strings.Builder
	inside := false // the lines belong to an entry that is changed
	walkLines(data, func(line string, kind lineKind) {
		switch kind {
		case lineOther:
			b.WriteString(line)
			return
		case lineStart:
			name := line[:strings.IndexAny(line, spaces+"=")]
			w := wants[name]
			if inside = w != nil; inside {
				if w.found++; w.found == 2 {
					warnings = append(warnings, fmt.Sprintf("%s: multiple entries for \"%s\"", file, name))
				}
				if mode == EditSet {
					fmt.Fprintf(&b, "%s = %s\n", name, w.value)
				}
			}
		}
		switch {
		case !inside:
			b.WriteString(line)
		case mode == EditComment:
			b.WriteString("#" + line)
		}
	})
	if mode == EditSet {
		var missing []string
		for name, w := range wants {
			if w.found == 0 {
				missing = append(missing, name)
			}
		}
		sort.Strings(missing)
		for _, name := range missing {
			fmt.Fprintf(&b, "%s = %s\n", name, wants[name].value)
		}
	}
	return []byte(b.String()), warnings
}

// lineKind is what a physical line is to an editor.
type lineKind byte

const (
	lineOther lineKind = iota // a comment or nothing
	lineStart                 // the start of an entry
	lineMore                  // the continuation of an entry
)

// walkLines calls f for each physical line of data, with its line end, which the
// last line is given if it has none.
func walkLines(data []byte, f func(line string, kind lineKind)) {
	for len(data) > 0 {
		var raw []byte
		raw, data = nextLine(data)
		line := string(raw) + "\n"
		trimmed := strings.TrimLeft(line, spaces)
		switch {
		case trimmed == "" || trimmed[0] == '#':
			f(line, lineOther)
		case len(trimmed) < len(line):
			f(line, lineMore)
		default:
			f(line, lineStart)
		}
	}
}
