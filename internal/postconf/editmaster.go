package postconf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MasterPart says which part of an entry of master.cf an edit is about.
type MasterPart byte

// The parts.
const (
	WholeEntry MasterPart = iota
	EntryField
	EntryParam
)

// FieldNames are the names of the columns, as postconf -F has them.
func FieldNames() []string {
	return []string{"service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"}
}

// MasterEdit is one wanted change of master.cf.
type MasterEdit struct {
	// Text is the argument from which it was made.
	Text string
	// Name and Type choose the entries; "*" fits any.
	Name, Type string
	// Field is the number of the column, for EntryField.
	Field int
	// Param is the parameter, for EntryParam.
	Param string
	// Value is the new value, column or entry.
	Value string
}

// Matches reports whether the edit is about the service.
func (e *MasterEdit) matches(name, typ string) bool {
	return (e.Name == "*" || e.Name == name) && (e.Type == "*" || e.Type == typ)
}

// ParseServicePattern splits "name/type/..." into at least minimum and at most
// maximum parts; parts that are missing become "*". A "*" stands alone.
func ParseServicePattern(text string, minimum, maximum int) ([]string, bool) {
	if strings.HasPrefix(text, "/") {
		return nil, false
	}
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == '/' })
	if len(parts) < minimum || len(parts) > maximum {
		return nil, false
	}
	for _, p := range parts {
		if p != "*" && strings.IndexByte(p, '*') >= 0 {
			return nil, false
		}
	}
	for len(parts) < maximum {
		parts = append(parts, "*")
	}
	return parts, true
}

