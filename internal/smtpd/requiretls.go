package smtpd

import (
	"bytes"
	"strings"

	"postroad/internal/mail"
)

// tlsField is our own header field that stands for REQUIRETLS on the way through a
// content filter, which may know nothing of it.
const tlsField = "Require-TLS-ESMTP: yes"

// maxMarkLine bounds what is looked at of one header line.
const maxMarkLine = 2048

// tlsMark puts tlsField at the end of the header of a message that passes, unless
// the message has it already.
type tlsMark struct {
	// done tells that the header is over, long that the rest of an overlong line is
	// passing, seen that the field was there.
	done, long, seen bool
	// line is what is here of the line that began last, field the beginning of the
	// header field that it may continue.
	line, field []byte
	pass        func([]byte)
}

// write takes content.
func (m *tlsMark) write(b []byte) {
	for len(b) > 0 {
		if m.done {
			m.pass(b)
			return
		}
		piece, ended := b, false
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			piece, ended = b[:i+1], true
		}
		b = b[len(piece):]
		if m.long {
			m.long = !ended
			m.pass(piece)
			continue
		}
		m.line = append(m.line, piece...)
		if ended || len(m.line) >= maxMarkLine {
			m.long = !ended
			m.endLine()
		}
	}
}

// endLine decides about the line that is here.
func (m *tlsMark) endLine() {
	line := m.line
	m.line = m.line[:0]
	continued := len(m.field) > 0 && (line[0] == ' ' || line[0] == '\t')
	switch {
	case continued:
		m.field = append(m.field, line[:min(len(line), maxMarkLine)]...)
		m.field = m.field[:min(len(m.field), maxMarkLine)]
	default:
		m.endField()
		if mail.FieldName(line) == 0 {
			m.end()
			break
		}
		m.field = append(m.field[:0], line...)
	}
	m.pass(line)
}

// endField looks at the field that is over.
func (m *tlsMark) endField() {
	name, value, ok := bytes.Cut(m.field, []byte{':'})
	if ok && strings.EqualFold(string(bytes.TrimRight(name, " \t")), "Require-TLS-ESMTP") {
		text := strings.TrimRight(strings.TrimLeft(string(value), " \t\r\n"), "\r\n")
		m.seen = m.seen || strings.EqualFold(text, "yes")
	}
	m.field = m.field[:0]
}

// end is the end of the header.
func (m *tlsMark) end() {
	m.done = true
	if !m.seen {
		m.pass([]byte(tlsField + "\r\n"))
	}
}

// finish is the end of the content. A message may have no body; what asks for TLS
// is not lost with it.
func (m *tlsMark) finish() {
	if len(m.line) > 0 {
		m.endLine()
	}
	if !m.done {
		m.endField()
		m.end()
	}
}

// withoutRequireTLS is a MAIL command for a filter, whose session has no TLS.
func withoutRequireTLS(line string) string {
	end := strings.LastIndexByte(line, '>') + 1
	words := strings.Split(line[end:], " ")
	kept := words[:0]
	for _, w := range words {
		if !strings.EqualFold(w, "REQUIRETLS") {
			kept = append(kept, w)
		}
	}
	return line[:end] + strings.Join(kept, " ")
}
