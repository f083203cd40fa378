package cleanup

import (
	"bytes"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
	"postroad/internal/table"
)

const (
	inHeaderCheck = "header"
	inBodyCheck   = "body"
)

// checksFor is the table list for a header line.
func (m *Message) checksFor(text []byte) (*table.Maps, string) {
	name, _, _ := bytes.Cut(text[:min(len(text), 40)], []byte(":"))
	var fold [40]byte
	switch {
	case m.mime.state == inMultipart, rewrite.MIMEField(string(lower(fold[:0], name))):
		return m.s.mimeChecks, "mime_header_checks"
	case m.mime.state == inNested:
		return m.s.nestedChecks, "nested_header_checks"
	}
	return m.s.headerChecks, "header_checks"
}

// checkHeader applies the checks to one header line and returns what is left of
// it; keep is false when it is to be dropped.
func (m *Message) checkHeader(text []byte) (out []byte, keep bool) {
	maps, param := m.checksFor(text)
	if maps.Empty() {
		return text, true
	}
	return m.check(maps, param, inHeaderCheck, text)
}

// check looks text up and does what the table says.
func (m *Message) check(maps *table.Maps, param, where string, text []byte) (out []byte, keep bool) {
	hit, err := maps.Lookup(m.ctx, string(text))
	if err != nil {
		m.warnf("%s map lookup problem -- message not accepted, try again later", param)
		m.fail(faultWrite, "")
		return text, true
	}
	if !hit.Found {
		return text, true
	}
	word, rest := hit.Value, ""
	if i := strings.IndexAny(word, " \t"); i >= 0 {
		word, rest = word[:i], strings.TrimLeft(word[i:], " \t")
	}
	for _, row := range actionRows {
		if strings.EqualFold(row.word, word) {
			a := action{where: where, param: param, text: text, arg: rest}
			row.do(m, &a)
			if a.replace != nil {
				return a.replace, true
			}
			return text, !a.drop
		}
	}
	m.s.deps.Log.Warnf("unknown command in %s map: %s", param, hit.Value)
	return text, true
}

// action is one rule that matched.
type action struct {
	where, param string
	text         []byte
	arg          string
	// drop and replace are what becomes of the line.
	drop    bool
	replace []byte
}

// actionRows are the words of header_checks(5).
var actionRows = []struct {
	word string
	do   func(*Message, *action)
}{
	{"BCC", (*Message).actBcc},
	{"DISCARD", (*Message).actDiscard},
	{"DUNNO", func(*Message, *action) {}},
	{"FILTER", (*Message).actFilter},
	{"HOLD", (*Message).actHold},
	{"IGNORE", func(_ *Message, a *action) { a.drop = true }},
	{"INFO", func(m *Message, a *action) { m.logAction("info", a, a.arg) }},
	{"OK", func(*Message, *action) {}},
	{"PASS", func(m *Message, a *action) { m.logAction("pass", a, a.arg); m.filtered = false }},
	{"PREPEND", (*Message).actPrepend},
	{"REDIRECT", (*Message).actRedirect},
	{"REJECT", (*Message).actReject},
	{"REPLACE", (*Message).actReplace},
	{"STRIP", func(m *Message, a *action) { m.logAction("strip", a, a.arg); a.drop = true }},
	{"WARN", func(m *Message, a *action) { m.logAction("warning", a, a.arg) }},
}

func (m *Message) actReject(a *action) {
	text := a.arg
	if text == "" {
		text = "message content rejected"
	}
	enhanced, rest := splitDSN(text, "5.7.1")
	if enhanced[0] == '2' {
		m.s.deps.Log.Warnf("bad DSN action in %s -- need 4.x.x or 5.x.x", a.arg)
		enhanced = "4" + enhanced[1:]
	}
	m.logAction("reject", a, enhanced+" "+rest)
	m.rejectText(enhanced + " " + rest)
}

// rejectText refuses the message; the last check that does so gives the reason.
func (m *Message) rejectText(reason string) {
	m.reason = reason
	if reason[0] == '4' {
		m.faults |= faultDefer
	} else {
		m.faults |= faultContent
	}
	m.filtered = false
}

func (m *Message) actDiscard(a *action) {
	m.logAction("discard", a, a.arg)
	m.discard, m.filtered = true, false
}

func (m *Message) actHold(a *action) {
	if !m.env.Hold && !m.discard {
		m.logAction("hold", a, a.arg)
		m.env.Hold = true
	}
}

func (m *Message) actFilter(a *action) {
	switch {
	case a.arg == "":
		m.s.deps.Log.Warnf("missing FILTER command argument in %s map", a.param)
	case !strings.Contains(a.arg, ":"):
		m.s.deps.Log.Warnf("bad FILTER command %s in %s -- need transport:destination", a.arg, a.param)
	default:
		m.setFilter(a.arg)
		m.logAction("filter", a, a.arg)
	}
}