// ParseField returns the number of a column, or -1 for "*".
func ParseField(name string) (int, error) {
	if name == "*" {
		return -1, nil
	}
	if i := slices.Index(FieldNames(), name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("invalid service attribute name: \"%s\"", name)
}

// ParseMasterEdit reads an argument of postconf -M, -F or -P when it edits. The
// errors are in the words of Postfix.
func ParseMasterEdit(mode EditMode, part MasterPart, arg string) (MasterEdit, error) {
	e := MasterEdit{Text: arg}
	const options = "-Me, -Fe, -Pe, -X, or -#"
	if strings.IndexByte(arg, '\n') >= 0 {
		return e, errors.New(options + " accept no multi-line input")
	}
	pattern := strings.TrimLeft(arg, spaces)
	if strings.HasPrefix(pattern, "#") {
		return e, errors.New(options + " accept no comment input")
	}
	if mode == EditSet {
		var why string
		if pattern, e.Value, why = splitNameValue(pattern); why != "" {
			return e, fmt.Errorf("%s: \"%s\"", why, arg)
		}
	} else if strings.IndexByte(pattern, '=') >= 0 {
		return e, errors.New("-X or -# requires names without value")
	}
	return e, e.readPattern(mode, part, pattern)
}

// readPattern reads what comes before the "=".
func (e *MasterEdit) readPattern(mode EditMode, part MasterPart, pattern string) error {
	count := 3
	if part == WholeEntry {
		count = 2
	}
	parts, ok := ParseServicePattern(pattern, count, count)
	if !ok {
		return errors.New([...]string{
			"-Me, -MX or -M# requires service_name/type",
			"-Fe or -FX requires service_name/type/field_name",
			"-Pe or -PX requires service_name/type/parameter",
		}[part])
	}
	e.Name, e.Type = parts[0], parts[1]
	white := strings.ContainsAny(e.Value, " \t\r\n")
	switch part {
	case EntryField:
		field, err := ParseField(parts[2])
		switch {
		case err != nil:
			return err
		case field < 0:
			return errors.New("-Fe does not accept wild-card field name")
		case mode == EditSet && e.Value == "":
			// Postfix writes it, and the other columns move.
			return errors.New("-Fe requires a value: \"" + e.Text + "\"")
		case mode == EditSet && field < colCommand && white:
			return errors.New("-Fe does not accept whitespace in non-command field")
		}
		e.Field = field
	case EntryParam:
		if e.Param = parts[2]; e.Param == "*" {
			return errors.New("-Pe does not accept wild-card parameter name")
		}
		if mode == EditSet && white {
			return errors.New("-Pe does not accept whitespace in parameter value")
		}
	}
	return nil
}

// masterEditor is the state of EditMaster.
type masterEditor struct {
	file  string
	mode  EditMode
	part  MasterPart
	edits []MasterEdit
	// count has, for each edit, how many entries it was about.
	count    []int
	warnings []string
	out      strings.Builder
}

// EditMaster returns the text of master.cf with the changes made. Entries that no
// edit is about stay as they are, and so do comments. The warnings and the error
// are in the words of Postfix; with an error there is no text.
func EditMaster(file string, data []byte, mode EditMode, part MasterPart, edits []MasterEdit) (out []byte, warnings []string, err error) {
	m := &masterEditor{file: file, mode: mode, part: part, edits: edits, count: make([]int, len(edits))}
	lines := physicalLines(data)
	for i := 0; i < len(lines); {
		if lines[i].kind != lineStart {
			m.out.WriteString(lines[i].text)
			i++
			continue
		}
		end := i + 1
		for end < len(lines) && lines[end].kind != lineStart {
			end++
		}
		if err := m.entry(i+1, lines[i:end]); err != nil {
			return nil, m.warnings, err
		}
		i = end
	}
	for i, e := range edits {
		switch {
		case m.count[i] > 0:
		case part == WholeEntry && mode == EditSet:
			s, err := m.parseNew(e)
			if err != nil {
				return nil, m.warnings, err
			}
			if err := m.write(s); err != nil {
				return nil, m.warnings, err
			}
		case part != WholeEntry:
			m.warnings = append(m.warnings, fmt.Sprintf("unmatched service_name/type: \"%s\"", e.Text))
		}
	}
	return []byte(m.out.String()), m.warnings, nil
}

// physicalLine is a line as it stands in the file.
type physicalLine struct {
	text string
	kind lineKind
}

// physicalLines splits data into its lines.
func physicalLines(data []byte) []physicalLine {
	var lines []physicalLine
	walkLines(data, func(text string, kind lineKind) {
		lines = append(lines, physicalLine{text, kind})
	})
	return lines
}

// parseNew reads the entry that an edit wants.
func (m *masterEditor) parseNew(e MasterEdit) (*Service, error) {
	s, warnings, err := ParseService(e.Value)
	for _, w := range warnings {
		if strings.Contains(w, "'}'") {
			m.warnings = append(m.warnings, "master.cf: "+w)
		}
	}
	if err != nil && strings.HasPrefix(err.Error(), "bad field count") {
		return nil, fmt.Errorf("bad field count: \"%s\"", e.Text)
	}
	return s, err
}

// write appends an entry.
func (m *masterEditor) write(s *Service) error {
	text, err := s.Format(true, nil)
	if err != nil {
		return err
	}
	m.out.WriteString(text + "\n")
	return nil
}

// entry deals with one entry: its lines and the comments up to the next one.
func (m *masterEditor) entry(number int, lines []physicalLine) error {
	name, typ, err := m.nameType(number, lines[0].text)
	if err != nil {
		return err
	}
	var replacement *Service
	matched := false
	for i := range m.edits {
		s, hit, err := m.apply(i, name, typ, number, lines, replacement)
		if err != nil {
			return err
		}
		matched = matched || hit
		if s != nil {
			replacement = s
		}
	}
	return m.emit(lines, replacement, matched)
}

// nameType reads the first two columns, which have to be on one line.
func (m *masterEditor) nameType(number int, line string) (name, typ string, err error) {
	fields := strings.Fields(line)
	fail := func(format string, args ...any) (string, string, error) {
		return "", "", fmt.Errorf("file %s: line %d: "+format, append([]any{m.file, number}, args...)...)
	}
	const options = "-Me, -Fe, -Pe, -X, or -#"
	switch {
	case len(fields) < 2:
		return fail("specify service name and type on the same line")
	case strings.IndexByte(fields[0], '=') >= 0:
		return fail("service name syntax \"%s\" is unsupported with %s", fields[0], options)
	case strings.ContainsAny(fields[1], "=/"):
		return fail("service type syntax \"%s\" is unsupported with %s", fields[1], options)
	}
	return fields[0], fields[1], nil
}

// apply applies one edit to an entry, which earlier edits may have changed to
// current. hit says that the edit is about the entry; s is the changed entry.
func (m *masterEditor) apply(i int, name, typ string, number int, lines []physicalLine, current *Service) (s *Service, hit bool, err error) {
	e := &m.edits[i]
	if m.part == WholeEntry {
		var wanted *Service
		if m.mode == EditSet {
			if wanted, err = m.parseNew(*e); err != nil {
				return nil, false, err
			}
		}
		// An entry of the new name and type gives way too, so that there is no
		// duplicate.
		if !e.matches(name, typ) && (wanted == nil || wanted.Name != name || wanted.Type != typ) {
			return nil, false, nil
		}
		if m.count[i]++; m.count[i] > 1 {
			wanted = nil
		}
		return wanted, true, nil
	}
	if !e.matches(name, typ) {
		return nil, false, nil
	}
	m.count[i]++
	if m.mode == EditComment || m.part == EntryField && m.mode != EditSet {
		return nil, true, nil
	}
	if current == nil {
		var text strings.Builder
		for _, l := range lines {
			if l.kind != lineOther {
				text.WriteString(strings.TrimSuffix(l.text, "\n"))
			}
		}
		if current, _, err = ParseService(text.String()); err != nil {
			return nil, true, fmt.Errorf("file %s: line %d: %v", m.file, number, err)
		}
	}
	if m.part == EntryField {
		current, err = current.withField(e.Field, e.Value)
		return current, true, err
	}
	current.setParam(e.Param, e.Value, m.mode == EditDelete)
	return current, true, nil
}

// emit writes an entry: as it was, changed, as a comment, or not at all.
func (m *masterEditor) emit(lines []physicalLine, replacement *Service, matched bool) error {
	if replacement != nil {
		if m.part != WholeEntry {
			// Comments inside of the entry and behind it come before it.
			for _, l := range lines {
				if l.kind == lineOther {
					m.out.WriteString(l.text)
				}
			}
			return m.write(replacement)
		}
		if err := m.write(replacement); err != nil {
			return err
		}
	}
	for _, l := range lines {
		switch {
		case l.kind == lineOther || !matched:
			m.out.WriteString(l.text)
		case m.mode == EditComment:
			m.out.WriteString("#" + l.text)
		}
	}
	return nil
}

// withField returns the entry with another value in a column.
func (s *Service) withField(field int, value string) (*Service, error) {
	columns := slices.Clone(s.columns)
	columns[field] = value
	t, _, err := parseColumns(columns, value)
	if err != nil || field == colCommand {
		return t, err
	}
	t.Args, t.Overrides = s.Args, s.Overrides
	return t, nil
}

// setParam sets or removes a "-o name=value".
func (s *Service) setParam(name, value string, remove bool) {
	var args []string
	found, i := false, 0
	for ; i < len(s.Args) && strings.HasPrefix(s.Args[i], "-") && s.Args[i] != "--"; i++ {
		if s.Args[i] != "-o" || i+1 == len(s.Args) {
			args = append(args, s.Args[i])
			continue
		}
		i++
		if n, _, _ := strings.Cut(s.Args[i], "="); n != name {
			args = append(args, "-o", s.Args[i])
			continue
		}
		found = true
		if !remove {
			args = append(args, "-o", name+"="+value)
		}
	}
	if !found && !remove {
		args = append(args, "-o", name+"="+value)
	}
	s.Args = append(args, s.Args[i:]...)
}
