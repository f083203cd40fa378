package smtp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// Outgoing is what is done to mail on its way out: smtp_generic_maps for
// addresses, and the smtp_*_checks for lines.
type Outgoing struct {
	// Generic gives the address that the world sees; nil leaves addresses alone.
	Generic func(ctx context.Context, addr mail.Address) (mail.Address, error)
	// Header, MIME, Nested and Body are the checks for the message's header, those
	// of its parts, those of attached messages, and text; nil checks nothing.
	Header, MIME, Nested, Body Maps
	// BodyLimit is how many bytes of each part the body checks see, 0 for all.
	BodyLimit int64
	// Proto is the prefix of the parameters in warnings: smtp or lmtp.
	Proto string
}

// needed tells whether content has to be looked at.
func (o *Outgoing) needed() bool {
	return o != nil && (o.Generic != nil || o.Header != nil || o.MIME != nil || o.Nested != nil || o.Body != nil)
}

// checkKind is what a line is to the checks.
type checkKind uint8

const (
	checkHeader checkKind = iota
	checkMIME
	checkNested
	checkBody
)

// checkRow is one kind of check.
type checkRow struct {
	param, class string
	maps         func(*Outgoing) Maps
}

var checkRows = [...]checkRow{
	checkHeader: {"header_checks", "header", func(o *Outgoing) Maps { return o.Header }},
	checkMIME:   {"mime_header_checks", "header", func(o *Outgoing) Maps { return o.MIME }},
	checkNested: {"nested_header_checks", "header", func(o *Outgoing) Maps { return o.Nested }},
	checkBody:   {"body_checks", "body", func(o *Outgoing) Maps { return o.Body }},
}

// outReader applies Outgoing to content as it is read. Like all content it has
// CRLF line ends.
type outReader struct {
	ctx context.Context
	o   *Outgoing
	id  mail.QueueID
	log *event.Logger

	in  *bufio.Reader
	out []byte // what Read returns next
	pos int
	err error
	// kind is where the reader is, field the header field being collected.
	kind  checkKind
	field []byte
	// ctype is the content type of the entity whose header is read.
	ctype []byte
	nest  nesting
	// start tells that the input is at the start of a line, seen counts the bytes
	// of the current part.
	start bool
	seen  int64
}

func newOutReader(ctx context.Context, o *Outgoing, id mail.QueueID, log *event.Logger, r io.Reader) io.Reader {
	return &outReader{ctx: ctx, o: o, id: id, log: log, in: bufio.NewReaderSize(r, maxMIMELine), start: true}
}

// Read implements io.Reader.
func (r *outReader) Read(p []byte) (int, error) {
	for r.pos == len(r.out) {
		if r.err != nil {
			return 0, r.err
		}
		r.out, r.pos = r.out[:0], 0
		if err := r.step(); err != nil {
			r.err = err
		}
	}
	n := copy(p, r.out[r.pos:])
	r.pos += n
	return n, nil
}

// step takes one line, or a piece of one that is too long.
func (r *outReader) step() error {
	line, err := r.in.ReadSlice('\n')
	whole := err == nil
	start := r.start
	r.start = whole
	if err == bufio.ErrBufferFull {
		err = nil
	}
	switch {
	case r.kind == checkBody:
		if lookErr := r.bodyLine(line, start); lookErr != nil {
			return lookErr
		}
	case len(line) > 0:
		if lookErr := r.headerLine(line); lookErr != nil {
			return lookErr
		}
	}
	if err != nil && r.kind != checkBody {
		if lookErr := r.endField(); lookErr != nil {
			return lookErr
		}
	}
	return err
}

// headerLine collects header fields; the empty line ends the header.
func (r *outReader) headerLine(line []byte) error {
	if len(r.field) > 0 && (line[0] == ' ' || line[0] == '\t') && len(r.field)+len(line) <= maxHeader {
		r.field = append(r.field, line...)
		return nil
	}
	if err := r.endField(); err != nil {
		return err
	}
	if bytes.IndexByte(line, ':') > 0 {
		r.field = append(r.field, line...)
		return nil
	}
	r.endHeader()
	r.out = append(r.out, line...)
	return nil
}

// endHeader goes from a header to what follows it.
func (r *outReader) endHeader() {
	ctype := strings.ToLower(string(r.ctype))
	switch {
	case strings.HasPrefix(ctype, "multipart/"):
		r.nest.push(boundary(r.ctype))
		r.kind = checkBody
	case strings.HasPrefix(ctype, "message/rfc822"), strings.HasPrefix(ctype, "message/global"):
		r.kind = checkNested
	default:
		r.kind = checkBody
	}
	r.ctype, r.seen = nil, 0
}

// bodyLine handles one line of text, or a piece of one.
func (r *outReader) bodyLine(line []byte, start bool) error {
	if start {
		switch inside, found := r.nest.line(line); {
		case found && inside:
			r.kind, r.seen = checkMIME, 0
			r.out = append(r.out, line...)
			return nil
		case found:
			r.seen = 0
			r.out = append(r.out, line...)
			return nil
		}
	}
	text := bytes.TrimRight(line, "\r\n")
	look := r.o.Body != nil && len(text) > 0 && (r.o.BodyLimit == 0 || r.seen < r.o.BodyLimit)
	r.seen += int64(len(line))
	if !look {
		r.out = append(r.out, line...)
		return nil
	}
	out, keep, err := r.check(checkBody, string(text))
	if err != nil || !keep {
		return err
	}
	r.out = append(append(r.out, out...), line[len(text):]...)
	return nil
}

