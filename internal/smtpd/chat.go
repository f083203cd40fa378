package smtpd

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// Notices tells the postmaster about sessions that had trouble.
type Notices interface {
	// Notice posts a text to error_notice_recipient; lines end in LF.
	Notice(ctx context.Context, subject, text string) error
}

// class is one of notify_classes.
type class uint8

const (
	classBounce class = 1 << iota
	classPolicy
	classProtocol
	classResource
	classSoftware
)

// classRows are the classes of errors that a session can have.
var classRows = []struct {
	word  string
	class class
}{
	{"bounce", classBounce}, {"policy", classPolicy}, {"protocol", classProtocol},
	{"resource", classResource}, {"software", classSoftware},
}

// replyClasses tells the class of an error by its status code (RFC 3463)
// without the class digit.
var replyClasses = map[string]class{
	"3.5": classSoftware, "3.0": classResource, "3.1": classResource,
	"3.4": classPolicy, "5.3": classPolicy, "7.0": classPolicy, "7.1": classPolicy, "1.1": classBounce,
}

// maxChat bounds the transcript of a session; a longer one loses its beginning.
const maxChat = 16 << 10

// chat is the transcript of a session, as long as somebody wants to hear of it.
type chat struct {
	wanted, seen class
	text         []byte
	lines        int
	cut          bool
	// judged tells that the class of the next reply is known already.
	judged bool
}

// wantedClasses reads notify_classes.
func wantedClasses(words []string) (want class) {
	for _, row := range classRows {
		if slices.Contains(words, row.word) {
			want |= row.class
		}
	}
	return want
}

// firstChat is how much of a transcript is allotted at first: most sessions fit.
const firstChat = 768

// add takes one line of the client or of ours.
func (c *chat) add(who string, line []byte) { addLine(c, who, nil, line) }

// addLine is add for a line that has a head.
func addLine[S ~string | ~[]byte](c *chat, who string, head []byte, line S) {
	if c.wanted == 0 {
		return
	}
	if c.text == nil {
		c.text = make([]byte, 0, firstChat)
	}
	if len(c.text)+len(line) > maxChat {
		half := c.text[len(c.text)/2:]
		half = half[bytes.IndexByte(half, '\n')+1:]
		c.text, c.cut = append(c.text[:0], half...), true
	}
	c.text = append(append(append(append(c.text, who...), head...), line[:min(len(line), 1000)]...), '\n')
	c.lines++
}

// heard notes a command. What comes behind the mechanism of AUTH is a secret.
func (c *chat) heard(line []byte) {
	if c.wanted == 0 {
		return
	}
	c.add(" In:  ", withoutSecret(line))
}

// withoutSecret is a command as others may see it.
func withoutSecret(line []byte) []byte {
	if len(line) > 5 && bytes.EqualFold(line[:5], []byte("AUTH ")) {
		if words := bytes.Fields(line); len(words) > 2 {
			return append(bytes.Join(words[:2], []byte(" ")), " (not shown)"...)
		}
	}
	return line
}

// debug logs a line of the dialogue with a client of debug_peer_list.
func (s *session) debug(sign string, line []byte) {
	if s.flags.debug {
		s.log.Infof("%s %s: %s", sign, s.client(), event.AppendEscaped(nil, line))
	}
}

// said notes a reply.
func (c *chat) said(code int, enhanced, text string) {
	if c.wanted == 0 {
		return
	}
	if !c.judged {
		c.seen |= c.classOf(code, enhanced)
	}
	c.judged = false
	var buf [32]byte // a code, and an enhanced one
	for {
		line, rest, more := strings.Cut(text, "\n")
		head := append(strconv.AppendInt(buf[:0], int64(code), 10), ' ')
		if more {
			head[len(head)-1] = '-'
		}
		if enhanced != "" {
			head = append(append(head, enhanced...), ' ')
		}
		addLine(c, " Out: ", head, strings.TrimSuffix(line, "\r"))
		if !more {
			return
		}
		text = rest
	}
}

// classOf tells the class of a reply; one that is no error, or of which nobody
// wants to hear, has none.
func (c *chat) classOf(code int, enhanced string) class {
	if c.wanted == 0 || code < 400 {
		return 0
	}
	return classify(code, enhanced)
}

// classify tells the class of an error by its reply.
func classify(code int, enhanced string) class {
	if len(enhanced) > 2 {
		if c := replyClasses[enhanced[2:]]; c != 0 {
			return c
		}
	}
	if code/100 == 5 {
		return classProtocol
	}
	return 0
}

// forget begins a new transcript.
func (c *chat) forget() {
	c.text, c.seen, c.lines, c.cut = c.text[:0], 0, 0, false
}

// refused notes a refusal by access control.
func (c *chat) refused(v *mail.Verdict) {
	if !v.Failure {
		c.seen |= classPolicy
		c.judged = true // whatever the text of a table or of a policy server looks like
	}
}

// notify tells the postmaster about the session so far when it had an error of
// a class that he wants to hear of, and begins a new transcript.
func (s *session) notify() {
	c := &s.chat
	if c.wanted&c.seen == 0 || s.srv.Notices == nil {
		c.forget()
		return
	}
	var b strings.Builder
	b.WriteString("Transcript of session follows.\n\n")
	if c.cut {
		b.WriteString(" (the beginning is left out)\n")
	}
	b.Write(c.text)
	if s.reason != "" {
		b.WriteString("\nThe session ended early: " + s.reason + "\n")
	}
	b.WriteString("\nThe mail log has the rest.\n")
	c.forget()
	subject := s.set.MailName + " SMTP server: errors from " + s.client()
	// The session may be over, the notice is not.
	if err := s.srv.Notices.Notice(context.WithoutCancel(s.ctx), subject, b.String()); err != nil {
		s.log.Warnf("postmaster notice about %s: %v", s.client(), err)
	}
}

// turn ends the part of the transcript that a reset or a message closes, when it
// has become long.
func (s *session) turn() {
	if s.chat.lines > s.set.HistoryFlush {
		s.notify()
	}
}
