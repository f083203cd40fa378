package cleanup

import (
	"bytes"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// header is what is known about the header of a message.
type header struct {
	// field is the header line being collected; its physical lines are
	// separated by LF and its name is followed by a colon without blanks.
	field []byte
	// seen are the fields that were there, resent tells of a Resent- field.
	seen   kind
	resent bool
	// multipart tells that the message is made of parts, which may be labelled
	// 8bit where the message is not.
	multipart bool
	hops      int
	// messageID is the value of the Message-ID.
	messageID string
	// began is when the message began; it is in what we add.
	began time.Time
	// limit is header_size_limit for this message.
	limit int
	out   []byte
	// copy is the beginning of the header, kept when it may be reported.
	copy []byte
}

// maxCopy bounds header.copy.
const maxCopy = 128 << 10

// kind is a set of fields that we know.
type kind uint32

const (
	hdrBcc kind = 1 << iota
	hdrCc
	hdrDate
	hdrEncoding
	hdrFrom
	hdrMessageID
	hdrReceived
	hdrRequireTLS
	hdrResentCc
	hdrResentDate
	hdrResentFrom
	hdrResentMessageID
	hdrResentTo
	hdrTLSRequired
	hdrTo
	hdrType
	hdrOther
)

// fieldRow is a header field that gets special treatment.
type fieldRow struct {
	kind   kind
	resent bool
}

// fieldRows are the fields by lower case name. Those with addresses that nothing
// else is done about stand in package rewrite only.
var fieldRows = map[string]fieldRow{
	"bcc":                       {hdrBcc, false},
	"cc":                        {hdrCc, false},
	"content-transfer-encoding": {hdrEncoding, false},
	"content-type":              {hdrType, false},
	"date":                      {hdrDate, false},
	"from":                      {hdrFrom, false},
	"message-id":                {hdrMessageID, false},
	"received":                  {hdrReceived, false},
	"require-tls-esmtp":         {hdrRequireTLS, false},
	"resent-bcc":                {hdrOther, true},
	"resent-cc":                 {hdrResentCc, true},
	"resent-date":               {hdrResentDate, true},
	"resent-from":               {hdrResentFrom, true},
	"resent-message-id":         {hdrResentMessageID, true},
	"resent-reply-to":           {hdrOther, true},
	"resent-sender":             {hdrOther, true},
	"resent-to":                 {hdrResentTo, true},
	"tls-required":              {hdrTLSRequired, false},
	"to":                        {hdrTo, false},
}

// isField tells whether a line begins a header field. Its name must end within
// the first line_length_limit bytes, so that we know after a bounded look.
func (m *Message) isField(line []byte) bool {
	return mail.FieldName(line[:min(len(line), m.s.set.LineLength)]) > 0
}

// headerLine takes one line where header lines are expected.
func (m *Message) headerLine(line []byte) {
	h := &m.head
	if len(h.field) > 0 && len(line) > 0 && isBlank(line[0]) {
		m.grow('\n', line)
		return
	}
	m.field()
	if m.isField(line) {
		n := mail.FieldName(line)
		rest := line[n:]
		rest = rest[bytes.IndexByte(rest, ':'):]
		h.field = append(h.field, line[:n]...)
		m.grow(0, rest)
		return
	}
	m.endHeaderAt(line)
	m.mime.afterHeader(m, line)
}

// The values of non_empty_end_of_header_action.
const (
	fixQuietly   = "fix_quietly"
	addMIMEError = "add_header"
	rejectAbrupt = "reject"
)

// endHeaderAt ends the header at a line that is no field of it: an empty one, or
// else the site may want to hear of it.
func (m *Message) endHeaderAt(line []byte) {
	abrupt := len(line) > 0 && m.mime.state == inPrimary
	if abrupt && m.mime.abrupt == rejectAbrupt {
		m.mimeError("primary header was terminated with non-empty line", line)
	}
	m.endHeader()
	if abrupt && m.mime.abrupt == addMIMEError {
		m.putLine("MIME-Error: message header was not terminated by empty line")
	}
}

// grow appends text to the field, cutting it at header_size_limit.
func (m *Message) grow(separator byte, text []byte) {
	h, limit := &m.head, m.head.limit
	if separator != 0 && len(h.field) < limit {
		h.field = append(h.field, separator)
	}
	if room := limit - len(h.field); room > 0 {
		h.field = append(h.field, text[:min(len(text), room)]...)
	}
}

// field handles the header line that has been collected.
func (m *Message) field() {
	h := &m.head
	if len(h.field) == 0 {
		return
	}
	text := h.field
	defer func() { h.field = h.field[:0] }()
	m.mime.header(m, text)
	if m.filtered {
		var keep bool
		if text, keep = m.checkHeader(text); !keep {
			return
		}
	}
	m.utf8(text)
	if m.mime.state != inPrimary {
		m.putField(text)
		return
	}
	m.primary(text)
}

// primary handles a line of the message's own header.
func (m *Message) primary(text []byte) {
	h := &m.head
	colon := bytes.IndexByte(text, ':')
	if colon < 0 {
		m.putField(text)
		return
	}
	var fold [32]byte
	name := lower(fold[:0], text[:colon])
	row, known := fieldRows[string(name)]
	recipients, addresses := rewrite.AddressField(string(name))
	if !known && !addresses {
		if !m.s.drop[string(name)] {
			m.putField(text)
		}
		return
	}
	if row.kind == hdrRequireTLS && !m.wantsTLS(text[colon+1:]) {
		row.kind = hdrOther // as good as not there
	}
	h.seen |= row.kind
	h.resent = h.resent || row.resent
	switch row.kind {
	case hdrEncoding:
		value := strings.TrimSpace(string(text[colon+1:]))
		m.env.EightBit = m.env.EightBit || m.s.set.Detect8Bit && strings.EqualFold(value, "8bit")
	case hdrTLSRequired:
		// RFC 8689 3: the field says nothing but "no".
		m.env.TLSOptional = m.env.TLSOptional || m.s.set.TLSOptional && fieldIs(text[colon+1:], "no")
	case hdrType:
		h.multipart = bytes.HasPrefix(bytes.TrimLeft(lower(nil, text[colon+1:]), " \t\n"), []byte("multipart/"))
	case hdrMessageID, hdrResentMessageID:
		value := strings.TrimLeft(string(text[colon+1:]), " \t\n")
		m.noteID(value, row.kind == hdrResentMessageID)
	case hdrReceived:
		if h.hops == 0 {
			m.hideTrace(text)
		}
		if h.hops++; h.hops >= m.s.set.Hopcount {
			m.fail(faultHops, "")
			m.warnf("message rejected: hopcount exceeded")
		}
	}
	if addresses && m.rewriting {
		where := headerSender
		if recipients {
			where = headerRecipient
		}
		text = m.rewriteField(text, colon+1, where)
	}
	if !m.s.drop[string(name)] {
		m.putField(text)
	}
}

// wantsTLS takes the value of our own field that stands for REQUIRETLS on the way
// through a content filter, and tells whether it says so.
func (m *Message) wantsTLS(value []byte) bool {
	if !m.s.set.RequireTLSHeader || !fieldIs(value, "yes") {
		return false
	}
	m.env.RequireTLS = m.env.RequireTLS || m.s.set.RequireTLS
	return true
}

// fieldIs compares the value of a field with a word. Blanks count behind it, not
// before.
func fieldIs(value []byte, word string) bool {
	return strings.EqualFold(string(bytes.TrimLeft(value, " \t\n")), word)
}

// noteID logs and keeps a message id.
func (m *Message) noteID(value string, resent bool) {
	m.emit(event.MessageID{ID: m.ID(), Text: value, Resent: resent})
	if !resent {
		m.head.messageID = value
	}
}

// rewriteField puts the addresses of a field into their canonical form.
func (m *Message) rewriteField(text []byte, start int, where class) []byte {
	value, err := rewrite.RewriteHeader(string(text[start:]), func(addr mail.Address) (mail.Address, error) {
		return m.canonicalHeader(addr, where), nil
	})
	if err != nil || value == string(text[start:]) {
		return text
	}
	return []byte(string(text[:start]) + " " + rewrite.Refold(value, start+1))
}

// lower appends s in lower case.
func lower(dst, s []byte) []byte {
	for _, c := range s {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// putField writes a header line. A physical line after the first that does not
// begin with a blank gets a tab, so that it stays part of the field.
func (m *Message) putField(text []byte) {
	out := appendField(m.head.out[:0], text)
	m.head.out = out
	if m.mime.state == inPrimary && (len(m.expanded) > 0 || m.opt.Origin == mail.OriginLocal) && len(m.head.copy)+len(out) <= maxCopy {
		m.head.copy = append(m.head.copy, out...)
	}
	m.put(out)
}

// appendField appends a header line in stored form.
func appendField(out, text []byte) []byte {
	for first := true; ; first = false {
		line := text
		end := bytes.IndexByte(text, '\n')
		if end >= 0 {
			line, text = text[:end], text[end+1:]
		}
		if !first && (len(line) == 0 || !isBlank(line[0])) {
			out = append(out, '\t')
		}
		out = append(append(out, line...), '\r', '\n')
		if end < 0 {
			return out
		}
	}
}

// putLine writes one header line of our own.
func (m *Message) putLine(text string) { m.putField([]byte(text)) }

// endHeader handles the last field and, at the end of the message's own header,
// adds what is missing.
func (m *Message) endHeader() {
	m.field()
	if m.deaf() {
		return
	}
	if m.mime.state == inPrimary && !m.head.seen.has(hdrDone) {
		m.head.seen |= hdrDone
		m.addMissing()
		if m.env.RequireTLS && m.s.set.RequireTLSHeader && !m.head.seen.has(hdrRequireTLS) {
			m.putLine("Require-TLS-ESMTP: yes")
		}
	}
}

// hdrDone marks that missing fields have been added.
const hdrDone kind = 1 << 31

func (k kind) has(any kind) bool { return k&any != 0 }
