package testkit

import (
	"fmt"
	"strings"
)

// Archive is one text file that holds several named sections. A line
//
//	-- NAME ARGUMENTS --
//
// begins a section, which lasts until the next such line. The text before the
// first one is the comment.
type Archive struct {
	Comment  string
	Sections []Section
}

// Section is one part of an Archive.
type Section struct {
	// Name is the first word of the heading.
	Name string
	// Args are the further words.
	Args []string
	// Text is what stands below, line ends included.
	Text string
	// Line is the number of the heading's line, for messages.
	Line int
}

// ParseArchive splits text into its sections.
func ParseArchive(text string) (*Archive, error) {
	a := &Archive{}
	var body strings.Builder
	var open *Section
	flush := func() {
		if open == nil {
			a.Comment = body.String()
		} else {
			open.Text = body.String()
			a.Sections = append(a.Sections, *open)
		}
		body.Reset()
	}
	for i, line := range strings.SplitAfter(text, "\n") {
		head, ok := heading(line)
		if !ok {
			body.WriteString(line)
			continue
		}
		words := strings.Fields(head)
		if len(words) == 0 {
			return nil, fmt.Errorf("line %d: a section needs a name", i+1)
		}
		flush()
		open = &Section{Name: words[0], Args: words[1:], Line: i + 1}
	}
	flush()
	return a, nil
}

// heading returns the words of a section's first line.
func heading(line string) (string, bool) {
	line = strings.TrimRight(line, "\r\n")
	inner, ok := strings.CutPrefix(line, "-- ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(inner, " --")
}

// Find returns the first section of that name.
func (a *Archive) Find(name string) (Section, bool) {
	for _, s := range a.Sections {
		if s.Name == name {
			return s, true
		}
	}
	return Section{}, false
}

// All returns every section of that name, in order.
func (a *Archive) All(name string) []Section {
	var found []Section
	for _, s := range a.Sections {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}