// endField handles a header field that is complete.
func (r *outReader) endField() error {
	if len(r.field) == 0 {
		return nil
	}
	defer func() { r.field = r.field[:0] }()
	if hasName(r.field, "content-type") {
		r.ctype = headerValue(r.field, "content-type")
	}
	text := strings.ReplaceAll(strings.TrimRight(string(r.field), "\r\n"), "\r\n", "\n")
	was := text
	if r.kind == checkHeader && r.o.Generic != nil {
		var err error
		if text, err = r.rewrite(text); err != nil {
			return err
		}
	}
	kind := r.kind
	name, _, _ := strings.Cut(text, ":")
	if rewrite.MIMEField(strings.ToLower(name)) {
		kind = checkMIME
	}
	text, keep, err := r.check(kind, text)
	if err != nil || !keep {
		return err
	}
	if text == was {
		r.out = append(r.out, r.field...)
		return nil
	}
	r.out = append(append(r.out, strings.ReplaceAll(text, "\n", "\r\n")...), "\r\n"...)
	return nil
}

// rewrite applies the generic maps to a field with addresses.
func (r *outReader) rewrite(text string) (string, error) {
	name, value, _ := strings.Cut(text, ":")
	if _, ok := rewrite.AddressField(strings.ToLower(strings.TrimRight(name, " \t"))); !ok {
		return text, nil
	}
	changed, err := rewrite.RewriteHeader(value, func(addr mail.Address) (mail.Address, error) {
		return r.o.Generic(r.ctx, addr)
	})
	if err != nil {
		return text, fmt.Errorf("%s_generic_maps: %w", r.o.Proto, err)
	}
	if changed == value {
		return text, nil
	}
	return name + ": " + rewrite.Refold(changed, len(name)+2), nil
}

// check looks a line up and does what the table says.
func (r *outReader) check(kind checkKind, text string) (out string, keep bool, err error) {
	row := &checkRows[kind]
	maps := row.maps(r.o)
	if maps == nil {
		return text, true, nil
	}
	value, found, err := maps.Find(r.ctx, text)
	if err != nil {
		return text, true, fmt.Errorf("%s_%s: %w", r.o.Proto, row.param, err)
	}
	if !found {
		return text, true, nil
	}
	word, arg := value, ""
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		word, arg = value[:i], strings.TrimLeft(value[i:], " \t")
	}
	for _, act := range outActions {
		if strings.EqualFold(act.word, word) {
			out, keep := act.do(r, &outAction{row: row, text: text, arg: arg})
			return out, keep, nil
		}
	}
	r.log.Warnf("unsupported command in %s_%s map: %s", r.o.Proto, row.param, value)
	return text, true, nil
}

// outAction is one rule that matched.
type outAction struct {
	row       *checkRow
	text, arg string
}

// outActions are the words of header_checks(5) that smtp(8) knows.
var outActions = []struct {
	word string
	do   func(*outReader, *outAction) (out string, keep bool)
}{
	{"DUNNO", func(_ *outReader, a *outAction) (string, bool) { return a.text, true }},
	{"OK", func(_ *outReader, a *outAction) (string, bool) { return a.text, true }},
	{"IGNORE", func(*outReader, *outAction) (string, bool) { return "", false }},
	{"STRIP", func(r *outReader, a *outAction) (string, bool) { r.say("strip", a); return "", false }},
	{"INFO", func(r *outReader, a *outAction) (string, bool) { r.say("info", a); return a.text, true }},
	{"WARN", func(r *outReader, a *outAction) (string, bool) { r.say("warning", a); return a.text, true }},
	{"PREPEND", (*outReader).prepend},
	{"REPLACE", (*outReader).replace},
}

func (r *outReader) prepend(a *outAction) (string, bool) {
	if !r.usable("PREPEND", a) {
		return a.text, true
	}
	r.say("prepend", a)
	r.out = append(append(r.out, strings.ReplaceAll(a.arg, "\n", "\r\n")...), "\r\n"...)
	return a.text, true
}

func (r *outReader) replace(a *outAction) (string, bool) {
	if !r.usable("REPLACE", a) {
		return a.text, true
	}
	r.say("replace", a)
	return a.arg, true
}

// usable tells whether the text of a PREPEND or REPLACE can stand where it goes.
func (r *outReader) usable(word string, a *outAction) bool {
	switch {
	case a.arg == "":
		r.log.Warnf("%s action without text in %s_%s map", word, r.o.Proto, a.row.param)
		return false
	case a.row.class == "header" && !isField(a.arg):
		r.log.Warnf("bad %s header text \"%s\" in %s_%s map -- need \"headername: headervalue\"", word, a.arg, r.o.Proto, a.row.param)
		return false
	}
	return true
}

// isField tells whether a text begins as a header field does.
func isField(text string) bool {
	i := strings.IndexByte(text, ':')
	return i > 0 && !strings.ContainsAny(strings.TrimRight(text[:i], " \t"), " \t\r\n")
}

// say writes the line of an action.
func (r *outReader) say(word string, a *outAction) {
	r.log.Emit(event.OutgoingCheck{ID: r.id, Action: word, Class: a.row.class, Line: a.text, Text: a.arg})
}
