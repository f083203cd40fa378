package smtp

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

// Bounds of the conversion to 7 bits; what lies beyond goes out as it is.
const (
	maxHeader   = 100 << 10
	maxNesting  = 100
	maxMIMELine = 64 << 10
)

// qpReader turns an 8-bit MIME message into a 7-bit one, part by part: leaves
// with an encoding of 8bit or binary become quoted-printable (RFC 2045 6.7),
// containers become 7bit (RFC 2045 6.4), the rest is not touched.
type qpReader struct {
	in  *bufio.Reader
	out []byte // what Read returns next
	pos int
	err error
	// inHeader tells that the header of an entity is being collected.
	inHeader bool
	header   []byte
	// encode tells that the current body is turned into quoted-printable.
	encode bool
	// stack holds the boundaries of the containers around.
	nest nesting
	// start tells that the input is at the start of a line.
	start bool
}

func newQPReader(r io.Reader) io.Reader {
	return &qpReader{in: bufio.NewReaderSize(r, maxMIMELine), inHeader: true, start: true}
}

// Read implements io.Reader.
func (q *qpReader) Read(p []byte) (int, error) {
	for q.pos == len(q.out) {
		if q.err != nil {
			return 0, q.err
		}
		q.out, q.pos = q.out[:0], 0
		q.step()
	}
	n := copy(p, q.out[q.pos:])
	q.pos += n
	return n, nil
}

// step takes one line, or a piece of one that is too long.
func (q *qpReader) step() {
	line, err := q.in.ReadSlice('\n')
	whole := err == nil
	if err == bufio.ErrBufferFull {
		err = nil
	}
	start := q.start
	q.start = whole
	if err != nil {
		q.err = err
	}
	switch {
	case q.inHeader:
		q.headerLine(line, start && whole)
	case start && q.delimiter(line):
	case q.encode:
		q.out = appendQP(q.out, line, whole)
		if !whole && q.err == nil {
			q.out = append(q.out, "=\r\n"...)
		}
	default:
		q.out = append(q.out, line...)
	}
	if q.err != nil && q.inHeader {
		q.out = append(q.out, q.header...)
		q.header = nil
	}
}

// headerLine collects a header up to the empty line, then decides.
func (q *qpReader) headerLine(line []byte, alone bool) {
	empty := alone && len(bytes.TrimRight(line, "\r\n")) == 0
	if !empty && len(q.header)+len(line) <= maxHeader {
		q.header = append(q.header, line...)
		return
	}
	q.inHeader = false
	ctype := strings.ToLower(string(headerValue(q.header, "content-type")))
	cte := strings.ToLower(string(bytes.TrimSpace(headerValue(q.header, "content-transfer-encoding"))))
	q.encode = false
	label := ""
	eight := cte == "8bit" || cte == "binary"
	switch {
	case strings.HasPrefix(ctype, "multipart/"):
		q.nest.push(boundary(headerValue(q.header, "content-type")))
		if eight {
			label = "7bit"
		}
	case strings.HasPrefix(ctype, "message/") && !strings.HasPrefix(ctype, "message/partial"):
		if eight {
			label = "7bit"
		}
		// What is inside has a header of its own.
		q.inHeader = strings.HasPrefix(ctype, "message/rfc822") || strings.HasPrefix(ctype, "message/global")
	case eight, cte == "" && len(q.nest) == 0:
		// Without a label at the top, cleanup found 8-bit text in the body.
		q.encode, label = true, "quoted-printable"
	}
	q.out = appendRelabelled(q.out, q.header, label)
	q.header = q.header[:0]
	q.out = append(q.out, line...)
}

// delimiter handles the boundary lines of the containers around.
func (q *qpReader) delimiter(line []byte) bool {
	inside, found := q.nest.line(line)
	if !found {
		return false
	}
	q.inHeader, q.encode = inside, false
	q.out = append(q.out, line...)
	return true
}

// nesting holds the boundaries of the containers around (RFC 2046 5.1.1).
type nesting [][]byte

