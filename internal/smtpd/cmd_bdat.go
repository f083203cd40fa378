package smtpd

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/wire"
)

// bdatState is where a session stands with BDAT (RFC 3030). After the first chunk
// only BDAT, RSET and what else ends the transaction may follow; after a failure
// chunks are read and discarded up to and with the LAST.
type bdatState uint8

const (
	bdatNone bdatState = iota
	bdatTaking
	bdatFailed
)

// cmdBdat takes a chunk of content (RFC 3030 2).
func (s *session) cmdBdat(args string) {
	if s.masked(ehloChunking) {
		s.reply(521, "5.5.1", "Error: command not implemented")
		return
	}
	size, last, ok := parseBdat(args)
	if !ok {
		// The chunk cannot be told from commands: nothing more can be believed.
		s.log.Warnf("%s: malformed BDAT command syntax from %s: %.100s", s.idOrNone(), s.client(), strings.TrimRight("BDAT "+args, " "))
		s.reply(521, "5.5.4", "Syntax: BDAT count [LAST]")
		return
	}
	if size == 0 && !last {
		s.log.Warnf("%s: null BDAT request from %s", s.idOrNone(), s.client())
		s.tx.bdat = bdatFailed
		s.reply(551, "5.7.1", "Null BDAT request")
		return
	}
	if st, refused := s.refuseChunk(size); refused {
		s.skipChunk(size, last, st)
		return
	}
	if !s.takeChunk(size) {
		return
	}
	if !last {
		s.reply(250, "2.0.0", "Ok: "+itoa64(size)+" bytes")
		return
	}
	if end := s.tx.chunk.End(); len(end) > 0 {
		s.content(end)
	}
	s.endContent(s.tx.chunk.BareLF())
}

// parseBdat reads the arguments: a number that fits, and LAST.
func parseBdat(args string) (size int64, last, ok bool) {
	number, rest, _ := strings.Cut(args, " ")
	if rest = strings.TrimLeft(rest, " \t"); rest != "" {
		if !strings.EqualFold(rest, "LAST") {
			return 0, false, false
		}
		last = true
	}
	size, err := parseDigits(number)
	return size, last, err == nil
}

// errDigits means that a number has something else than digits in it.
var errDigits = errors.New("digits expected")

// parseDigits reads a number without a sign; strconv.ErrRange means too large.
func parseDigits(s string) (int64, error) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, errDigits
		}
	}
	return strconv.ParseInt(s, 10, 64)
}

// refuseChunk tells why a chunk cannot be taken, if so. The restrictions of DATA
// are asked at the first.
func (s *session) refuseChunk(size int64) (st mail.Status, refused bool) {
	switch {
	case s.tx.bdat == bdatFailed:
		return mail.Status{Code: 551, Enhanced: "5.0.0", Text: "Discarded " + itoa64(size) + " bytes after earlier error"}, true
	case !s.tx.open:
		return mail.Status{Code: 503, Enhanced: "5.5.1", Text: "Error: need RCPT command"}, true
	case s.tx.rcpts == 0:
		return mail.Status{Code: 554, Enhanced: "5.5.1", Text: "Error: no valid recipients"}, true
	case s.set.MessageLimit > 0 && size > s.set.MessageLimit:
		s.log.Warnf("%s: BDAT request from %s exceeds message size limit", s.idOrNone(), s.client())
		return mail.Status{Code: 552, Enhanced: "5.3.4", Text: "Chunk exceeds message size limit"}, true
	case s.tx.bdat == bdatNone && !(s.checkData("BDAT") && s.beginData()):
		return mail.Status{}, true // they have replied
	}
	return mail.Status{}, false
}

// skipChunk reads a chunk that is refused and says so. LAST ends the transaction.
func (s *session) skipChunk(size int64, last bool, st mail.Status) {
	s.tx.bdat = bdatFailed
	code := s.code
	var c wire.ChunkReader
	c.Start(s.r)
	c.Chunk(size)
	s.startRequest()
	for c.Left() > 0 {
		n, err := c.DiscardSome()
		if err != nil {
			s.readFailed(err)
			return
		}
		s.extend(n)
	}
	if s.code = code; st.Code != 0 {
		s.status(st)
	}
	if last {
		code = s.code
		s.abort()
		s.code = code
	}
}

// takeChunk hands a chunk to cleanup.
func (s *session) takeChunk(size int64) bool {
	c := &s.tx.chunk
	if s.tx.bdat == bdatNone {
		s.tx.bdat = bdatTaking
		c.Start(s.r)
		s.beginContent()
	}
	c.Chunk(size)
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
		s.content(p)
	}
}

// idOrNone is the queue id for the log.
func (s *session) idOrNone() mail.QueueID {
	if s.tx.id == "" {
		return mail.NoQueue
	}
	return s.tx.id
}

func itoa64(n int64) string { return strconv.FormatInt(n, 10) }
