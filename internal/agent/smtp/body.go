package smtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"postroad/internal/event"
)

// errLocal is trouble with the content on our side, not with the connection.
var errLocal = errors.New("content cannot be read")

// content sends the message after DATA was accepted, and reads the verdict.
func (x *xfer) content(ctx context.Context) {
	a, s := x.a, x.s
	// The commands before are done; from here to the verdict the transaction
	// cannot be taken back.
	keep := !s.noCache && a.wantCache(s)
	var err error
	if x.accepted > 0 {
		err = x.body()
	}
	if errors.Is(err, errLocal) {
		// RFC 5321 4.1.1.4: only the connection's end can cancel the message.
		s.broken = true
		a.d.Logger.Warnf("%s: %v", a.d.Envelope.ID, err)
		a.bulkFail(s, newFailure("4.3.0", "local data error while talking to "+s.name), failThrottle)
		return
	}
	if err == nil {
		err = x.pixPause(ctx)
	}
	cut := err
	if err == nil {
		start := len(s.out)
		s.out = append(s.out, ".\r\n"...)
		if !keep && s.feat&featPipelining != 0 {
			s.out = append(s.out, "QUIT\r\n"...)
			s.quitSent = true
		}
		s.say(s.out[start:])
		err = s.flush(a.c.Settings.DataXferTimeout)
		cut = err
	}
	if err != nil && (isTimeout(err) || ctx.Err() != nil) {
		a.ioFail(ctx, s, err, "sending message body")
		return
	}
	// A server that closed early may have said why.
	s.broken = s.broken || cut != nil
	x.verdict(ctx, cut != nil)
}

// verdict reads the replies to the end of the data: one, or with LMTP one for
// each recipient that was accepted (RFC 2033 4.2).
func (x *xfer) verdict(ctx context.Context, cut bool) {
	a, s := x.a, x.s
	const dot = "end of DATA command"
	n := 1
	if a.c.LMTP && x.accepted > 0 {
		n = x.accepted
	}
	next := 0
	for range n {
		r, err := s.read(a.c.Settings.DataDoneTimeout, nil)
		if err == nil && r.code == 221 {
			// This is the answer to QUIT: ours got lost.
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			where := "sending end of data -- message may be sent more than once"
			if cut {
				where = "sending message body"
			}
			a.ioFail(ctx, s, err, where)
			return
		}
		ok := r.class() == 2 && !cut
		if r.code == 421 {
			s.noCache = true
		}
		switch {
		case x.accepted == 0:
		case a.c.LMTP:
			for next < len(a.todo) && a.state[a.todo[next]] != rcptOpen {
				next++
			}
			if next == len(a.todo) {
				return
			}
			if ok {
				a.sent(a.todo[next], s, r.enhanced(), r.line())
			} else {
				a.rcptFail(a.todo[next], s, x.said(&r, dot))
			}
			next++
		case ok:
			enhanced, text := r.enhanced(), r.line()
			for _, i := range a.todo {
				if a.state[i] == rcptOpen {
					a.sent(i, s, enhanced, text)
				}
			}
		default:
			a.bulkFail(s, x.said(&r, dot), 0)
		}
	}
	s.dirty = false
	if s.quitSent && !a.c.Settings.SkipQuitResponse {
		s.read(a.c.Settings.QuitTimeout, nil)
	}
}

// body sends the content. An error of ours wraps errLocal.
func (x *xfer) body() error {
	set := &x.a.c.Settings
	w := &bodyWriter{s: x.s, limit: set.LineLengthLimit, timeout: set.DataXferTimeout, start: true}
	if set.RequestDeadline && w.timeout > 0 {
		w.rate, w.left = set.MinDataRate, w.timeout
	}
	content := x.a.d.Content
	out := &x.a.c.Outgoing
	if b := content.Bytes(); b != nil && !x.convert() && !out.needed() {
		w.write(b)
	} else {
		r, err := content.Open()
		if err != nil {
			return errors.Join(errLocal, err)
		}
		defer r.Close()
		var src io.Reader = r
		if out.needed() {
			src = newOutReader(x.ctx, out, x.a.d.Envelope.ID, x.a.d.Logger, r)
		}
		if x.convert() {
			src = newQPReader(src)
		}
		if err := w.copy(src); err != nil {
			return err
		}
	}
	w.finish()
	if w.folded {
		x.a.d.Logger.Emit(event.LineFolded{ID: x.a.d.Envelope.ID, Limit: w.limit})
	}
	return w.err
}

