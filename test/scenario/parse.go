package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"postroad/internal/testkit"
)

// Scenario is one parsed file.
type Scenario struct {
	// Name is the file's name without its suffix.
	Name string
	// Story is the text before the first section.
	Story string
	// Main and Master are added to the common configuration.
	Main, Master string
	// Files are to be written before the start.
	Files []File
	// Maps are to be built with postmap before the start, as "TYPE:PATH".
	Maps []string
	// Aliases tells whether /etc/aliases is among the files.
	Aliases bool
	// Zones are the DNS by name; "" is the one to begin with.
	Zones map[string]string
	// Sinks are the remote servers.
	Sinks []Sink
	// Steps are the script.
	Steps []Step
	// Differs leads from Postfix 3.7 to 3.11.
	Differs []Differ
}

// File is a file on the server's machine.
type File struct {
	Path, Text, Owner string
	Mode              os.FileMode
}

// Sink is a remote server: its address and its script.
type Sink struct{ Addr, Script string }

// local tells whether the sink is a UNIX socket.
func (s Sink) local() bool { return strings.HasPrefix(s.Addr, "/") }

// Step is one line of the script.
type Step struct {
	Line int
	Text string
}

// Load reads every scenario of a directory, in the order of their names.
func Load(dir string) ([]*Scenario, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.scn"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no scenarios in %s", dir)
	}
	common, err := os.ReadFile(filepath.Join(dir, "differs.txt"))
	if err != nil {
		return nil, err
	}
	always, err := parseDiffers(string(common))
	if err != nil {
		return nil, err
	}
	var all []*Scenario
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		s, err := Parse(strings.TrimSuffix(filepath.Base(p), ".scn"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		s.Differs = append(append([]Differ(nil), always...), s.Differs...)
		all = append(all, s)
	}
	return all, nil
}

// Parse reads one scenario.
func Parse(name, text string) (*Scenario, error) {
	a, err := testkit.ParseArchive(text)
	if err != nil {
		return nil, err
	}
	s := &Scenario{Name: name, Story: strings.TrimSpace(a.Comment), Zones: map[string]string{"": ""}}
	for _, sec := range a.Sections {
		if err := s.section(sec); err != nil {
			return nil, fmt.Errorf("line %d: section %s: %w", sec.Line, sec.Name, err)
		}
	}
	if s.Story == "" {
		return nil, fmt.Errorf("a scenario begins with the sentence it tells")
	}
	if len(s.Steps) == 0 {
		return nil, fmt.Errorf("no script")
	}
	return s, nil
}

// section takes one part of the file.
func (s *Scenario) section(sec testkit.Section) error {
	arg := func(i int) string {
		if i < len(sec.Args) {
			return sec.Args[i]
		}
		return ""
	}
	switch sec.Name {
	case "main.cf":
		s.Main = sec.Text
	case "master.cf":
		s.Master = sec.Text
	case "map":
		if len(sec.Args) != 2 {
			return fmt.Errorf("want a type and a path")
		}
		s.Files = append(s.Files, File{Path: arg(1), Text: sec.Text, Mode: 0o644})
		s.Maps = append(s.Maps, arg(0)+":"+arg(1))
	case "aliases":
		s.Aliases = true
		s.Files = append(s.Files, File{Path: "/etc/aliases", Text: sec.Text, Mode: 0o644})
	case "file":
		f, err := parseFile(sec)
		if err != nil {
			return err
		}
		s.Files = append(s.Files, f)
	case "text":
		if len(sec.Args) != 1 {
			return fmt.Errorf("want a name")
		}
		s.Files = append(s.Files, File{Path: textPath(arg(0)), Text: sec.Text, Mode: 0o644})
	case "zone":
		if _, err := testkit.ParseZone(sec.Text); err != nil {
			return err
		}
		s.Zones[arg(0)] = sec.Text
	case "sink":
		if len(sec.Args) != 1 {
			return fmt.Errorf("want an address")
		}
		s.Sinks = append(s.Sinks, Sink{Addr: arg(0), Script: sec.Text})
	case "script":
		s.script(sec)
	case "differs":
		d, err := parseDiffers(sec.Text)
		s.Differs = d
		return err
	default:
		return fmt.Errorf("unknown")
	}
	return nil
}

// textPath is where a text lies until the box knows its work directory.
func textPath(name string) string { return "work/" + name }

// parseFile reads the heading of a file.
func parseFile(sec testkit.Section) (File, error) {
	if len(sec.Args) == 0 {
		return File{}, fmt.Errorf("want a path")
	}
	f := File{Path: sec.Args[0], Text: sec.Text, Mode: 0o644}
	for i := 1; i+1 < len(sec.Args); i += 2 {
		switch sec.Args[i] {
		case "owner":
			f.Owner = sec.Args[i+1]
		case "mode":
			m, err := strconv.ParseUint(sec.Args[i+1], 8, 32)
			if err != nil {
				return File{}, err
			}
			f.Mode = os.FileMode(m)
		default:
			return File{}, fmt.Errorf("unknown word %q", sec.Args[i])
		}
	}
	return f, nil
}

// script splits the script into steps.
func (s *Scenario) script(sec testkit.Section) {
	n := sec.Line
	for line := range strings.Lines(sec.Text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if t := strings.TrimSpace(line); t == "" || t[0] == '#' {
			continue
		}
		s.Steps = append(s.Steps, Step{Line: n, Text: line})
	}
}

// has tells whether a line of the script is exactly that word.
func (s *Scenario) has(word string) bool {
	for _, st := range s.Steps {
		if strings.TrimSpace(st.Text) == word {
			return true
		}
	}
	return false
}
