package cleanup

import (
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/table"
)

// checkHeader applies the checks for a header field. keep is false when the
// field goes; text is what stands in its place.
func (m *Message) checkHeader(field string) (keep bool, text string) {
	name := strings.ToLower(field[:nameLen([]byte(field))])
	maps, param := m.s.headerChecks, "header_checks"
	if strings.HasPrefix(name, "content-") || name == "mime-version" {
		maps, param = m.s.mimeChecks, "mime_header_checks"
	}
	return m.check(maps, param, "header", field)
}

// checkBody applies body_checks to a line.
func (m *Message) checkBody(line string) (keep bool, text string) {
	return m.check(m.s.bodyChecks, "body_checks", "body", line)
}

// checkAction is one action of header_checks(5).
type checkAction struct {
	name string
	// logged is the word in the log, empty for silence.
	logged string
	run    func(m *Message, class, arg, line string) (keep bool, text string)
}

// pass keeps the line.
func pass(_ *Message, _, _, line string) (bool, string) { return true, line }

// drop loses it.
func drop(*Message, string, string, string) (bool, string) { return false, "" }

// checkActions are the rows of header_checks(5).
var checkActions = []checkAction{
	{"DUNNO", "", pass}, {"OK", "", pass},
	{"INFO", "info", pass}, {"WARN", "warning", pass},
	{"IGNORE", "", drop}, {"STRIP", "strip", drop},
	{"PASS", "pass", func(m *Message, _, _, line string) (bool, string) { m.filtered = false; return true, line }},
	{"HOLD", "hold", func(m *Message, _, _, line string) (bool, string) { m.env.Hold = true; return true, line }},
	{"DISCARD", "discard", func(m *Message, _, _, line string) (bool, string) { m.discard = true; return true, line }},
	{"FILTER", "filter", func(m *Message, _, arg, line string) (bool, string) { m.setFilter(arg); return true, line }},
	{"REDIRECT", "redirect", func(m *Message, _, arg, line string) (bool, string) {
		m.env.Redirect = m.canonicalRecipient(mail.Address(arg))
		return true, line
	}},
	{"BCC", "bcc", func(m *Message, _, arg, line string) (bool, string) {
		m.copies = append(m.copies, mail.Address(arg))
		return true, line
	}},
	{"REPLACE", "replace", func(_ *Message, _, arg, _ string) (bool, string) { return arg != "", arg }},
	{"PREPEND", "prepend", func(m *Message, _, arg, line string) (bool, string) {
		m.putField(arg)
		return true, line
	}},
	{"REJECT", "reject", func(m *Message, _, arg, line string) (bool, string) {
		if arg == "" {
			arg = "5.7.1 message content rejected"
		}
		m.fail(faultContent, arg)
		return true, line
	}},
}

// check looks a line up and does what the table says.
func (m *Message) check(maps *table.Maps, param, class, line string) (keep bool, text string) {
	if maps.Empty() || m.faults != 0 {
		return true, line
	}
	hit, err := maps.Lookup(m.ctx, line)
	if err != nil {
		m.lookupFault(param, err)
		return true, line
	}
	if !hit.Found {
		return true, line
	}
	word, arg, _ := strings.Cut(strings.TrimSpace(hit.Value), " ")
	arg = strings.TrimSpace(arg)
	for _, a := range checkActions {
		if !strings.EqualFold(a.name, word) {
			continue
		}
		if a.logged != "" {
			m.logCheck(a.logged, class, line, arg)
		}
		return a.run(m, class, arg, line)
	}
	m.warnf("unknown command in %s map: %s", param, hit.Value)
	return true, line
}

func (m *Message) logCheck(action, class, line, text string) {
	if action == "reject" && text == "" {
		text = "5.7.1 message content rejected"
	}
	e := &event.ContentCheck{
		ID: m.ID(), Action: action, Class: class, Line: strings.ReplaceAll(line, "\n", " "), Text: text, Client: "local",
		Sender: m.env.Sender, HasSender: m.hasSender, Recipient: m.lastRcpt, HasRecipient: m.hasRcpt,
	}
	if s := m.opt.Session; s != nil {
		e.Client, e.Proto, e.Helo = s.Client.String(), s.Proto(), s.Helo
	}
	m.emit(e)
}
