package maildrop

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"postroad/internal/mail"
)

// Decoder reads one message from records, in the order Envelope, Content,
// Extracted.
type Decoder struct {
	r     *bufio.Reader
	buf   []byte
	count int
	attrs int
	// orcpt, notify and original belong to the recipient that follows.
	orcpt    string
	notify   mail.Notify
	original mail.Address
	// returned is set for a requeued message: it may say more than a submission.
	returned *mail.Envelope
}

// NewDecoder reads from r.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: bufio.NewReaderSize(r, 32<<10)} }

// next reads one record; its data is valid until the next call.
func (d *Decoder) next() (byte, []byte, error) {
	kind, data, err := readRecord(d.r, d.buf)
	d.buf = data[:0]
	if errors.Is(err, io.EOF) {
		return 0, nil, ErrEarlyEnd
	}
	if err != nil {
		return 0, nil, err
	}
	return kind, data, nil
}

// Envelope reads up to the content.
func (d *Decoder) Envelope() (*Envelope, error) {
	e := &Envelope{Returned: d.returned}
	sender := false
	for {
		kind, data, err := d.next()
		if err != nil {
			return nil, err
		}
		if kind == recContent {
			break
		}
		text := string(data)
		if err := clean(kind, text); err != nil {
			return nil, err
		}
		switch {
		case kind == recSender && sender:
			return nil, formatError("a second sender")
		case kind == recSender:
			sender = true
			e.Sender = mail.Address(text)
		case isRecipientRecord(kind, text) && !sender:
			return nil, formatError("a recipient before the sender")
		default:
			if e.Recipients, err = d.take(e, kind, text, e.Recipients); err != nil {
				return nil, err
			}
		}
	}
	if !sender {
		return nil, formatError("no sender")
	}
	return e, nil
}

// isRecipientRecord tells whether a record names or describes a recipient.
func isRecipientRecord(kind byte, text string) bool {
	return kind == recRecipient || kind == recOrigRcpt ||
		kind == recAttr && (strings.HasPrefix(text, "notify_flags=") || strings.HasPrefix(text, "dsn_orig_rcpt="))
}

// take handles one envelope record other than the sender.
func (d *Decoder) take(e *Envelope, kind byte, text string, rcpts []Recipient) ([]Recipient, error) {
	var err error
	switch kind {
	case recTime:
		e.Queued, err = parseTime(text)
	case recSize:
		e.setOptions(text)
	case recFullName:
		e.FullName = text
	case recVERP:
		e.VERP = text
	case recAttr:
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return rcpts, formatError("attribute %.40q", text)
		}
		err = d.attr(e, strings.TrimSpace(name), value)
	case recRecipient:
		if d.count++; d.count > MaxRecipients {
			return rcpts, formatError("more than %d recipients", MaxRecipients)
		}
		rcpts = append(rcpts, Recipient{Address: mail.Address(text), Original: d.original, ORCPT: d.orcpt, Notify: d.notify})
		d.orcpt, d.notify, d.original, d.attrs = "", 0, "", 0
	case recOrigRcpt:
		if d.returned != nil {
			d.original = mail.Address(text)
		}
	case recDone, recReceipt, recErrors, recRet, recEnvID, recORCPT, recNotify:
		// Of old versions and of messages put back from the queue; without
		// meaning for a submission.
	default:
		err = formatError("type %d in the envelope", kind)
	}
	return rcpts, err
}

// attr takes one attribute of the envelope or of the recipient that follows.
func (d *Decoder) attr(e *Envelope, name, value string) (err error) {
	if d.attrs++; d.attrs > maxAttrs {
		return formatError("more than %d attributes", maxAttrs)
	}
	switch name {
	case "notify_flags":
		d.notify, err = parseNotify(value)
	case "dsn_orig_rcpt":
		d.orcpt = value
	default:
		err = e.setAttr(name, value)
	}
	return err
}

// Content copies the content to w, every line ended by CRLF.
func (d *Decoder) Content(w io.Writer) error {
	r := d.ContentReader()
	for {
		text, err := r.next()
		if len(text) > 0 {
			if _, err := w.Write(text); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// ContentReader reads the content as Content gives it; it stands in for Content.
func (d *Decoder) ContentReader() *ContentReader { return &ContentReader{d: d} }

// ContentReader is the content of a message as a stream. A line break inside a
// record becomes a space: records hold one line each, and a smuggled one must not
// become two.
type ContentReader struct {
	d      *Decoder
	out    []byte
	rest   []byte
	inLine bool
	err    error
}

// Read implements io.Reader.
func (r *ContentReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.rest, r.err = r.next()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next returns up to about 32 KiB of content, valid until the next call, with
// io.EOF at the end.
func (r *ContentReader) next() ([]byte, error) {
	out := r.out[:0]
	for len(out) < 32<<10 {
		kind, data, err := r.d.next()
		switch {
		case err != nil:
			return nil, err
		case kind == recExtracted:
			if r.inLine {
				out = append(out, '\r', '\n')
			}
			return out, io.EOF
		case kind != recLine && kind != recPiece:
			return nil, formatError("type %d in the content", kind)
		}
		if bytes.IndexByte(data, '\n') >= 0 {
			data = bytes.ReplaceAll(data, []byte{'\n'}, []byte{' '})
		}
		out = append(out, data...)
		if r.inLine = kind == recPiece; !r.inLine {
			out = append(out, '\r', '\n')
		}
	}
	r.out = out
	return out, nil
}

// Extracted reads what follows the content: the recipients that option -t found
// in the header. It fails unless the file ends as it should.
func (d *Decoder) Extracted(e *Envelope) ([]Recipient, error) {
	var rcpts []Recipient
	for {
		kind, data, err := d.next()
		if err != nil {
			return nil, err
		}
		if kind == recEnd {
			return rcpts, nil
		}
		text := string(data)
		if err := clean(kind, text); err != nil {
			return nil, err
		}
		if kind == recSender || kind == recTime {
			return nil, formatError("type %d after the content", kind)
		}
		if rcpts, err = d.take(e, kind, text, rcpts); err != nil {
			return nil, err
		}
	}
}
