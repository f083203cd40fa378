package table

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"
)

// maxSource bounds the size of a text file that is read into memory.
const maxSource = 1 << 30

// logicalLine is a line of a table's text with its continuation lines.
type logicalLine struct {
	text string
	// number is that of the first physical line.
	number int
}

// lineReader splits the text of a table into logical lines: empty lines and
// lines whose first non-white character is "#" do not count, and a line that
// begins with white space continues the one before. Line ends are dropped,
// the white space around them is kept.
type lineReader struct {
	rest string
	// line is the number of the last physical line that was taken.
	line int
}

// next returns the next logical line, and false at the end.
func (r *lineReader) next() (logicalLine, bool) {
	var first logicalLine
	var joined *strings.Builder
	for r.rest != "" {
		if first.number > 0 && r.rest[0] != '#' && !isSpace(r.rest[0]) {
			break
		}
		line, rest, _ := strings.Cut(r.rest, "\n")
		r.rest = rest
		r.line++
		if t := strings.TrimLeft(line, asciiSpace); t == "" || t[0] == '#' {
			continue
		}
		switch {
		case first.number == 0:
			first = logicalLine{text: line, number: r.line}
		case joined == nil:
			joined = new(strings.Builder)
			joined.WriteString(first.text)
			fallthrough
		default:
			joined.WriteString(line)
		}
	}
	if joined != nil {
		first.text = joined.String()
	}
	return first, first.number > 0
}

// open opens a file for reading, by way of o.OpenFile where that is set.
func (o *Options) open(path string) (*os.File, error) {
	if o.OpenFile != nil {
		return o.OpenFile(path)
	}
	return os.Open(path)
}

// stat tells how a file is, also where only o.OpenFile comes to it.
func (o *Options) stat(path string) (fileState, error) {
	info, err := os.Stat(path)
	if o.OpenFile != nil && errors.Is(err, fs.ErrPermission) {
		var f *os.File
		if f, err = o.OpenFile(path); err == nil {
			defer f.Close()
			info, err = f.Stat()
		}
	}
	if err != nil {
		return fileState{}, err
	}
	return stateOfInfo(info), nil
}

// readText reads a whole text file, bounded, and tells how the file was before.
func (o *Options) readText(path string) (string, fileState, error) {
	f, err := o.open(path)
	if err != nil {
		return "", fileState{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fileState{}, err
	}
	state := stateOfInfo(info)
	if state.young() {
		// It may change again under the same time: let it look changed, so
		// that it is read once more.
		state.changed = syscall.Timespec{}
	}
	text, err := readAll(f)
	return text, state, err
}

// followText opens a table that is made of a text file, and follows the file.
func followText(name, path string, o *Options, parse func(text string, o *Options) Table) (Table, error) {
	return follow(name, o, func() (fileState, error) { return o.stat(path) }, func() (*version, error) {
		return readVersion(path, o, parse)
	})
}

// readVersion reads a text file.
func readVersion(path string, o *Options, parse func(text string, o *Options) Table) (*version, error) {
	text, state, err := o.readText(path)
	if err != nil {
		return nil, err
	}
	v := &version{state: state}
	v.text.empty, v.text.cut = text == "", text != "" && !strings.HasSuffix(text, "\n")
	counting := *o
	counting.skipped = &v.text.skipped
	v.table = parse(text, &counting)
	return v, nil
}

// readAll reads r to its end as a string, bounded.
func readAll(r io.Reader) (string, error) {
	var b strings.Builder
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Size() <= maxSource {
			b.Grow(int(info.Size()))
		}
	}
	n, err := io.Copy(&b, io.LimitReader(r, maxSource+1))
	if err != nil {
		return "", err
	}
	if n > maxSource {
		return "", fmt.Errorf("larger than %d bytes", maxSource)
	}
	return b.String(), nil
}

// SourceOptions say how the text of a table is read.
type SourceOptions struct {
	// Name is the file name for warnings.
	Name string
	// UTF8 refuses lines that are not UTF-8.
	UTF8 bool
	// Alias reads "name: value" lines (postalias) and not "key value" lines.
	Alias bool
	// Note is appended to warnings about lines that are ignored.
	Note string
	// Warn receives the warnings.
	Warn func(format string, args ...any)
}

// ParseSource reads the text form of a table and calls emit for each entry
// with its line number, in order. A line that makes no sense is a warning.
// Keys keep their case.
func ParseSource(text string, o SourceOptions, emit func(e Entry, line int)) {
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	parse := parseMapLine
	if o.Alias {
		parse = parseAliasLine
	}
	r := lineReader{rest: text}
	for {
		line, ok := r.next()
		if !ok {
			return
		}
		if isSpace(line.text[0]) {
			o.Warn("%s: logical line must not start with whitespace: \"%s\"", o.Name, clip(line.text, 30))
			continue
		}
		if o.UTF8 && !utf8.ValidString(line.text) {
			o.Warn("%s, line %d: non-UTF-8 input \"%s\" -- ignoring this line", o.Name, line.number, line.text)
			continue
		}
		if e, ok := parse(line, &o); ok {
			emit(e, line.number)
		}
	}
}

// parseMapLine reads "key white-space value". The key ends at the first white
// space outside double quotes; its quotes are part of it.
func parseMapLine(line logicalLine, o *SourceOptions) (Entry, bool) {
	end, quoted := 0, false
	for end < len(line.text) && (quoted || !isSpace(line.text[end])) {
		switch line.text[end] {
		case '\\':
			end++
		case '"':
			quoted = !quoted
		}
		end++
	}
	end = min(end, len(line.text))
	if quoted {
		o.Warn("%s, line %d: unbalanced '\"' in '%s' -- ignoring this line", o.Name, line.number, line.text)
		return Entry{}, false
	}
	e := Entry{Key: line.text[:end], Value: trimSpace(line.text[end:])}
	if e.Key == "" || e.Value == "" {
		o.Warn("%s, line %d: expected format: key whitespace value%s", o.Name, line.number, o.Note)
		return Entry{}, false
	}
	if strings.HasSuffix(e.Key, ":") {
		o.Warn("%s, line %d: record is in \"key: value\" format; is this an alias file?", o.Name, line.number)
	}
	return e, true
}
