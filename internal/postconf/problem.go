package postconf

import (
	"strconv"
	"strings"
)

// Origin is the place of a setting.
type Origin struct {
	// File is the path of the file, or a word such as "built-in default".
	File string
	// Line is the first line of the setting; 0 when there is none.
	Line int
}

// String returns "file, line N" or the file alone.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return o.File + ", line " + strconv.Itoa(o.Line)
}

// Problem is something wrong with the configuration.
type Problem struct {
	// Fatal is set when Postfix would refuse to run with it.
	Fatal bool
	// Note is set when there is nothing to do about it.
	Note bool
	Origin
	// Text says what is wrong, in the words of Postfix where it has any.
	Text string
	// Suggestion is what was probably meant, as a phrase; it may be empty.
	Suggestion string
}

// Error returns "file, line N: text" and, when there is one, "; suggestion".
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.Origin.String())
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	if p.Suggestion != "" {
		b.WriteString("; ")
		b.WriteString(p.Suggestion)
	}
	return b.String()
}

// HasFatal reports whether one of the problems is fatal.
func HasFatal(problems []Problem) bool {
	for _, p := range problems {
		if p.Fatal {
			return true
		}
	}
	return false
}

// Unique returns the problems without repetitions; the order stays. Two rooms that
// decode the same parameter find the same problem.
func Unique(problems []Problem) []Problem {
	var out []Problem
	seen := map[Problem]bool{}
	for _, p := range problems {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

// ValueError is the error of a single value: it holds the problem.
type ValueError struct{ Problem }

// newValueError returns the error for a problem at o.
func newValueError(o Origin, text string) *ValueError {
	return &ValueError{Problem{Fatal: true, Origin: o, Text: text}}
}
