package smtp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"time"
	"unicode/utf8"
)

// Bounds of a server's reply. A longer line is cut for us but read to its end;
// a longer reply ends the session.
const (
	maxReplyLine  = 2048
	maxReplyText  = 2048
	maxReplyBytes = 64 << 10
	maxReplyLines = 512
	readBufSize   = 4096
)

var errReplyTooBig = errors.New("reply too long")

// reply is one reply of the server. text points into buffers of the reader
// and is good until the next read; lines are separated by "\n".
type reply struct {
	code int
	text []byte
	// last is the last line, where the enhanced code is looked for.
	last []byte
}

// class is the first digit of the code.
func (r *reply) class() int { return r.code / 100 }

// enhanced returns the RFC 2034 code of the reply, or one made of its class
// when there is none that fits.
func (r *reply) enhanced() string {
	if len(r.last) > 4 {
		if n := enhancedLen(r.last[4:]); n > 0 && r.last[4] == r.last[0] {
			return string(r.last[4 : 4+n])
		}
	}
	switch r.class() {
	case 2:
		return "2.0.0"
	case 4:
		return "4.0.0"
	case 5:
		return "5.0.0"
	}
	return "5.5.0"
}

// line returns the text on one line, as a log shows it.
func (r *reply) line() string {
	return string(bytes.ReplaceAll(r.text, []byte{'\n'}, []byte{' '}))
}

// enhancedLen is the length of an RFC 3463 code at the start of b, or 0.
func enhancedLen(b []byte) int {
	if len(b) < 5 || b[0] != '2' && b[0] != '4' && b[0] != '5' || b[1] != '.' {
		return 0
	}
	i := 2
	for part := range 2 {
		start := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		if i == start || i-start > 3 {
			return 0
		}
		if part == 0 {
			if i >= len(b) || b[i] != '.' {
				return 0
			}
			i++
		}
	}
	if i < len(b) && b[i] != ' ' {
		return 0
	}
	return i
}

// replyReader reads the replies of a server.
type replyReader struct {
	conn net.Conn
	buf  []byte // of readBufSize
	r, w int
	// budget is what may still be read for the current reply; armed tells that
	// its deadline is set.
	budget  int
	armed   bool
	garbage bool // some line was no reply
	timeout time.Duration
	multi   []byte // the lines of a reply of several lines
	// filter, when not nil, replaces a line.
	filter func(line []byte) ([]byte, error)
	// heard, when not nil, is told every line as the server sent it.
	heard func(line []byte)
	long  []byte // the start of a line longer than the buffer
}

// reset starts over on another stream, dropping whatever was read ahead.
func (rr *replyReader) reset(c net.Conn) { rr.conn, rr.r, rr.w = c, 0, 0 }

// buffered is the number of bytes read ahead.
func (rr *replyReader) buffered() int { return rr.w - rr.r }

// read returns the next reply. each, when not nil, sees every line without its
// code. All of the reply must come within timeout.
func (rr *replyReader) read(timeout time.Duration, each func(text []byte)) (reply, error) {
	rr.budget, rr.armed, rr.timeout = maxReplyBytes, false, timeout
	rr.multi = rr.multi[:0]
	for n := 1; ; n++ {
		line, err := rr.line()
		if err != nil {
			return reply{}, err
		}
		if n > maxReplyLines {
			return reply{}, errReplyTooBig
		}
		clean(line)
		if rr.heard != nil {
			rr.heard(line)
		}
		if rr.filter != nil {
			if line, err = rr.filter(line); err != nil {
				return reply{}, err
			}
		}
		code, more, ok := replyCode(line)
		if each != nil && ok && len(line) > 4 {
			each(line[4:])
		}
		if ok && !more && n == 1 {
			return reply{code: code, text: line, last: line}, nil
		}
		last := rr.keep(line)
		if !ok {
			// Lines that are no reply are passed over up to the one that is, but
			// the session is in doubt from here on.
			rr.garbage = true
			continue
		}
		if more {
			continue
		}
		return reply{code: code, text: rr.multi, last: last}, nil
	}
}

// keep adds a line to a reply of several lines and returns the copy.
func (rr *replyReader) keep(line []byte) []byte {
	if len(rr.multi) > 0 && len(rr.multi) < maxReplyText {
		rr.multi = append(rr.multi, '\n')
	}
	if len(rr.multi)+len(line) > maxReplyText+maxReplyLine {
		return line
	}
	start := len(rr.multi)
	rr.multi = append(rr.multi, line...)
	return rr.multi[start:]
}

// replyCode reads the code of a reply line (RFC 5321 4.2).
func replyCode(line []byte) (code int, more, ok bool) {
	if len(line) < 3 {
		return 0, false, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		code = code*10 + int(c-'0')
	}
	if len(line) == 3 || line[3] == ' ' {
		return code, false, true
	}
	return code, line[3] == '-', line[3] == '-'
}

// line returns the next line without its end.
func (rr *replyReader) line() ([]byte, error) {
	seen := 0
	for {
		if i := bytes.IndexByte(rr.buf[rr.r+seen:rr.w], '\n'); i >= 0 {
			line := rr.buf[rr.r : rr.r+seen+i]
			rr.r += seen + i + 1
			line = bytes.TrimRight(line, "\r")
			return line[:min(len(line), maxReplyLine)], nil
		}
		seen = rr.w - rr.r
		if seen >= maxReplyLine {
			return rr.longLine()
		}
		if err := rr.fill(); err != nil {
			return nil, err
		}
	}
}

// longLine returns the start of a line that is too long and reads past the rest.
func (rr *replyReader) longLine() ([]byte, error) {
	rr.long = append(rr.long[:0], rr.buf[rr.r:rr.r+maxReplyLine]...)
	for {
		if i := bytes.IndexByte(rr.buf[rr.r:rr.w], '\n'); i >= 0 {
			rr.r += i + 1
			return rr.long, nil
		}
		rr.r, rr.w = 0, 0
		if err := rr.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads more, keeping what is unread.
func (rr *replyReader) fill() error {
	if rr.r > 0 {
		rr.w = copy(rr.buf, rr.buf[rr.r:rr.w])
		rr.r = 0
	}
	if rr.budget <= 0 {
		return errReplyTooBig
	}
	if !rr.armed {
		rr.armed = true
		if err := setDeadline(rr.conn, rr.timeout); err != nil {
			return err
		}
	}
	n, err := rr.conn.Read(rr.buf[rr.w:])
	rr.w += n
	rr.budget -= n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// clean makes a line of a stranger printable, in place.
func clean(line []byte) {
	high := false
	for i, c := range line {
		if c < ' ' || c == 0x7f {
			line[i] = '?'
		}
		high = high || c >= 0x80
	}
	if high && !utf8.Valid(line) {
		for i, c := range line {
			if c >= 0x80 {
				line[i] = '?'
			}
		}
	}
}

// setDeadline limits the I/O that follows; 0 is no limit.
func setDeadline(c net.Conn, timeout time.Duration) error {
	if timeout <= 0 {
		return c.SetDeadline(time.Time{})
	}
	return c.SetDeadline(time.Now().Add(timeout))
}
