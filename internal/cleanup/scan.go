package cleanup

import (
	"bytes"
	"encoding/binary"

	"postroad/internal/mail"
)

// scanner cuts the content into lines, as long as lines matter, and copies it
// when they do not.
type scanner struct {
	m *Message
	// part is the beginning of a line that is not complete; heldCR tells that
	// a CR follows it that may belong to a CRLF.
	part   []byte
	heldCR bool
	// copying tells that the rest is copied; open that the last line copied
	// has no end yet.
	copying, open bool
	// begun tells that content, and not only our own headers, has been seen.
	begun bool
	// piece tells that the last text was the beginning of a long body line.
	piece    bool
	eightBit bool
	size     int64
	fixed    []byte
}

func (s *scanner) init(m *Message) { s.m = m }

// header takes one line of our own header.
func (s *scanner) header(line []byte) {
	if !s.m.deaf() {
		s.line(s.clean(line))
	}
}

// write takes content.
func (s *scanner) write(p []byte) {
	if !s.eightBit {
		s.eightBit = hasEightBit(p)
	}
	for len(p) > 0 && !s.mayCopy() {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			s.hold(p)
			return
		}
		s.ended(p[:end])
		p = p[end+1:]
	}
	if len(p) > 0 {
		s.copy(p)
	}
}

// mayCopy tells that what comes next is to be copied: no line is half done.
func (s *scanner) mayCopy() bool { return s.copying && len(s.part) == 0 && !s.piece }

// ended takes what stands before a LF.
func (s *scanner) ended(p []byte) {
	if len(s.part) == 0 && !s.heldCR && len(p) > 0 && p[len(p)-1] == '\r' {
		s.first(p[:len(p)-1]) // the common case: a whole line, nothing copied
		return
	}
	s.hold(p)
	if !s.heldCR { // a bare LF is no line end (invariant 4)
		s.hold([]byte{' '})
		return
	}
	s.heldCR = false
	line := s.part
	s.part = s.part[:0]
	s.first(line)
}

// hold keeps the beginning of a line. A CR at its end waits for what follows.
func (s *scanner) hold(p []byte) {
	if len(p) == 0 {
		return
	}
	if s.heldCR {
		s.part = append(s.part, '\r')
	}
	if s.heldCR = p[len(p)-1] == '\r'; s.heldCR {
		p = p[:len(p)-1]
	}
	limit := s.m.s.set.LineLength
	for len(s.part)+len(p) > s.bound() {
		room := min(len(p), max(0, s.bound()-len(s.part)))
		s.part = append(s.part, p[:room]...)
		p = p[room:]
		s.overflow(limit)
	}
	s.part = append(s.part, p...)
}

// bound is how much of a line is kept.
func (s *scanner) bound() int {
	if s.m.mime.inHeader() {
		return s.m.head.limit + 2*s.m.s.set.LineLength
	}
	return s.m.s.set.LineLength
}

// overflow makes room when the kept part of a line is full.
func (s *scanner) overflow(limit int) {
	m := s.m
	s.part = s.opening(append(s.part[:0], s.clean(s.part)...))
	if m.mime.inHeader() && (len(m.head.field) > 0 && isBlank(s.part[0]) || m.isField(s.part)) {
		// A header line: what is over its size limit is dropped for good.
		s.part = s.part[:min(len(s.part), m.head.limit+limit)]
		return
	}
	part := s.part
	s.part = s.part[:0]
	for len(part) > 0 {
		n := min(limit, len(part))
		s.bodyPiece(part[:n], false)
		part = part[n:]
	}
}

// first handles a line that may be the first of the content.
func (s *scanner) first(line []byte) { s.line(s.opening(s.clean(line))) }

// opening handles what only the first line of the content can be; the line may
// not be complete yet.
func (s *scanner) opening(line []byte) []byte {
	if s.begun {
		return line
	}
	s.begun = true
	switch {
	case s.m.opt.Origin == mail.OriginSMTP && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")):
		s.begun = false // more of them may follow
		return append([]byte("X-Mailbox-Line: "), line...)
	case len(line) > 0 && isBlank(line[0]) && s.m.opt.Origin != mail.OriginInternal:
		s.line(nil) // it does not continue our own header
	}
	return line
}

