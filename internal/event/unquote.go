package event

import "bytes"

// addressFields are the fields of log lines that hold an address.
var addressFields = [...]string{" from=<\"", " to=<\"", " orig_to=<\""}

// unquote takes the quotes off the local parts (RFC 5321 4.1.2) in the address
// fields of a line, which begins at text.
func unquote(line []byte, text int) []byte {
	if !bytes.Contains(line[text:], []byte("=<\"")) {
		return line
	}
	for _, field := range addressFields {
		// A field may begin the line.
		name := []byte(field)
		at := bytes.Index(line[text:], name)
		if at < 0 && bytes.HasPrefix(line[text:], name[1:]) {
			at = -1
		} else if at < 0 {
			continue
		}
		line = unquoteAt(line, text+at+len(name)-1)
	}
	return line
}

// unquoteAt takes the quotes off the string that begins at i; one without an end
// stays.
func unquoteAt(line []byte, i int) []byte {
	out := i
	for j := i + 1; j < len(line); j++ {
		switch c := line[j]; {
		case c == '"':
			return append(line[:out], line[j+1:]...)
		case c == '\\' && j+1 < len(line):
			j++
		}
		line[out] = line[j]
		out++
	}
	return line[:out]
}
