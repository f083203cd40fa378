package event

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Event is something that happened. Implementations are small structs, one
// file per room.
type Event interface {
	// AppendText appends the text of the log line, without time, host and tag.
	AppendText(dst []byte) []byte
}

// Counter is an Event that also counts in the metrics.
type Counter interface {
	Event
	// Count adds the event to m.
	Count(m *Metrics)
}

// Unlogged is an Event of which some have no line in the log; they only count.
type Unlogged interface {
	Event
	// Logged tells whether there is a line.
	Logged() bool
}

// Sink takes formatted events; Log is the one of production.
type Sink interface {
	// Write takes one event of the process named by tag and pid.
	Write(when time.Time, tag string, pid int, e Event)
}

// Logger is the voice of one process in Postfix's sense: one session, one
// delivery attempt, one manager. The zero Logger says nothing.
type Logger struct {
	sink Sink
	tag  string
	pid  int
}

// NewLogger returns a Logger that writes to sink as tag[pid], tag being
// "postfix/smtpd" or the like.
func NewLogger(sink Sink, tag string, pid int) *Logger {
	return &Logger{sink: sink, tag: tag, pid: pid}
}

// Emit records e.
func (l *Logger) Emit(e Event) {
	if l == nil || l.sink == nil {
		return
	}
	l.sink.Write(time.Now(), l.tag, l.pid, e)
}

// Tag is the name under which the logger writes.
func (l *Logger) Tag() string { return l.tag }

// With returns a logger of the same sink under another name and pid.
func (l *Logger) With(tag string, pid int) *Logger {
	if l == nil {
		return nil
	}
	return &Logger{sink: l.sink, tag: tag, pid: pid}
}

// Warnf records a "warning: " line.
func (l *Logger) Warnf(format string, args ...any) {
	l.Emit(Notice{Severity: "warning", Text: fmt.Sprintf(format, args...)})
}

// Errorf records an "error: " line.
func (l *Logger) Errorf(format string, args ...any) {
	l.Emit(Notice{Severity: "error", Text: fmt.Sprintf(format, args...)})
}

// Fatalf records a "fatal: " line; it does not end the process.
func (l *Logger) Fatalf(format string, args ...any) {
	l.Emit(Notice{Severity: "fatal", Text: fmt.Sprintf(format, args...)})
}

// Infof records a line without severity. A fact that tools parse or metrics
// count is a typed event instead.
func (l *Logger) Infof(format string, args ...any) {
	l.Emit(Notice{Text: fmt.Sprintf(format, args...)})
}

// Notice is free text: warnings and remarks that no tool parses.
type Notice struct {
	// Severity is "", "warning", "error", "fatal" or "panic".
	Severity, Text string
}

// AppendText implements Event.
func (n Notice) AppendText(dst []byte) []byte {
	if n.Severity != "" {
		dst = append(append(dst, n.Severity...), ": "...)
	}
	return AppendPrintable(dst, n.Text)
}

// Count implements Counter.
func (n Notice) Count(m *Metrics) {
	if n.Severity != "" {
		m.Notices.WithLabelValues(n.Severity).Inc()
	}
}

// AppendPrintable appends s with every control character, and every byte that is
// no UTF-8, as "?".
func AppendPrintable(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, '?')
			} else {
				dst = append(dst, s[i:i+n]...)
			}
			i += n
			continue
		}
		if c < ' ' || c == 0x7f {
			c = '?'
		}
		dst = append(dst, c)
		i++
	}
	return dst
}

// escapes are the control characters that have a letter of their own.
const escapes = "\a\b\f\n\r\t\v\\"

// AppendEscaped appends s, whatever it is, as a text of printable characters: what
// a stranger sent, shown to the byte.
func AppendEscaped[T string | []byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if at := strings.IndexByte(escapes, c); at >= 0 {
			dst = append(dst, '\\', `abfnrtv\`[at])
		} else if c < ' ' || c >= 0x7f {
			dst = append(dst, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// PIDs hands out the process numbers of log lines. Postfix has a process per
// session, and log tools group by it; here each session takes a number.
type PIDs struct{ last atomic.Uint32 }

// pidMax is where numbers wrap, the default limit of Linux.
const pidMax = 4194304

// Next returns a number between 1 and pidMax.
func (p *PIDs) Next() int { return int(p.last.Add(1)%pidMax) + 1 }

// AppendInt appends n in decimal.
func AppendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }
