package smtpd

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/wire"
)

// readyForData tells whether content may come now; if not it has replied.
func (s *session) readyForData() bool {
	switch {
	case s.tx.rcpts > 0:
		return true
	case !s.tx.open || s.tx.refused == 0:
		s.reply(503, "5.5.1", "Error: need RCPT command")
	default:
		s.reply(554, "5.5.1", "Error: no valid recipients")
	}
	return false
}

// cmdData takes the content (RFC 5321 4.1.1.4).
func (s *session) cmdData(args string) {
	switch {
	case s.tx.bdat:
		s.reply(503, "5.5.1", "Error: DATA after BDAT")
		return
	case args != "":
		s.reply(501, "5.5.4", "Syntax: DATA")
		return
	case s.outOfTurn("DATA") || !s.readyForData():
		return
	}
	if !s.checkData("DATA") {
		return
	}
	s.beginContent()
	s.reply(354, "", "End data with <CR><LF>.<CR><LF>")
	var d wire.DataReader
	d.Start(s.r)
	s.startRequest()
	for {
		p, err := d.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.readFailed(err)
			return
		}
		s.tx.bytes += int64(len(p))
		_, _ = s.tx.msg.Write(p) // what goes wrong is the answer of Finish
	}
	s.endContent(d.BareLF(), "END-OF-MESSAGE")
}

// checkData asks the restrictions of DATA.
func (s *session) checkData(stage string) bool {
	if s.access == nil {
		return true
	}
	s.req.RcptCount = s.tx.rcpts
	if s.tx.rcpts == 1 {
		s.req.Recipient = s.tx.first
	}
	ok := s.check(stage, s.access.Data)
	s.req.Recipient = ""
	if ok {
		s.apply()
	}
	return ok
}

// beginContent puts our trace header in front (RFC 5321 4.4).
func (s *session) beginContent() { s.tx.msg.Header(s.received()) }

// endContent checks and queues the message.
func (s *session) endContent(bareLF bool, stage string) {
	if bareLF {
		s.noteBareLF()
		if s.set.BareNewline == "reject" && !s.flags.bareExempt {
			st := mail.Status{Code: s.set.BareNewlineCode, Enhanced: "5.5.2", Text: s.set.Hostname + " Error: bare <LF> received"}
			if s.tx.rcpts == 1 {
				s.req.Recipient = s.tx.first
			}
			s.logReject(stage, mail.Status{Text: "bare <LF> received"})
			s.abort()
			s.status(st)
			return
		}
	}
	if s.access != nil {
		s.req.Size = s.tx.bytes
		if s.tx.rcpts == 1 {
			s.req.Recipient = s.tx.first
		}
		if !s.check(stage, s.access.EndOfData) {
			s.abort()
			return
		}
		s.apply()
	}
	st := s.tx.msg.Finish(s.ctx)
	if st.Code/100 == 2 {
		s.errors = 0
	}
	if s.tx.bdat && st.Code/100 == 2 {
		st.Text = "Ok: " + strconv.FormatInt(s.tx.raw, 10) + " bytes queued as " + string(s.tx.id)
	}
	s.clear()
	s.status(st)
}

// noteBareLF remembers that the client sends bare line feeds.
func (s *session) noteBareLF() {
	if s.set.BareNewline == "note" {
		s.flags.bareLF = true
	}
}

// maxBdat is the largest chunk size that is a number for us.
const maxBdat = 1 << 40

