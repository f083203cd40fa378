package cleanup

import (
	"bytes"
	"strings"
)

// part is where in the structure of a message the walker is.
type part uint8

const (
	// inPrimary is the header of the message, inMultipart that of a body part,
	// inNested that of an attached message, inBody everything else.
	inPrimary part = iota
	inMultipart
	inNested
	inBody
)

// walker follows the MIME structure (RFC 2045, 2046) line by line. It holds the
// boundaries of the enclosing multiparts and nothing else of the text.
type walker struct {
	state part
	// follow tells that the structure matters to anybody.
	follow bool
	stack  []boundary
	// message tells that the current part is a message/*, multi a multipart.
	message, multi bool
	encoding       encoding
	// encodingName is the encoding in the words of the message.
	encodingName string
	// offset counts the bytes of the current body text.
	offset  int64
	nested  bool
	limits  limits
	strict  strictness
	checked bool
	// abrupt is what is done about a header that no empty line ends.
	abrupt string
	// broken is what a strict_* setting does not accept; the message is refused
	// at its end.
	broken string
}

// boundary is an enclosing multipart.
type boundary struct {
	text string
	// digest tells that parts without a type are messages (RFC 2046 5.1.5).
	digest bool
}

// limits of the walker.
type limits struct{ depth, boundary int }

// strictness says what to complain about.
type strictness struct{ header8, body8, domain bool }

// encoding is a Content-Transfer-Encoding.
type encoding uint8

const (
	encoding7Bit encoding = iota
	encoding8Bit
	encodingBinary
	encodingOther
)

func (w *walker) init(s *Service, checks bool) {
	set := &s.set
	w.limits = limits{set.Nesting, set.BoundaryLength}
	w.checked = checks && !s.bodyChecks.Empty()
	if !checks || set.NoMIME {
		return
	}
	w.strict = strictness{set.Strict8Bit || set.Strict7Bit, set.Strict8Bit || set.StrictBody, set.StrictDomain}
	w.follow = s.wantMIME
	w.abrupt = set.NonEmptyEnd
}

// inHeader tells that header lines are expected.
func (w *walker) inHeader() bool { return w.state != inBody }

// needed tells whether the lines of the body that follows matter.
func (w *walker) needed(m *Message) bool {
	if len(m.s.strip) > 0 || len(m.s.reject) > 0 || w.strict.body8 && w.follow {
		return true
	}
	if w.checked && m.filtered && (m.s.set.BodyCheckSize == 0 || w.offset < m.s.set.BodyCheckSize) {
		return true
	}
	return w.follow && (m.filtered || w.strict != strictness{}) && len(w.stack) > 0
}

// header looks at one header line.
func (w *walker) header(m *Message, text []byte) {
	if !w.follow {
		return
	}
	if w.strict.header8 && hasEightBit(text) {
		m.mimeError("improper use of 8-bit data in message header", text)
	}
	colon := bytes.IndexByte(text, ':')
	if colon < 0 {
		return
	}
	var fold [32]byte
	switch string(lower(fold[:0], text[:min(colon, 32)])) {
	case "content-type":
		w.contentType(string(text[colon+1:]))
	case "content-transfer-encoding":
		w.transferEncoding(string(text[colon+1:]))
	}
}

// contentType reads a Content-Type value (RFC 2045 5.1).
func (w *walker) contentType(value string) {
	t := tokens{value}
	kind := t.next()
	slash := t.next()
	sub := t.next()
	w.message, w.multi = false, false
	if slash.text != "/" {
		return
	}
	switch strings.ToLower(kind.text) {
	case "message":
		w.message = true
		w.nested = isNestedType(sub.text)
	case "multipart":
		w.multi = true
		for tok := t.next(); tok.text != "" || tok.quoted; tok = t.next() {
			if tok.text != ";" || tok.quoted {
				continue
			}
			if name := t.next(); !strings.EqualFold(name.text, "boundary") {
				continue
			}
			if eq := t.next(); eq.text == "=" {
				w.push(boundary{t.next().text, strings.EqualFold(sub.text, "digest")})
			}
		}
	}
}

// isNestedType tells whether a message/* holds a header of its own.
func isNestedType(sub string) bool {
	return strings.EqualFold(sub, "rfc822") || strings.EqualFold(sub, "global")
}

