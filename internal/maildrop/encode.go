package maildrop

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"

	"postroad/internal/mail"
)

// Encoder writes one message as records: sendmail(1) uses it to talk to
// postdrop(1), Writer to fill a file.
type Encoder struct {
	w *bufio.Writer
	// stage is the part of the file being written.
	stage stage
	// inLine tells that the last content record was a piece of a line.
	inLine bool
	count  int
}

// stage is the part of a file.
type stage uint8

const (
	stageEnvelope stage = iota
	stageContent
	stageExtracted
	stageEnd
)

// errStage is a use of the Encoder in the wrong order.
var errStage = errors.New("maildrop: written out of order")

// NewEncoder writes the envelope to w and is ready for more recipients or the
// content.
func NewEncoder(w io.Writer, e *Envelope) (*Encoder, error) {
	enc := &Encoder{w: bufio.NewWriterSize(w, 32<<10)}
	for _, s := range []string{e.FullName, string(e.Sender), e.EnvID, e.VERP} {
		if err := clean(recSender, s); err != nil {
			return nil, err
		}
	}
	// Postfix's postdrop notes the time itself and refuses one that it is given:
	// a zero time is left out.
	if !e.Queued.IsZero() {
		stamp := strconv.FormatInt(max(e.Queued.Unix(), 0), 10) + " " + strconv.Itoa(e.Queued.Nanosecond()/1000)
		_ = enc.put(recTime, stamp)
	}
	if options := SenderOptions(e.SMTPUTF8, false, e.RequireTLS); options != 0 {
		_ = enc.put(recSize, sizeRecord(options))
	}
	for _, attr := range e.attributes() {
		_ = enc.put(recAttr, attr)
	}
	if e.FullName != "" {
		_ = enc.put(recFullName, e.FullName)
	}
	_ = enc.put(recSender, string(e.Sender))
	if e.VERP != "" {
		_ = enc.put(recVERP, e.VERP)
	}
	err := error(nil)
	if e.Encoding != "" {
		err = enc.put(recAttr, "encoding="+e.Encoding)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range e.Recipients {
		if err := enc.AddRecipient(r); err != nil {
			return nil, err
		}
	}
	return enc, nil
}

// put writes one record of text.
func (e *Encoder) put(kind byte, text string) error { return writeRecord(e.w, kind, []byte(text)) }

// AddRecipient writes a recipient. After content has been written it ends the
// content: these are the recipients that option -t found in the header.
func (e *Encoder) AddRecipient(r Recipient) error {
	if err := errors.Join(clean(recRecipient, string(r.Address)), clean(recOrigRcpt, string(r.Original)), clean(recRecipient, r.ORCPT)); err != nil {
		return err
	}
	if e.count++; e.count > MaxRecipients {
		return formatError("more than %d recipients", MaxRecipients)
	}
	if e.stage == stageContent {
		if err := e.endContent(); err != nil {
			return err
		}
	}
	if e.stage == stageEnd {
		return errStage
	}
	if r.ORCPT != "" {
		_ = e.put(recAttr, "dsn_orig_rcpt="+r.ORCPT)
	}
	if r.Notify != 0 {
		_ = e.put(recAttr, "notify_flags="+strconv.Itoa(notifyFlags(r.Notify)))
	}
	if r.Original != "" {
		_ = e.put(recOrigRcpt, string(r.Original))
	}
	return e.put(recRecipient, string(r.Address))
}

// Write takes content whose lines end with LF; a line may span calls.
func (e *Encoder) Write(p []byte) (int, error) {
	if e.stage == stageEnvelope {
		_ = e.put(recContent, "")
		e.stage = stageContent
	}
	if e.stage != stageContent {
		return 0, errStage
	}
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		line := rest
		if end >= 0 {
			line = rest[:end]
		}
		for len(line) > pieceSize {
			_ = writeRecord(e.w, recPiece, line[:pieceSize])
			line = line[pieceSize:]
		}
		if end < 0 {
			e.inLine = true
			if err := writeRecord(e.w, recPiece, line); err != nil {
				return 0, err
			}
			break
		}
		e.inLine = false
		if err := writeRecord(e.w, recLine, line); err != nil {
			return 0, err
		}
		rest = rest[end+1:]
	}
	return len(p), nil
}

// endContent ends an unfinished last line and the content.
func (e *Encoder) endContent() error {
	if e.inLine {
		_ = e.put(recLine, "")
	}
	e.stage = stageExtracted
	return e.put(recExtracted, "")
}

// Flush passes on what is written so far, whole records. A reader that meets the
// end of the stream behind them knows that the message was given up.
func (e *Encoder) Flush() error { return e.w.Flush() }

// Close writes the end and flushes; it does not close the writer below.
func (e *Encoder) Close() error {
	if e.stage == stageEnvelope {
		_ = e.put(recContent, "")
		e.stage = stageContent
	}
	if e.stage == stageContent {
		_ = e.endContent()
	}
	if e.stage == stageEnd {
		return errStage
	}
	e.stage = stageEnd
	_ = e.put(recEnd, "")
	return e.w.Flush()
}

// Postfix's notify_flags count NEVER first.
var notifyBits = []struct {
	ours    mail.Notify
	postfix int
}{
	{mail.NotifyNever, 1}, {mail.NotifySuccess, 2}, {mail.NotifyFailure, 4}, {mail.NotifyDelay, 8},
}

// notifyFlags translates into Postfix's notify_flags.
func notifyFlags(n mail.Notify) int {
	out := 0
	for _, b := range notifyBits {
		if n&b.ours != 0 {
			out |= b.postfix
		}
	}
	return out
}

// parseNotify translates Postfix's notify_flags.
func parseNotify(s string) (mail.Notify, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 15 {
		return 0, formatError("notify_flags=%.20q", s)
	}
	var out mail.Notify
	for _, b := range notifyBits {
		if n&b.postfix != 0 {
			out |= b.ours
		}
	}
	return out, nil
}