func (m *Message) actPrepend(a *action) {
	switch {
	case m.filters.checking:
		m.s.deps.Log.Warnf("the milter_header/body_checks prepend action is not implemented")
	case a.arg == "":
		m.s.deps.Log.Warnf("PREPEND action without text in %s map", a.param)
	case a.where == inBodyCheck:
		m.logAction("prepend", a, a.arg)
		m.put([]byte(a.arg + "\r\n"))
	case mail.FieldName([]byte(a.arg)) == 0:
		m.s.deps.Log.Warnf("bad PREPEND header text \"%s\" in %s map -- need \"headername: headervalue\"", a.arg, a.param)
	default:
		m.logAction("prepend", a, a.arg)
		m.putLine(a.arg)
	}
}

func (m *Message) actReplace(a *action) {
	switch {
	case a.arg == "":
		m.s.deps.Log.Warnf("REPLACE action without text in %s map", a.param)
	case a.where == inHeaderCheck && mail.FieldName([]byte(a.arg)) == 0:
		m.s.deps.Log.Warnf("bad REPLACE header text \"%s\" in %s map -- need \"headername: headervalue\"", a.arg, a.param)
	default:
		m.logAction("replace", a, a.arg)
		a.replace = []byte(a.arg)
	}
}

func (m *Message) actRedirect(a *action) {
	if !strings.Contains(a.arg, "@") {
		m.s.deps.Log.Warnf("bad REDIRECT target \"%s\" in %s map -- need user@domain", a.arg, a.param)
		return
	}
	m.logAction("redirect", a, a.arg)
	m.env.Redirect = m.canonicalRecipient(mail.Address(a.arg))
	m.filtered = false
}

func (m *Message) actBcc(a *action) {
	if !strings.Contains(a.arg, "@") {
		m.s.deps.Log.Warnf("bad BCC address \"%s\" in %s map -- need user@domain", a.arg, a.param)
		return
	}
	if m.filters.checking {
		m.addForFilter(a.arg, "")
	} else if len(m.copies) < maxCopies {
		m.copies = append(m.copies, mail.Address(a.arg))
	}
	m.logAction("bcc", a, a.arg)
}

// maxCopies bounds what BCC actions add: every line of a message may match.
const maxCopies = 1000

// logAction writes the line of an action.
func (m *Message) logAction(word string, a *action, text string) {
	m.emit(m.checkEvent(word, a.where, string(a.text), text))
}

// checkEvent describes what a check did.
func (m *Message) checkEvent(word, where, line, text string) *event.ContentCheck {
	if m.filters.checking {
		word = "milter-" + where + "-" + word
	}
	e := &event.ContentCheck{
		ID: m.ID(), Action: word, Class: where, Line: line,
		Sender: m.env.Sender, HasSender: m.hasSender, Recipient: m.lastRcpt, HasRecipient: m.hasRcpt, Text: text,
	}
	switch {
	case m.opt.Session != nil:
		e.Client = m.opt.Session.Client.String()
		e.Proto = m.opt.Session.Proto()
		e.Helo = m.opt.Session.Helo
	case m.opt.Origin != mail.OriginSMTP:
		e.Client = "local"
	}
	return e
}

// mimeError refuses a message for its structure; only strict_* settings do.
func (m *Message) mimeError(what string, text []byte) {
	if m.mime.broken != "" {
		return
	}
	e := m.checkEvent("reject", "mime-error "+what+":", string(text), "")
	e.Proto, e.Helo = "", ""
	m.emit(e)
	m.mime.broken = "5.6.0 " + what
}

// bodyLine handles one body line, or a piece of a long one.
func (m *Message) bodyLine(p []byte, first, last bool) {
	w := &m.mime
	if first {
		w.line(p)
	}
	if w.strict.body8 && w.follow && w.encoding == encoding7Bit && hasEightBit(p) {
		m.mimeError("improper use of 8-bit data in message body", p)
	}
	out := p
	if w.checked && m.filtered && len(p) > 0 && (m.s.set.BodyCheckSize == 0 || w.offset < m.s.set.BodyCheckSize) {
		var keep bool
		if out, keep = m.check(m.s.bodyChecks, "body_checks", inBodyCheck, p); !keep {
			w.offset += int64(len(p)) + 1
			return
		}
	}
	w.offset += int64(len(p))
	if last {
		w.offset++
	}
	m.head.out = append(m.head.out[:0], out...)
	if last {
		m.head.out = append(m.head.out, '\r', '\n')
	}
	m.put(m.head.out)
}
