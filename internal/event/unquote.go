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
		name := []byte(field)
		if bytes.HasPrefix(line[text:], name[1:]) { // a field may begin the line
			line = unquoteAt(line, text+len(name)-2)
		} else if at := bytes.Index(line[text:], name); at >= 0 {
			line = unquoteAt(line, text+at+len(name)-1)
		}
	}
	return line
}

// unquoteAt takes the quotes off the string that begins at i; one without an end
// stays.
func unquoteAt(line []byte, i int) []byte {
	end := i + 1
	for ; end < len(line) && line[end] != '"'; end++ {
		if line[end] == '\\' {
			end++
		}
	}
	if end >= len(line) {
		return line
	}
	out := line[:i]
	for j := i + 1; j < end; j++ {
		if line[j] == '\\' {
			j++
		}
		out = append(out, line[j])
	}
	return append(out, line[end+1:]...)
}
