package cleanup

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// header is the primary header while it passes.
type header struct {
	began time.Time
	// field is the header field that is not complete yet, its lines separated by
	// LF.
	field     []byte
	hops      int
	messageID string
	// have tells which of the fields that may be missing are there.
	hasID, hasDate, hasFrom, hasTo bool
	resent                         bool
	ended                          bool
}

// addressFields are the fields whose addresses are rewritten, and the class of
// those addresses.
var addressFields = map[string]class{
	"from": headerSender, "sender": headerSender, "reply-to": headerSender, "errors-to": headerSender,
	"return-receipt-to": headerSender, "disposition-notification-to": headerSender,
	"resent-from": headerSender, "resent-sender": headerSender, "resent-reply-to": headerSender,
	"to": headerRecipient, "cc": headerRecipient, "bcc": headerRecipient, "apparently-to": headerRecipient,
	"resent-to": headerRecipient, "resent-cc": headerRecipient, "resent-bcc": headerRecipient,
	"mail-followup-to": headerRecipient,
}

// nameLen is the length of a field name at the front of a line that is a header
// field (RFC 5322 2.2), or 0. White space before the colon is tolerated.
func nameLen(line []byte) int {
	n := 0
	for n < len(line) && line[n] > ' ' && line[n] < 0x7f && line[n] != ':' {
		n++
	}
	if n == 0 {
		return 0
	}
	rest := bytes.TrimLeft(line[n:], " \t")
	if len(rest) == 0 || rest[0] != ':' {
		return 0
	}
	return n
}

// headerLine takes one line of the primary header.
func (m *Message) headerLine(line []byte) {
	switch {
	case len(line) == 0:
		m.endHeader()
		m.mime.state = inBody
		m.put([]byte("\r\n"))
		if !m.mime.needed(m) {
			m.text.copying = true
		}
	case isBlank(line[0]) && len(m.head.field) > 0:
		if len(m.head.field)+len(line) < m.s.set.HeaderSize {
			m.head.field = append(append(m.head.field, '\n'), line...)
		}
	case nameLen(line) > 0:
		m.flushField()
		m.head.field = append(m.head.field[:0], line[:min(len(line), m.s.set.HeaderSize)]...)
	default:
		// The body begins without an empty line: it gets one.
		m.endHeader()
		m.mime.state = inBody
		m.put([]byte("\r\n"))
		m.text.bodyPiece(line, true)
	}
}

// flushField handles a complete header field.
func (m *Message) flushField() {
	if len(m.head.field) == 0 {
		return
	}
	text := string(m.head.field)
	m.head.field = m.head.field[:0]
	if m.filtered {
		keep, replaced := m.checkHeader(text)
		if !keep {
			return
		}
		text = replaced
	}
	m.emitField(text)
}

// emitField notes, rewrites and writes a header field.
func (m *Message) emitField(text string) {
	n := nameLen([]byte(text))
	name := strings.ToLower(text[:n])
	if m.s.drop[name] {
		return
	}
	value := text[strings.IndexByte(text, ':')+1:]
	m.noteField(name, value)
	if c, ok := addressFields[name]; ok && m.rewriting {
		fresh, err := rewrite.RewriteHeader(value, func(a mail.Address) (mail.Address, error) {
			return m.headerAddress(a, c), nil
		})
		if err == nil {
			text = text[:strings.IndexByte(text, ':')+1] + fresh
		}
	}
	m.putField(text)
}

// putField writes a field whose lines are separated by LF.
func (m *Message) putField(text string) {
	m.put([]byte(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"))
}

// noteField remembers what matters later.
func (m *Message) noteField(name, value string) {
	h := &m.head
	switch name {
	case "received":
		if h.hops++; h.hops == m.s.set.Hopcount {
			m.s.deps.Log.Warnf("%s: message rejected: hopcount exceeded", m.ID())
			m.fail(faultHops, "")
		}
	case "message-id":
		h.hasID = true
		h.messageID = strings.TrimSpace(strings.ReplaceAll(value, "\n", ""))
		m.emit(event.MessageID{ID: m.ID(), Text: h.messageID})
	case "resent-message-id":
		m.emit(event.MessageID{ID: m.ID(), Text: strings.TrimSpace(value), Resent: true})
	case "date":
		h.hasDate = true
	case "from":
		h.hasFrom = true
	case "to", "cc", "bcc":
		h.hasTo = true
	}
	h.resent = h.resent || strings.HasPrefix(name, "resent-")
}

// endHeader ends the primary header: what is missing is added for local mail.
func (m *Message) endHeader() {
	m.flushField()
	if m.head.ended {
		return
	}
	m.head.ended = true
	if m.context == rewrite.Local || m.s.set.AlwaysAdd {
		m.addMissing()
	}
	if !m.head.hasID && m.head.messageID == "" {
		m.emit(event.MessageID{ID: m.ID()})
	}
}

// addMissing adds Message-ID, Date, From and To.
func (m *Message) addMissing() {
	h := &m.head
	prefix := ""
	if h.resent {
		prefix = "Resent-"
	}
	if !h.hasID {
		h.messageID = fmt.Sprintf("<%s.%s@%s>", h.began.UTC().Format("20060102150405"), m.ID(), m.s.set.Myhostname)
		m.putField(prefix + "Message-Id: " + h.messageID)
		m.emit(event.MessageID{ID: m.ID(), Text: h.messageID, Resent: h.resent})
	}
	if !h.hasDate {
		m.putField(prefix + "Date: " + h.began.Format("Mon, 02 Jan 2006 15:04:05 -0700 (MST)"))
	}
	if !h.hasFrom {
		m.putField(prefix + "From: " + m.fromValue())
	}
	if !h.hasTo && m.s.set.Undisclosed != "" {
		m.putField(m.s.set.Undisclosed)
	}
}

// fromValue is the From header of a message that has none.
func (m *Message) fromValue() string {
	addr, name := m.env.Sender.External(), m.opt.FullName
	if addr == "" {
		addr, name = "MAILER-DAEMON", ""
	}
	if name == "" {
		return addr
	}
	if strings.EqualFold(m.s.set.HeaderFrom, "obsolete") {
		return addr + " (" + name + ")"
	}
	if strings.ContainsAny(name, `()<>[]:;@\,."`) {
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name + " <" + addr + ">"
}

// bodyLine writes a body line, or a piece of a long one.
func (m *Message) bodyLine(p []byte, first, last bool) {
	if m.filtered && first && len(p) > 0 && m.mime.needed(m) {
		m.bodySeen += int64(len(p)) + 2
		keep, replaced := m.checkBody(string(p))
		if !keep {
			return
		}
		p = []byte(replaced)
	}
	m.put(p)
	if last {
		m.put([]byte("\r\n"))
	}
}

// rejectText refuses the content with a reason.
func (m *Message) rejectText(reason string) { m.fail(faultContent, reason) }
