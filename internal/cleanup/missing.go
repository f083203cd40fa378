package cleanup

import (
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// addMissing adds the fields that RFC 5322 3.6 wants, for our own users or
// always, as configured.
func (m *Message) addMissing() {
	h := &m.head
	add := m.rewriting || m.s.set.AlwaysAdd
	prefix, id, date, from := "", hdrMessageID, hdrDate, hdrFrom
	if h.resent {
		prefix, id, date, from = "Resent-", hdrResentMessageID, hdrResentDate, hdrResentFrom
	}
	if add && !h.seen.has(id) {
		value := "<" + m.newID() + ">"
		m.putLine(prefix + "Message-Id: " + value)
		m.noteID(value, h.resent)
		h.seen |= id
	}
	if !h.seen.has(hdrMessageID) {
		m.emit(event.MessageID{ID: m.ID()})
	}
	if !add {
		return
	}
	if !h.seen.has(date) {
		m.putLine(prefix + "Date: " + Date(m.env.Arrived))
	}
	if !h.seen.has(from) {
		m.putLine(prefix + m.fromLine())
	}
	if !h.seen.has(hdrTo|hdrCc|hdrResentTo|hdrResentCc) && m.s.set.Undisclosed != "" {
		if mail.FieldName([]byte(m.s.set.Undisclosed)) == 0 {
			m.s.deps.Log.Warnf("bad undisclosed_recipients_header header text %q -- need \"headername: headervalue\"",
				m.s.set.Undisclosed)
		} else {
			m.putLine(m.s.set.Undisclosed)
		}
	}
}

// newID makes a message id: the queue id, and the time when short queue ids are
// used again.
func (m *Message) newID() string {
	id := string(m.ID()) + "@" + m.s.set.Myhostname
	if m.s.set.LongIDs {
		return id
	}
	return m.head.began.UTC().Format("20060102150405") + "." + id
}

// Date gives a time as RFC 5322 3.3 wants it, with the name of the zone.
func Date(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700 (MST)") }

// fromLine makes a From field of the envelope sender and the name of the user.
func (m *Message) fromLine() string {
	sender := m.env.Sender
	if sender == "" {
		return "From: MAILER-DAEMON"
	}
	name := strings.TrimSpace(strings.NewReplacer("\r", " ", "\n", " ").Replace(m.opt.FullName))
	if name == "" {
		return "From: " + sender.External()
	}
	if hasEightBit([]byte(name)) {
		return m.encodedFrom(cleanName(name))
	}
	if m.s.set.HeaderFrom == "obsolete" {
		if !balanced(name) {
			name = strings.NewReplacer("(", `\(`, ")", `\)`, `\`, `\\`).Replace(name)
		}
		return "From: " + sender.External() + " (" + name + ")"
	}
	if strings.ContainsAny(name, "%!\"(),.:;<>@[\\]") {
		name = `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(name) + `"`
	} else {
		name = strings.Join(strings.Fields(name), " ")
	}
	return "From: " + name + " <" + sender.External() + ">"
}

// encodedFrom is fromLine for a name that is not ASCII.
func (m *Message) encodedFrom(name string) string {
	sender, charset := m.env.Sender.External(), m.s.set.NameCharset
	if m.s.set.HeaderFrom == "obsolete" {
		if words := encodeWords(name, charset, commentSpecials); words != "" {
			return foldWords("From: " + sender + "\n(" + words + ")")
		}
	} else if words := encodeWords(name, charset, phraseSpecials); words != "" {
		return foldWords("From: " + words + "\n<" + sender + ">")
	}
	m.s.deps.Log.Warnf("cannot encode the name of %s with full_name_encoding_charset %s", sender, charset)
	return "From: " + sender
}

// balanced tells whether s can stand in a comment as it is.
func balanced(s string) bool {
	level := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			return false
		case '(':
			level++
		case ')':
			if level--; level < 0 {
				return false
			}
		}
	}
	return level == 0
}