// push enters a multipart. What is nested deeper than mime_nesting_limit is
// treated as text.
func (w *walker) push(b boundary) {
	b.text = b.text[:min(len(b.text), w.limits.boundary)]
	if len(w.stack) > w.limits.depth {
		return
	}
	w.stack = append(w.stack, b)
}

// transferEncoding reads a Content-Transfer-Encoding (RFC 2045 6.1).
func (w *walker) transferEncoding(value string) {
	t := tokens{value}
	w.encodingName = t.next().text
	switch strings.ToLower(w.encodingName) {
	case "7bit":
		w.encoding = encoding7Bit
	case "8bit":
		w.encoding = encoding8Bit
	case "binary":
		w.encoding = encodingBinary
	default:
		w.encoding = encodingOther
	}
}

// enterBody ends a header that no empty line ends. In the message's own header
// one is put in, so that the text does not become a header downstream.
func (w *walker) enterBody(m *Message) {
	primary := w.state == inPrimary
	if primary {
		m.put([]byte("\r\n"))
	}
	w.state, w.offset = inBody, 0
	if primary {
		w.offset = 1
	}
}

// afterHeader takes the line that ended a header: the empty line, or text where
// a header line should be.
func (w *walker) afterHeader(m *Message, line []byte) {
	if w.strict.domain && w.follow && (w.message || w.multi) && w.encoding == encodingOther {
		m.mimeError("invalid message/* or multipart/* encoding domain", []byte(w.encodingName))
	}
	if len(line) > 0 {
		w.enterBody(m)
		m.text.line(line)
		return
	}
	m.put([]byte("\r\n"))
	w.state, w.offset = inBody, 1 // the empty line counts
	switch {
	case w.follow && w.message && w.nested:
		w.state = inNested
		w.message, w.multi, w.encoding = false, false, encoding7Bit
	case !w.needed(m):
		m.text.copying = true
	}
}

// line looks at the first piece of a body line for a boundary.
func (w *walker) line(p []byte) {
	if !w.follow || len(w.stack) == 0 || len(p) < 3 || p[0] != '-' || p[1] != '-' {
		return
	}
	for i := len(w.stack) - 1; i >= 0; i-- {
		b := &w.stack[i]
		if !bytes.HasPrefix(p[2:], []byte(b.text)) {
			continue
		}
		w.message, w.multi, w.encoding, w.offset = false, false, encoding7Bit, 0
		if bytes.HasPrefix(p[2+len(b.text):], []byte("--")) {
			w.stack = w.stack[:i]
			w.state = inBody
			return
		}
		w.stack = w.stack[:i+1]
		w.state = inMultipart
		w.message, w.nested = b.digest, b.digest
		return
	}
}

// tokens cuts a structured header value into tokens of RFC 2045.
type tokens struct{ rest string }

// token is a word or a special; quoted words can be empty.
type token struct {
	text   string
	quoted bool
}

// next returns the next token, or the zero token at the end.
func (t *tokens) next() token {
	for t.rest != "" {
		switch c := t.rest[0]; c {
		case ' ', '\t', '\n', '\r':
			t.rest = t.rest[1:]
		case '(':
			t.comment()
		case '"':
			return token{t.quoted(), true}
		case ';', '=', '/', ',', '<', '>', '@', ':', '?', '[', ']', ')', '\\':
			t.rest = t.rest[1:]
			return token{string(c), false}
		default:
			n := 1
			for n < len(t.rest) && !strings.ContainsRune(" \t\r\n()<>@,;:\\\"/[]?=", rune(t.rest[n])) {
				n++
			}
			word := t.rest[:n]
			t.rest = t.rest[n:]
			return token{word, false}
		}
	}
	return token{}
}

// comment skips a comment, which may hold comments.
func (t *tokens) comment() {
	level, i := 0, 0
	for ; i < len(t.rest); i++ {
		switch t.rest[i] {
		case '\\':
			i++
		case '(':
			level++
		case ')':
			level--
		}
		if level == 0 {
			i++
			break
		}
	}
	t.rest = t.rest[min(i, len(t.rest)):]
}

// quoted reads a quoted string.
func (t *tokens) quoted() string {
	var b strings.Builder
	i := 1
	for ; i < len(t.rest) && t.rest[i] != '"'; i++ {
		if t.rest[i] == '\\' && i+1 < len(t.rest) {
			i++
		}
		b.WriteByte(t.rest[i])
	}
	t.rest = t.rest[min(i+1, len(t.rest)):]
	return b.String()
}
