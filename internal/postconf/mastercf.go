package postconf

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
)

// maxServices bounds the number of services in master.cf.
const maxServices = 4096

// The columns of master.cf.
const (
	colName = iota
	colType
	colPrivate
	colUnprivileged
	colChroot
	colWakeup
	colMaxProc
	colCommand
	numColumns
)

// Override is one "-o name=value" of a service.
type Override struct{ Name, Value string }

// Service is one entry of master.cf.
type Service struct {
	// Name, Type and Command are the columns of that name.
	Name, Type, Command string
	// Private, Unprivileged and Chroot are 'y', 'n' or '-' as written; IsPrivate
	// and the others apply the defaults.
	Private, Unprivileged, Chroot byte
	// Wakeup is the number of seconds between wakeups, 0 for never.
	Wakeup int
	// WakeupIfUsed is the "?" after the number: wake it up only once it was used.
	WakeupIfUsed bool
	// MaxProc is the process limit; 0 is no limit, -1 the default limit.
	MaxProc int
	// Args are the arguments, with "-o" and its "name=value" as two items and
	// without outer braces.
	Args []string
	// Overrides are the "-o" settings in order; the last one of a name counts.
	Overrides []Override
	// Disabled is set when master_service_disable matches.
	Disabled bool
	// Superseded is set when a later entry has the same name and type.
	Superseded bool
	Origin
	// columns are the eight columns as written.
	columns []string
}

// Column returns a column as written, counting from 0; the eighth is the command.
func (s *Service) Column(i int) string { return s.columns[i] }

// IsPrivate says whether the socket is in the private directory.
func (s *Service) IsPrivate() bool { return s.Private != 'n' }

// IsUnprivileged says whether the program runs as mail_owner.
func (s *Service) IsUnprivileged() bool { return s.Unprivileged != 'n' }

// Program returns the name of the program without a directory.
func (s *Service) Program() string { return path.Base(s.Command) }

// ID returns "name/type".
func (s *Service) ID() string { return s.Name + "/" + s.Type }

// Override returns the value of the last "-o" setting of a parameter.
func (s *Service) Override(name string) (string, bool) {
	for i := len(s.Overrides) - 1; i >= 0; i-- {
		if s.Overrides[i].Name == name {
			return s.Overrides[i].Value, true
		}
	}
	return "", false
}

// ParseMaster reads the text of a master.cf. file is used in messages only. An
// entry that is wrong is left out and reported.
func ParseMaster(file string, data []byte) ([]*Service, []Problem) {
	var services []*Service
	var problems []Problem
	report := func(line int, fatal bool, format string, args ...any) {
		problems = append(problems, Problem{Fatal: fatal, Origin: Origin{file, line}, Text: fmt.Sprintf(format, args...)})
	}
	lines := logicalLines(data, func(line int, text string) {
		report(line, false, "logical line must not start with whitespace: \"%s\"", startOf(text))
	})
	seen := map[string]*Service{}
	for _, l := range lines {
		if len(services) == maxServices {
			report(l.first, true, "more than %d services", maxServices)
			break
		}
		s, warnings, err := ParseService(l.text)
		for _, w := range warnings {
			report(l.first, false, "%s", w)
		}
		if err != nil {
			report(l.first, true, "%v", err)
			continue
		}
		s.Origin = Origin{file, l.first}
		if why := s.refused(); why != "" {
			report(l.first, true, "%s", why)
		}
		key := s.Type + ":" + s.endpoint()
		if old := seen[key]; old != nil {
			report(l.first, false, "duplicate master.cf entry for service \"%s\" (line %d) -- using the last entry", s.Name, old.Line)
			old.Superseded = true
		}
		seen[key] = s
		services = append(services, s)
	}
	return services, problems
}

// refused says why master(8) would not start an entry that can be read.
func (s *Service) refused() string {
	if s.Type != "inet" {
		return ""
	}
	if _, _, err := s.HostPort(); err != nil {
		return err.Error() + " in \"" + s.Name + "\""
	}
	if s.Private != 'n' {
		return "inet service cannot be private"
	}
	return ""
}

// masterBlanks separate the columns of master.cf.
const masterBlanks = " \t\r\n"