// line handles one clean line without its end.
func (s *scanner) line(line []byte) {
	m := s.m
	if m.deaf() {
		return
	}
	if m.mime.inHeader() && !s.piece {
		m.headerLine(line)
		return
	}
	limit := m.s.set.LineLength
	for len(line) > limit {
		s.bodyPiece(line[:limit], false)
		line = line[limit:]
	}
	s.bodyPiece(line, true)
}

// bodyPiece handles a body line or, when it is long, a piece of one.
func (s *scanner) bodyPiece(p []byte, last bool) {
	m := s.m
	if m.mime.inHeader() {
		m.endHeaderAt(p)
		m.mime.enterBody(m)
	}
	m.bodyLine(p, !s.piece, last)
	s.piece = !last
	if last && !m.mime.needed(m) {
		s.copying = true
	}
}

// clean replaces or drops characters in a line.
func (s *scanner) clean(line []byte) []byte {
	set := &s.m.s.set
	if len(s.m.s.reject) > 0 && bytes.ContainsAny(line, string(s.m.s.reject)) {
		const reason = "5.7.1 disallowed character"
		s.m.emit(s.m.checkEvent("reject", "content", string(line), reason))
		s.m.rejectText(reason)
	}
	stray := set.ReplaceStray && bytes.IndexByte(line, '\r') >= 0
	if !stray && len(s.m.s.strip) == 0 {
		return line
	}
	s.fixed = s.fixed[:0]
	for _, c := range line {
		if len(s.m.s.strip) > 0 && bytes.IndexByte(s.m.s.strip, c) >= 0 {
			continue
		}
		if c == '\r' && stray {
			c = ' '
		}
		s.fixed = append(s.fixed, c)
	}
	return s.fixed
}

// copy writes body text whose lines nobody wants to see.
func (s *scanner) copy(p []byte) {
	if s.heldCR {
		s.heldCR = false
		if p[0] == '\n' {
			s.m.put([]byte("\r\n"))
			s.open = false
			p = p[1:]
		} else {
			s.m.put(s.stray())
			s.open = true
		}
	}
	if len(p) == 0 {
		return
	}
	if p[len(p)-1] == '\r' {
		s.heldCR = true
		p = p[:len(p)-1]
	}
	if len(p) == 0 {
		return
	}
	if !pairedLineEnds(p) {
		p = s.repair(p)
	}
	s.open = p[len(p)-1] != '\n'
	s.m.put(p)
}

// stray is what a CR that ends no line becomes.
func (s *scanner) stray() []byte {
	if s.m.s.set.ReplaceStray {
		return []byte{' '}
	}
	return []byte{'\r'}
}

// repair replaces every CR and LF that is not part of a CRLF.
func (s *scanner) repair(p []byte) []byte {
	s.fixed = s.fixed[:0]
	for i, c := range p {
		switch {
		case c == '\r' && (i+1 == len(p) || p[i+1] != '\n'):
			s.fixed = append(s.fixed, s.stray()...)
		case c == '\n' && (i == 0 || p[i-1] != '\r'):
			s.fixed = append(s.fixed, ' ')
		default:
			s.fixed = append(s.fixed, c)
		}
	}
	return s.fixed
}

// finish ends the last line and the header.
func (s *scanner) finish() {
	if s.mayCopy() {
		if s.heldCR || s.open {
			s.m.put([]byte("\r\n"))
		}
		return
	}
	if len(s.part) > 0 || s.heldCR || s.piece {
		line := s.part
		s.part, s.heldCR = nil, false
		s.first(line)
	}
	if s.m.mime.inHeader() {
		s.m.endHeader()
	}
}

// pairedLineEnds tells whether CR and LF occur as CRLF only. The loop looks at
// each LF; the CRs are only counted.
func pairedLineEnds(p []byte) bool {
	lines := 0
	for rest := p; ; lines++ {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		if i == 0 || rest[i-1] != '\r' {
			return false
		}
		rest = rest[i+1:]
	}
	return bytes.Count(p, []byte{'\r'}) == lines
}

// hasEightBit tells whether a byte has its high bit set.
func hasEightBit(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 32 {
		a := binary.LittleEndian.Uint64(p) | binary.LittleEndian.Uint64(p[8:])
		b := binary.LittleEndian.Uint64(p[16:]) | binary.LittleEndian.Uint64(p[24:])
		if (a|b)&high != 0 {
			return true
		}
		p = p[32:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