// cmdBdat takes a chunk of content (RFC 3030 2).
func (s *session) cmdBdat(args string) {
	if s.masked("chunking") {
		s.reply(521, "5.5.1", "Error: command not implemented")
		return
	}
	size, last, ok := parseBdat(args)
	if !ok {
		// The chunk cannot be told from commands: nothing more can be believed.
		s.log.Emit(event.Notice{Severity: "warning", Text: s.idOrNone() + ": malformed BDAT command syntax from " + s.client() + ": BDAT " + args})
		s.reply(521, "5.5.4", "Syntax: BDAT count [LAST]")
		return
	}
	if s.tx.bdat && s.tx.fail.Code != 0 {
		s.skipChunk(size, s.tx.fail)
		return
	}
	if st, bad := s.bdatRefused(size, last); bad {
		if s.tx.bdat {
			s.tx.fail = mail.Status{Code: 551, Enhanced: "5.0.0", Text: "Discarded %d bytes after earlier error"}
		}
		s.skipChunk(size, st)
		return
	}
	if !s.tx.bdat {
		if !s.checkData("BDAT") {
			s.discardBytes(size)
			return
		}
		s.tx.bdat = true
		s.tx.chunk.Start(s.r)
		s.beginContent()
	}
	if !s.takeChunk(size) {
		return
	}
	if !last {
		s.reply(250, "2.0.0", "Ok: "+strconv.FormatInt(size, 10)+" bytes")
		return
	}
	if end := s.tx.chunk.End(); len(end) > 0 {
		_, _ = s.tx.msg.Write(end)
	}
	s.endContent(s.tx.chunk.BareLF(), "END-OF-MESSAGE")
}

func parseBdat(args string) (size int64, last, ok bool) {
	fields := strings.Fields(args)
	if len(fields) == 2 {
		last = strings.EqualFold(fields[1], "LAST")
	}
	if len(fields) == 0 || len(fields) > 2 || (len(fields) == 2 && !last) {
		return 0, false, false
	}
	n, err := strconv.ParseUint(fields[0], 10, 63)
	if err != nil || n > maxBdat {
		return 0, false, false
	}
	return int64(n), last, true
}

// bdatRefused tells why a chunk cannot be taken.
func (s *session) bdatRefused(size int64, last bool) (st mail.Status, bad bool) {
	switch limit := s.set.MessageLimit; {
	case s.tx.rcpts == 0 && (!s.tx.open || s.tx.refused == 0):
		return mail.Status{Code: 503, Enhanced: "5.5.1", Text: "Error: need RCPT command"}, true
	case s.tx.rcpts == 0:
		return mail.Status{Code: 554, Enhanced: "5.5.1", Text: "Error: no valid recipients"}, true
	case size == 0 && !last:
		return mail.Status{Code: 551, Enhanced: "5.7.1", Text: "Null BDAT request"}, true
	case limit > 0 && size > limit-s.tx.bytes:
		s.log.Warnf("%s: queue file size limit exceeded", s.idOrNone())
		return mail.Status{Code: 552, Enhanced: "5.3.4", Text: "Chunk exceeds message size limit"}, true
	}
	return mail.Status{}, false
}

// skipChunk reads a chunk that is refused, then says so.
func (s *session) skipChunk(size int64, st mail.Status) {
	if !s.discardBytes(size) {
		return
	}
	st.Text = strings.ReplaceAll(st.Text, "%d", strconv.FormatInt(size, 10))
	s.status(st)
}

// discardBytes reads and forgets the bytes of a chunk.
func (s *session) discardBytes(size int64) bool {
	var c wire.ChunkReader
	c.Start(s.r)
	c.Chunk(size)
	s.startRequest()
	if err := c.Discard(); err != nil {
		s.readFailed(err)
		return false
	}
	return true
}

// takeChunk hands a chunk to cleanup.
func (s *session) takeChunk(size int64) bool {
	c := &s.tx.chunk
	c.Chunk(size)
	s.tx.raw += size
	s.startRequest()
	for {
		p, err := c.Next()
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			s.readFailed(err)
			return false
		}
		s.tx.bytes += int64(len(p))
		_, _ = s.tx.msg.Write(p) // what goes wrong is the answer of Finish
	}
}

func (s *session) idOrNone() string {
	if s.tx.id == "" {
		return string(mail.NoQueue)
	}
	return string(s.tx.id)
}