// ParseService reads one logical line of master.cf. The warnings are about
// arguments that are not quite right.
func ParseService(line string) (s *Service, warnings []string, err error) {
	fields := splitBraces(line, masterBlanks)
	if len(fields) < numColumns {
		return nil, nil, fmt.Errorf("bad field count in \"%s\"", clip(line))
	}
	return parseColumns(fields, line)
}

// parseColumns reads the columns of an entry, of which the last may hold arguments
// too. Errors quote line.
func parseColumns(fields []string, line string) (s *Service, warnings []string, err error) {
	if command := splitBraces(fields[colCommand], masterBlanks); len(command) > 1 {
		fields = append(fields[:colCommand:colCommand], command...)
	}
	s = &Service{
		Name: fields[colName], Type: fields[colType], Command: fields[colCommand],
		columns: fields[:numColumns:numColumns],
	}
	switch s.Type {
	case "inet", "unix", "unix-dgram", "fifo", "pass":
	default:
		return nil, nil, fieldError("type", s.Type, line)
	}
	for _, c := range [...]struct {
		to   *byte
		col  int
		name string
	}{{&s.Private, colPrivate, "private"}, {&s.Unprivileged, colUnprivileged, "unprivileged"}, {&s.Chroot, colChroot, "chroot"}} {
		if *c.to, err = yesNo(fields[c.col]); err != nil {
			return nil, nil, fieldError(c.name, fields[c.col], line)
		}
	}
	if s.Wakeup, s.WakeupIfUsed, err = parseWakeup(fields[colWakeup]); err != nil {
		return nil, nil, fieldError("wakeup", fields[colWakeup], line)
	}
	if s.MaxProc, err = parseCount(fields[colMaxProc], -1); err != nil {
		return nil, nil, fieldError("process_limit", fields[colMaxProc], line)
	}
	warnings = s.readArgs(fields[numColumns:])
	return s, warnings, nil
}

// fieldError is the error for a column that is wrong.
func fieldError(field, text, line string) error {
	return fmt.Errorf("invalid %s field \"%s\" in \"%s\"", field, clip(text), clip(line))
}

// yesNo reads a column that is y, n or -.
func yesNo(s string) (byte, error) {
	if s != "y" && s != "n" && s != "-" {
		return 0, strconv.ErrSyntax
	}
	return s[0], nil
}

// parseCount reads a column that is a number or "-".
func parseCount(s string, dflt int) (int, error) {
	if s == "-" {
		return dflt, nil
	}
	if !allDigits(s) {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > math.MaxInt32 {
		return 0, strconv.ErrRange
	}
	return int(n), nil
}

// parseWakeup reads the wakeup column.
func parseWakeup(s string) (seconds int, ifUsed bool, err error) {
	t := strings.TrimSuffix(s, "?")
	seconds, err = parseCount(t, 0)
	return seconds, t != s && seconds > 0, err
}

// readArgs reads the arguments and brings them into one form: "-o" and
// "name=value" are two items, bundled options are taken apart, braces removed.
func (s *Service) readArgs(args []string) (warnings []string) {
	warn := func(why string) {
		if why != "" {
			warnings = append(warnings, why)
		}
	}
	options := true
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if options && (arg[0] != '-' || arg == "--") {
			options = false
		}
		if !options {
			inner, why := Unbrace(arg)
			warn(why)
			s.Args = append(s.Args, inner)
			continue
		}
		at := strings.IndexByte(arg[1:], 'o') + 1
		if at == 0 {
			s.Args = append(s.Args, arg)
			continue
		}
		if at > 1 {
			s.Args = append(s.Args, arg[:at])
		}
		s.Args = append(s.Args, "-o")
		value := arg[at+1:]
		if value == "" {
			if i++; i == len(args) {
				warn("option \"-o\" has no value")
				break
			}
			value = args[i]
		}
		warn(s.addOverride(value))
	}
	return warnings
}

// addOverride reads the value of a "-o".
func (s *Service) addOverride(text string) (why string) {
	if text[0] == '{' {
		text, why = Unbrace(text)
		if name, value, bad := splitNameValue(text); bad == "" {
			text = name + "=" + value
		}
	}
	s.Args = append(s.Args, text)
	name, value, bad := splitNameValue(text)
	if bad != "" {
		return bad + ": \"" + clip(text) + "\""
	}
	s.Overrides = append(s.Overrides, Override{name, value})
	return why
}
