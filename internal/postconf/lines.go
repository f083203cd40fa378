package postconf

import (
	"bytes"
	"strings"
)

// maxFile bounds the size of a configuration file.
const maxFile = 8 << 20

// logicalLine is a line with its continuation lines. The line ends and the white
// space that begins a continuation are still in it.
type logicalLine struct {
	text        string
	first, last int
}

// logicalLines splits data into logical lines. Empty lines and lines whose first
// visible character is "#" are dropped, even between a line and its
// continuation. A continuation without a line before it is reported through
// orphan and dropped.
func logicalLines(data []byte, orphan func(line int, text string)) []logicalLine {
	var out []logicalLine
	var cur strings.Builder
	var first, last int
	inOrphan := false
	flush := func() {
		if cur.Len() == 0 {
			return
		}
		if inOrphan {
			orphan(first, cur.String())
		} else {
			out = append(out, logicalLine{cur.String(), first, last})
		}
		cur.Reset()
	}
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data = nextLine(data)
		trimmed := bytes.TrimLeft(line, spaces)
		if len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		indented := len(trimmed) < len(line)
		if cur.Len() == 0 || !indented {
			flush()
			first, inOrphan = n, indented
		}
		last = n
		cur.Write(line)
	}
	flush()
	return out
}

// nextLine cuts the first line, without its end, from data.
func nextLine(data []byte) (line, rest []byte) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return data[:i], data[i+1:]
	}
	return data, nil
}

// spaces are the characters that count as white space.
const spaces = " \t\r\n\v\f"

// splitNameValue splits "name = value"; the error is in the words of Postfix.
func splitNameValue(s string) (name, value, err string) {
	s = strings.TrimLeft(s, spaces)
	if s == "" || s[0] == '=' {
		return "", "", "missing attribute name"
	}
	i := strings.IndexAny(s, spaces+"=")
	if i < 0 {
		return "", "", "missing '=' after attribute name"
	}
	name = s[:i]
	rest := strings.TrimLeft(s[i:], spaces)
	if rest == "" || rest[0] != '=' {
		return "", "", "missing '=' after attribute name"
	}
	return name, strings.Trim(rest[1:], spaces), ""
}

// SplitList splits a value at commas and white space. What stands between "{" and
// "}" stays together, with its braces.
func SplitList(s string) []string { return splitBraces(s, ", \t\r\n") }

// splitBraces splits s at the characters of seps outside of braces.
func splitBraces(s, seps string) []string {
	var out []string
	for i := 0; i < len(s); {
		if strings.IndexByte(seps, s[i]) >= 0 {
			i++
			continue
		}
		level, start := 0, i
	item:
		for ; i < len(s); i++ {
			switch c := s[i]; {
			case c == '{':
				level++
			case c == '}' && level > 0:
				level--
			case level == 0 && strings.IndexByte(seps, c) >= 0:
				break item
			}
		}
		out = append(out, s[start:i])
	}
	return out
}

// Unbrace removes the braces round a list item such as "{ a, b }", with the white
// space inside them. An item that does not begin with "{" is returned as it is.
// When something follows the closing brace, or when there is none, why says so in
// the words of Postfix, and inner is what could be read.
func Unbrace(item string) (inner, why string) {
	if item == "" || item[0] != '{' {
		return item, ""
	}
	level := 0
	for i := 0; i < len(item); i++ {
		switch item[i] {
		case '{':
			level++
		case '}':
			level--
		}
		if level == 0 {
			if i+1 < len(item) {
				why = "syntax error after '}' in \"" + item + "\""
			}
			return strings.Trim(item[1:i], spaces), why
		}
	}
	return strings.Trim(item[1:], spaces), "missing '}' in \"" + item + "\""
}
