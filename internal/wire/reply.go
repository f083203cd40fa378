package wire

import (
	"bytes"
	"errors"
	"strings"
)

// Errors of ReadReply.
var (
	// ErrBadReply means that a line is not an SMTP reply.
	ErrBadReply = errors.New("wire: malformed SMTP reply")
	// ErrReplyTooLong means that a reply has more lines or bytes than allowed.
	ErrReplyTooLong = errors.New("wire: SMTP reply too long")
)

// Reply is an SMTP reply (RFC 5321 4.2).
type Reply struct {
	// Code is the three-digit code of the last line.
	Code int
	// Enhanced is the RFC 3463 code of the last line that has a fitting one,
	// or empty.
	Enhanced string
	// Lines are the texts behind the code, the enhanced code included.
	Lines []string
}

// ReplyLimits bound a reply of a peer.
type ReplyLimits struct {
	// Line is the length of a line, Lines the number of lines, Total the sum.
	Line, Lines, Total int
}

// DefaultReplyLimits are far above what servers send (RFC 5321 4.5.3.1.5 allows 512).
func DefaultReplyLimits() ReplyLimits { return ReplyLimits{Line: 2048, Lines: 512, Total: 64 << 10} }

// ReadReply reads one reply, all of its lines. A line end without CR is
// accepted, and so is a code without text.
func ReadReply(r *Reader, lim ReplyLimits) (Reply, error) {
	var rep Reply
	total := 0
	for {
		line, _, err := r.Line(lim.Line)
		if err != nil {
			if errors.Is(err, ErrLineTooLong) || errors.Is(err, ErrNoResync) {
				err = ErrReplyTooLong
			}
			return rep, err
		}
		if total += len(line); total > lim.Total || len(rep.Lines) >= lim.Lines {
			return rep, ErrReplyTooLong
		}
		code, more, text, ok := parseReplyLine(line)
		if !ok {
			rep.Lines = append(rep.Lines, string(line))
			return rep, ErrBadReply
		}
		rep.Code = code
		rep.Lines = append(rep.Lines, string(text))
		if enh := EnhancedCode(string(text)); enh != "" && int(enh[0]-'0') == code/100 {
			rep.Enhanced = enh
		}
		if !more {
			return rep, nil
		}
	}
}

// parseReplyLine splits a reply line: code, continuation mark, text.
func parseReplyLine(line []byte) (code int, more bool, text []byte, ok bool) {
	if len(line) < 3 || line[0] < '1' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return 0, false, nil, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, false, nil, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, nil, false
	}
	return code, line[3] == '-', line[4:], true
}

// AppendTo appends the reply in wire form. Line ends inside a line are spaces,
// so that one reply stays one.
func (p Reply) AppendTo(dst []byte) []byte {
	lines := p.Lines
	if len(lines) == 0 {
		lines = []string{""}
	}
	for i, line := range lines {
		dst = append(dst, byte('0'+p.Code/100%10), byte('0'+p.Code/10%10), byte('0'+p.Code%10))
		if i+1 < len(lines) {
			dst = append(dst, '-')
		} else {
			dst = append(dst, ' ')
		}
		from := len(dst)
		dst = append(dst, line...)
		for j := from; j < len(dst); j++ {
			if dst[j] == '\r' || dst[j] == '\n' {
				dst[j] = ' '
			}
		}
		dst = append(dst, crlf...)
	}
	return dst
}

// String is the reply on one line, as log lines quote it: every line with its
// code, joined by spaces.
func (p Reply) String() string {
	b := bytes.TrimSuffix(p.AppendTo(nil), crlf)
	return strings.TrimRight(string(bytes.ReplaceAll(b, crlf, []byte(" "))), " ")
}

// Text is the text of all lines without codes, joined by "\n".
func (p Reply) Text() string { return strings.Join(p.Lines, "\n") }

// EnhancedCode returns the RFC 3463 code at the beginning of text, or nothing.
func EnhancedCode(text string) string {
	i := 0
	if len(text) < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.' {
		return ""
	}
	i = 2
	for part := 0; part < 2; part++ {
		from := i
		for i < len(text) && digit(text[i]) {
			i++
		}
		if i == from || i-from > 3 { // RFC 3463 2: up to three digits
			return ""
		}
		if part == 0 {
			if i == len(text) || text[i] != '.' {
				return ""
			}
			i++
		}
	}
	if i < len(text) && text[i] != ' ' && text[i] != '\t' {
		return ""
	}
	return text[:i]
}

// cutLine splits text at the first line feed.
func cutLine(text string) (line, rest string, more bool) {
	line, rest, more = strings.Cut(text, "\n")
	if strings.IndexByte(line, '\r') >= 0 {
		line = strings.ReplaceAll(line, "\r", " ")
	}
	return line, rest, more
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
