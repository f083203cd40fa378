package smtpd

import (
	"errors"
	"io"

	"postroad/internal/mail"
	"postroad/internal/wire"
)

// readyForData tells whether content may come now; if not it has replied.
func (s *session) readyForData() bool {
	switch {
	case !s.tx.open:
		s.reply(503, "5.5.1", "Error: need RCPT command")
	case s.tx.rcpts == 0:
		s.reply(554, "5.5.1", "Error: no valid recipients")
	default:
		return true
	}
	return false
}

// cmdData takes the content (RFC 5321 4.1.1.4).
func (s *session) cmdData(args string) {
	switch {
	case s.tx.bdat != bdatNone:
		s.reply(503, "5.5.1", "Error: DATA after BDAT")
		return
	case !s.readyForData():
		return
	case args != "":
		s.reply(501, "5.5.4", "Syntax: DATA")
		return
	case !s.checkData("DATA"), !s.beginData():
		return
	}
	s.beginContent()
	s.reply(354, "", "End data with <CR><LF>.<CR><LF>")
	s.startRequest()
	var d wire.DataReader
	d.Start(s.r)
	for {
		p, err := d.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.tx.bytes -= d.Tail() // the log counts whole lines
			s.readFailed(err)
			return
		}
		s.content(p)
	}
	s.endContent(d.BareLF())
}

// content hands a piece of content to cleanup.
func (s *session) content(p []byte) {
	before := s.tx.bytes
	s.tx.bytes += int64(len(p))
	// A message on its way to a proxy has no id, and says so itself.
	if limit := s.set.MessageLimit; limit > 0 && before <= limit && s.tx.bytes > limit && s.tx.id != "" {
		s.log.Warnf("%s: queue file size limit exceeded", s.tx.id)
	}
	_, _ = s.tx.msg.Write(p) // what goes wrong is the answer of Finish
	s.extend(len(p))
}

// checkData asks the restrictions of DATA, and the filters.
func (s *session) checkData(stage string) bool {
	if s.access == nil {
		return !s.filterData()
	}
	s.req.RcptCount = s.tx.rcpts
	s.soleRecipient()
	ok := s.check(stage, s.access.Data)
	s.req.Recipient = ""
	if ok {
		s.apply()
	}
	return ok && !s.filterData()
}

// soleRecipient puts the recipient into the request when there is one only.
func (s *session) soleRecipient() {
	if s.tx.rcpts == 1 {
		s.req.Recipient = s.tx.first
	}
}

// beginContent puts our trace header in front (RFC 5321 4.4).
func (s *session) beginContent() { s.tx.msg.Header(s.received()) }

// endContent checks and queues the message, and ends the transaction.
func (s *session) endContent(bareLF bool) {
	const stage = "END-OF-MESSAGE"
	s.where = stage
	if bareLF && s.bareLF() {
		st := mail.Status{Code: s.set.BareNewlineCode, Enhanced: "5.5.2", Text: s.set.Hostname + " Error: bare <LF> received"}
		s.soleRecipient()
		s.logReject(stage, mail.Status{Text: "bare <LF> received"})
		s.status(st)
		s.abort()
		return
	}
	if s.access != nil {
		s.req.Size = s.tx.bytes
		s.soleRecipient()
		if !s.check(stage, s.access.EndOfData) {
			s.abort()
			return
		}
		s.apply()
	}
	st := s.tx.msg.Finish(s.ctx)
	if st.Code/100 == 2 {
		s.errors, s.junk = 0, 0
		if s.tx.bdat != bdatNone && s.tx.proxy == nil {
			st.Text = "Ok: " + itoa64(s.tx.bytes) + " bytes queued as " + string(s.tx.id)
		}
	}
	if s.tx.msg.Objected() {
		s.filterReply(st)
	} else {
		s.status(st)
	}
	s.clear()
}

// bareLF takes note of a line feed without carriage return; it tells whether
// the message is to be refused for it.
func (s *session) bareLF() bool {
	switch {
	case s.flags.bareExempt:
		return false
	case s.set.BareNewline == "note":
		s.flags.bareLF = true
	}
	return s.set.BareNewline == "reject"
}
