package milter

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Message shows a complete message to the filters, one after the other, each with
// the edits of those before. macros gives the values at this stage.
func (c *Chain) Message(ed Editor, macros Macros) *Reply {
	a := asks{cfg: c.cfg, values: macros}
	for _, f := range c.filters {
		if !f.inTransaction() || f.conn == nil {
			continue
		}
		w := walk{f: f, ed: ed, header: a.macros(f, stageEndOfHeader), end: a.macros(f, stageEndOfData)}
		if reply := w.message(); reply != nil {
			return reply
		}
	}
	return nil
}

// walk takes a message past one filter.
type walk struct {
	f  *filter
	ed Editor
	// header and end are the macros of the events up to the end of the header,
	// and after it.
	header, end []string
}

// message shows the message to the filter and makes its edits.
func (w *walk) message() *Reply {
	f, ed := w.f, w.ed
	in := &inbox{editor: ed}
	defer in.discard()
	reply := w.inspect(in)
	if f.state == stateFailed {
		// Whatever was wrong, from now on the filter is one that does not answer.
		f.broken()
		return reply
	}
	// What the answer means for the session ends with the message.
	if f.conn != nil && f.state != stateRejectConn {
		f.state, f.standing, f.skipped = stateEnvelope, nil, 0
		f.patience = f.svc.command
	}
	if cap(f.buf) > chunkSize {
		f.buf = nil // a new body may have come in large pieces
	}
	if reply != nil && reply.Verdict != Quarantine {
		return reply
	}
	if in.storage != nil {
		f.log.Warnf("milter %s: write queue file: %v", f.svc.name, in.storage)
		return refuse(textQueue)
	}
	if len(in.edits.List) > 0 || in.edits.Body != nil {
		edits := in.edits
		in.edits.Body = nil // it belongs to the message now
		if objection := ed.Apply(&edits); objection != nil {
			return objection
		}
	}
	return reply
}

// inspect sends the message and returns the answer.
func (w *walk) inspect(in *inbox) *Reply {
	f := w.f
	f.state, f.patience = stateMessage, f.svc.content
	if f.events&(noHeaders|noEndOfHead|noBody) != noHeaders|noEndOfHead|noBody {
		reply, err := w.content()
		if err != nil {
			f.log.Warnf("milter %s: read queue file: %v", f.svc.name, err)
			return refuse(textQueue)
		}
		if reply != nil || f.state != stateMessage {
			return reply
		}
	}
	h := happening{cmd: cmdEndOfBody, stage: stageEndOfData}
	return f.exchange(&h, w.end, in)
}

// content sends header and body. The error is one of our own storage.
func (w *walk) content() (*Reply, error) {
	f := w.f
	content, err := w.ed.Content()
	if err != nil {
		return nil, err
	}
	src, err := content.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = src.Close() }()
	r := bufio.NewReaderSize(src, ioBuffer)
	if reply, err := w.head(r, w.ed.Hidden()); reply != nil || err != nil || f.state != stateMessage {
		return reply, err
	}
	if f.events&noEndOfHead == 0 {
		h := happening{cmd: cmdEndOfHead, unwanted: noEndOfHead, unanswered: noEndOfHeadReply, stage: stageEndOfHeader}
		if reply := f.exchange(&h, w.header, nil); reply != nil || f.state != stateMessage {
			return reply, nil
		}
	}
	return w.body(r)
}

// head sends the header fields and reads over the empty line behind them.
func (w *walk) head(r *bufio.Reader, hidden string) (*Reply, error) {
	f := w.f
	var field []byte
	for {
		var err error
		field, err = readField(r, field[:0])
		if err != nil || len(field) == 0 {
			return nil, err
		}
		if f.events&noHeaders != 0 {
			continue
		}
		if hidden != "" && string(field) == hidden {
			hidden = "" // our own trace header (RFC 5321 4.4); another may look like it
			continue
		}
		if reply := w.field(field); reply != nil || f.state != stateMessage {
			return reply, nil
		}
	}
}

// field sends one header field: its name, and its value with lines separated by LF.
// Sendmail takes off the blank behind the colon.
func (w *walk) field(field []byte) *Reply {
	f := w.f
	name, value, _ := bytes.Cut(field, []byte{':'})
	if f.events&leadingSpace == 0 {
		value = bytes.TrimPrefix(value, []byte{' '})
	}
	value = bytes.ReplaceAll(value, []byte("\r\n"), []byte("\n"))
	h := happening{
		cmd: cmdHeader, unwanted: noHeaders, unanswered: noHeaderReply, stage: stageEndOfHeader,
		parts: [][]byte{terminated(string(bytes.TrimRight(name, " \t"))), terminated(string(value))},
	}
	return f.exchange(&h, w.header, nil)
}

// readField reads one header field with its continuation lines, without the last
// CRLF. It returns nothing at the empty line, which it takes, and at the end.
func readField(r *bufio.Reader, field []byte) ([]byte, error) {
	for {
		if len(field) > 0 {
			if next, err := r.Peek(1); err != nil || next[0] != ' ' && next[0] != '\t' {
				return trimLine(field), nil
			}
		}
		for {
			part, err := r.ReadSlice('\n')
			field = append(field, part...)
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			break
		}
		if len(trimLine(field)) == 0 {
			return nil, nil
		}
	}
}

// trimLine takes a line end off.
func trimLine(line []byte) []byte { return bytes.TrimSuffix(line, []byte("\r\n")) }

// body sends the rest in chunks.
func (w *walk) body(r io.Reader) (*Reply, error) {
	f := w.f
	if f.events&noBody != 0 {
		return nil, nil
	}
	chunk := f.cfg.chunks.Get().(*[chunkSize]byte)
	defer f.cfg.chunks.Put(chunk)
	for {
		n, err := io.ReadFull(r, chunk[:])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		if n > 0 {
			h := happening{cmd: cmdBody, unwanted: noBody, unanswered: noBodyReply, stage: stageEndOfData, parts: [][]byte{chunk[:n]}}
			if reply := f.exchange(&h, w.end, nil); reply != nil || f.state != stateMessage {
				return reply, nil
			}
			if f.skipped == cmdBody {
				return nil, nil
			}
		}
		if err != nil {
			return nil, nil
		}
	}
}