// push enters a container; one without a boundary, or nested too deep, is text.
func (n *nesting) push(b []byte) {
	if len(b) > 0 && len(*n) < maxNesting {
		*n = append(*n, b)
	}
}

// line tells whether a line is a boundary, and whether a part begins with it.
func (n *nesting) line(line []byte) (inside, found bool) {
	text := bytes.TrimRight(line, " \t\r\n")
	if len(text) < 3 || text[0] != '-' || text[1] != '-' {
		return false, false
	}
	for i := len(*n) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(text[2:], (*n)[i])
		if !ok {
			continue
		}
		switch string(rest) {
		case "":
			*n = (*n)[:i+1]
			return true, true
		case "--":
			*n = (*n)[:i]
			return false, true
		}
	}
	return false, false
}

// appendRelabelled appends a header with another content-transfer-encoding.
func appendRelabelled(out, header []byte, label string) []byte {
	if label == "" {
		return append(out, header...)
	}
	skipping := false
	for len(header) > 0 {
		n := bytes.IndexByte(header, '\n') + 1
		if n == 0 {
			n = len(header)
		}
		line := header[:n]
		header = header[n:]
		folded := line[0] == ' ' || line[0] == '\t'
		if !folded {
			skipping = hasName(line, "content-transfer-encoding")
		}
		if !skipping {
			out = append(out, line...)
		}
	}
	return append(append(append(out, "Content-Transfer-Encoding: "...), label...), "\r\n"...)
}

// headerValue is the value of the first header of that name, lines joined.
func headerValue(header []byte, name string) []byte {
	var value []byte
	found := false
	for len(header) > 0 {
		n := bytes.IndexByte(header, '\n') + 1
		if n == 0 {
			n = len(header)
		}
		line := header[:n]
		header = header[n:]
		switch {
		case line[0] == ' ' || line[0] == '\t':
			if found {
				value = append(value, line...)
			}
			continue
		case found:
			return value
		}
		if hasName(line, name) {
			found = true
			value = append(value, bytes.TrimSpace(line[bytes.IndexByte(line, ':')+1:])...)
		}
	}
	return value
}

func hasName(line []byte, name string) bool {
	i := bytes.IndexByte(line, ':')
	return i > 0 && strings.EqualFold(string(bytes.TrimRight(line[:i], " \t")), name)
}

// boundary is the boundary parameter of a content type.
func boundary(value []byte) []byte {
	const name = "boundary"
	for at := 0; at+len(name) <= len(value); at++ {
		if !strings.EqualFold(string(value[at:at+len(name)]), name) {
			continue
		}
		rest := bytes.TrimLeft(value[at+len(name):], " \t\r\n")
		if len(rest) == 0 || rest[0] != '=' {
			continue
		}
		rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		if len(rest) > 0 && rest[0] == '"' {
			b, _, ok := bytes.Cut(rest[1:], []byte{'"'})
			if !ok {
				return nil
			}
			return bytes.Clone(b)
		}
		if j := bytes.IndexAny(rest, " \t\r\n;"); j >= 0 {
			rest = rest[:j]
		}
		return bytes.Clone(rest)
	}
	return nil
}

// appendQP appends a line in quoted-printable, no longer than 76 characters
// (RFC 2045 6.7).
func appendQP(out, line []byte, whole bool) []byte {
	const hex = "0123456789ABCDEF"
	text := line
	if whole {
		text = bytes.TrimRight(line, "\r\n")
	}
	ending := line[len(text):]
	col := 0
	for i, c := range text {
		last := i == len(text)-1
		plain := c > ' ' && c < 0x7f && c != '=' || (c == ' ' || c == '\t') && !last
		n := 3
		if plain {
			n = 1
		}
		if col+n > 75 {
			out = append(out, "=\r\n"...)
			col = 0
		}
		if plain {
			out = append(out, c)
		} else {
			out = append(out, '=', hex[c>>4], hex[c&15])
		}
		col += n
	}
	return append(out, ending...)
}
