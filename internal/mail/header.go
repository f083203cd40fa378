package mail

// FieldName is the length of the name with which a line begins a header field, or 0
// when it begins none (RFC 5322 2.2). Blanks may stand before the colon (RFC 5322
// 4.5).
func FieldName(line []byte) int {
	n := 0
	for n < len(line) && line[n] > ' ' && line[n] < 0x7f && line[n] != ':' {
		n++
	}
	i := n
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if i == len(line) || line[i] != ':' {
		return 0
	}
	return n
}