// convert tells whether the content must become 7-bit: the server does not
// know 8BITMIME (RFC 6152 3).
func (x *xfer) convert() bool {
	return x.s.feat&feat8Bit == 0 && x.a.d.Envelope.EightBit && !x.a.c.Common.DisableMIMEConversion &&
		!x.a.d.Envelope.SMTPUTF8
}

// bodyWriter puts content into the write buffer of a session as SMTP wants it:
// CRLF line ends, a dot before lines that begin with one (RFC 5321 4.5.2), and
// no line longer than limit.
type bodyWriter struct {
	s       *session
	limit   int
	timeout time.Duration
	// start tells that the next byte begins a line, cr that a CR came last and
	// is not written yet, length is that of the current line.
	start, cr bool
	length    int
	folded    bool
	err       error
	// rate is smtp_min_data_rate, 0 without a deadline; left is what is left of
	// the time for the request.
	rate int
	left time.Duration
}

// write takes the next piece of content.
func (w *bodyWriter) write(b []byte) {
	for len(b) > 0 && w.err == nil {
		i := bytes.IndexByte(b, '\n')
		line, whole := b, false
		if i >= 0 {
			line, whole = b[:i], true
			b = b[i+1:]
		} else {
			b = nil
		}
		w.line(line, whole)
	}
}

// line takes a line, or a part of one when whole is false.
func (w *bodyWriter) line(line []byte, whole bool) {
	if w.cr && len(line) > 0 {
		// The CR before was not the end of a line.
		w.cr = false
		w.text([]byte{'\r'})
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
		w.cr = true
	}
	w.text(line)
	if whole {
		w.cr = false
		w.raw("\r\n")
		w.start, w.length = true, 0
	}
}

// text writes bytes within a line. A CR inside is no line end and must not
// look like one to a careless server; it becomes a space.
func (w *bodyWriter) text(b []byte) {
	if len(b) == 0 {
		return
	}
	if w.start && b[0] == '.' {
		w.raw(".")
	}
	w.start = false
	for w.limit > 0 && w.length+len(b) > w.limit {
		n := w.limit - w.length
		w.plain(b[:n])
		w.raw("\r\n ")
		b = b[n:]
		w.length, w.folded = 1, true
	}
	w.plain(b)
	w.length += len(b)
}

func (w *bodyWriter) plain(b []byte) {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			w.bytes(b)
			return
		}
		w.bytes(b[:i])
		w.raw(" ")
		b = b[i+1:]
	}
}

func (w *bodyWriter) raw(s string) {
	w.s.out = append(w.s.out, s...)
	w.room()
}

func (w *bodyWriter) bytes(b []byte) {
	for len(b) > 0 && w.err == nil {
		n := min(len(b), max(outBufSize-len(w.s.out), 1))
		w.s.out = append(w.s.out, b[:n]...)
		b = b[n:]
		w.room()
	}
}

// room sends a full buffer.
func (w *bodyWriter) room() {
	if len(w.s.out) < outBufSize || w.err != nil {
		return
	}
	if w.rate == 0 {
		w.err = w.s.flush(w.timeout)
		return
	}
	w.err = w.metered()
}

// metered sends a full buffer under smtp_per_request_deadline: all of the content
// has the time limit of one write, and what was sent gives back the time that it
// takes at smtp_min_data_rate. Only the server's time counts.
func (w *bodyWriter) metered() error {
	if w.left <= 0 {
		return os.ErrDeadlineExceeded
	}
	n, start := len(w.s.out), time.Now()
	if err := w.s.flush(w.left); err != nil {
		return err
	}
	w.left = min(w.left-time.Since(start)+time.Duration(n)*time.Second/time.Duration(w.rate), w.timeout)
	return nil
}

// finish ends the last line.
func (w *bodyWriter) finish() {
	if !w.start || w.cr {
		w.raw("\r\n")
	}
}

// copy reads content in pieces.
func (w *bodyWriter) copy(r io.Reader) error {
	buf := make([]byte, outBufSize)
	for w.err == nil {
		n, err := r.Read(buf)
		w.write(buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errors.Join(errLocal, err)
		}
	}
	return nil
}
