package smtpd

import (
	"strconv"
	"strings"

	"postroad/internal/event"
	"postroad/internal/postconf"
	"postroad/internal/table"
	"postroad/internal/wire"
)

// refusals is what is made of refusals before a client hears them: another reply
// of smtpd_reject_filter_maps, and more lines of smtpd_reject_footer_maps or
// smtpd_reject_footer.
type refusals struct {
	filter, footers *table.Maps
	footer          string
	// allowed has the characters that the value of a $name may have.
	allowed *postconf.Charset
}

// refuse says a refusal as the settings want it.
func (s *session) refuse(code int, enhanced, text string) {
	if !s.chat.judged {
		s.chat.seen |= s.chat.classOf(code, enhanced)
	}
	s.chat.judged = false
	reply := s.footed(s.substitute(inLines(code, enhanced, text)))
	lines := strings.Split(reply, "\r\n")
	for i, line := range lines {
		b := []byte(line)
		if s.set.SoftBounce && len(b) > 0 && b[0] == '5' {
			b[0] = '4'
			if len(b) > 4 && b[4] == '5' {
				b[4] = '4'
			}
		}
		// RFC 5321 4.2.1: the last line has a space, and no other.
		if last := i+1 == len(lines); len(b) > 3 && last {
			b[3] = ' '
		} else if len(b) > 3 {
			b[3] = '-'
		}
		if i == 0 {
			s.said(int(b[0]-'0')*100 + int(b[1]-'0')*10 + int(b[2]-'0'))
		}
		s.chat.add(" Out: ", b)
		s.debug(">", b)
		_, _ = s.w.Write(append(b, "\r\n"...)) // the first error stays and shows at Flush
	}
}

// inLines is a reply in the form in which tables are asked for it.
func inLines(code int, enhanced, text string) string {
	head := strconv.Itoa(code)
	if enhanced != "" {
		enhanced += " "
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = head + sep + enhanced + strings.TrimSuffix(line, "\r")
	}
	return strings.Join(lines, "\r\n")
}

// substitute asks smtpd_reject_filter_maps for another reply. One that is no
// refusal, or whose codes contradict each other, does not count.
func (s *session) substitute(reply string) string {
	maps := s.srv.refusals.filter
	if maps.Empty() {
		return reply
	}
	hit, err := maps.Lookup(s.ctx, reply)
	if err != nil || !hit.Found {
		return reply // the maps have said what is wrong
	}
	id := s.idOrNone()
	if !isRefusal(hit.Value) {
		s.log.Warnf("%s: ignoring invalid reject filter result: %s", id, hit.Value)
		return reply
	}
	s.log.Infof("%s: reply filter in: %s", id, event.AppendPrintable(nil, reply))
	s.log.Infof("%s: reply filter out: %s", id, event.AppendPrintable(nil, hit.Value))
	return hit.Value
}

// isRefusal tells whether text begins like a refusal (RFC 5321 4.2, RFC 3463 2).
func isRefusal(text string) bool {
	digit := func(i int) bool { return i < len(text) && text[i] >= '0' && text[i] <= '9' }
	return len(text) > 3 && (text[0] == '4' || text[0] == '5') && digit(1) && digit(2) &&
		(text[3] == ' ' || text[3] == '-') && (!digit(4) || text[4] == text[0])
}

// footed adds the footer that the maps have for the reply, or else the one for
// all. A footer that cannot be expanded is left out.
func (s *session) footed(reply string) string {
	e := s.srv.refusals
	template := e.footer
	if !e.footers.Empty() {
		if hit, err := e.footers.Lookup(s.ctx, reply); err == nil && hit.Found {
			template = hit.Value
		}
	}
	// The recipient is that of the transaction: one that is refused is no part of it.
	req := s.req
	req.Sender, req.HasSender, req.Recipient = s.tx.sender, s.tx.open, s.tx.first
	req.Helo = s.peer.Helo
	text, err := wire.AddFooter(reply, template, func(line string) (string, error) {
		return postconf.ExpandOnce(line, func(name string) (string, bool) {
			value, known := req.Macro(name, s.set.Hostname)
			if !known {
				s.log.Warnf("unknown macro name \"%s\" in expansion request", name)
			}
			return e.allowed.Clean(value), known
		})
	})
	if err != nil {
		s.log.Warnf("%v", err)
	}
	return text
}

// edit is smtpd_command_filter: another command for the one that the client has
// sent. False means that the table could not be asked, which ends the session.
func (s *session) edit(line []byte) ([]byte, bool) {
	t := s.srv.Lists.Commands
	if t == nil {
		return line, true
	}
	value, ok, err := t.Lookup(s.ctx, strings.TrimLeft(string(line), " \t"))
	switch {
	case err != nil:
		s.log.Warnf("%s lookup error for \"%.100s\"", t, event.AppendPrintable(nil, string(line)))
		text := s.set.Hostname + " Server local data error"
		s.log.Infof("%s: reject: %s from %s: 421 4.3.0 %s", s.idOrNone(), s.where, s.client(), text)
		s.chat.judged = true // a fault of ours that notify_classes does not name
		s.reply(421, "4.3.0", text)
		return nil, false
	case ok:
		s.log.Infof("%s: replacing command \"%.100s\" with \"%.100s\"", s.client(), event.AppendPrintable(nil, string(line)), value)
		return []byte(value), true
	}
	return line, true
}
