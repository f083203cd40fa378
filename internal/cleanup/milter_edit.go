package cleanup

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/milter"
	"postroad/internal/queue"
	"postroad/internal/rewrite"
	"postroad/internal/wire"
)

// editable is a Writer whose content can be read and replaced before the commit.
// That of the queue is.
type editable interface {
	Content() (mail.Content, error)
	Draft(number int) *queue.Draft
	Adopt(*queue.Draft) error
}

// Drafts that may exist at one time.
const (
	draftContent = iota + 1
	draftBody
)

// Bounds of a header that is edited: it is in memory while it is.
const (
	maxEditedHeader = 1 << 20
	maxEditedFields = 20_000
)

// errNotEditable is the error of a queue that takes no edits.
var errNotEditable = errors.New("the queue cannot edit a message")

// editor is a message in the hands of its filters.
type editor struct{ m *Message }

func (e *editor) writer() (editable, error) {
	w, ok := e.m.w.(editable)
	if !ok {
		return nil, errNotEditable
	}
	return w, nil
}

// Content implements milter.Editor.
func (e *editor) Content() (mail.Content, error) {
	w, err := e.writer()
	if err != nil {
		return nil, err
	}
	return w.Content()
}

// Hidden implements milter.Editor.
func (e *editor) Hidden() string { return e.m.filters.trace }

// NewBody implements milter.Editor.
func (e *editor) NewBody() (milter.Body, error) {
	w, err := e.writer()
	if err != nil {
		return nil, err
	}
	return &newBody{m: e.m, draft: w.Draft(draftBody)}, nil
}

// stopped ends the inspection of a message that has been refused or dropped.
func (e *editor) stopped() *milter.Reply {
	if e.m.faults != 0 || e.m.discard {
		return &milter.Reply{Text: "451 4.3.0 Error: queue file write error"}
	}
	return nil
}

// Apply implements milter.Editor.
func (e *editor) Apply(edits *milter.Edits) *milter.Reply {
	m := e.m
	if edits.Body != nil {
		defer edits.Body.Discard()
	}
	if err := e.apply(edits); err != nil {
		m.storageFault(err)
	}
	return e.stopped()
}

// apply makes the edits. An error is one of storage.
func (e *editor) apply(edits *milter.Edits) error {
	content, err := e.Content()
	if err != nil {
		return err
	}
	src, err := content.Open()
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	r := bufio.NewReaderSize(src, 32<<10)
	var head *editedHeader
	e.m.filtered = true
	e.m.filters.checking = true
	defer func() { e.m.filters.checking = false }()
	for i := range edits.List {
		edit := &edits.List[i]
		if row := envelopeEdits[edit.Op]; row != nil {
			row(e.m, edit)
		} else {
			if head == nil {
				if head, err = readEdited(r); err != nil || head == nil {
					return e.tooLarge(err)
				}
			}
			head.apply(e.m, edit)
		}
		if e.stopped() != nil {
			return nil
		}
	}
	if head == nil && edits.Body == nil {
		return nil
	}
	if head == nil {
		if head, err = readEdited(r); err != nil || head == nil {
			return e.tooLarge(err)
		}
	}
	return e.rewrite(head, r, edits.Body)
}

// tooLarge refuses a message whose header is too large to be edited.
func (e *editor) tooLarge(err error) error {
	if err == nil {
		e.m.warnf("header too large for the edits of a mail filter")
		e.m.fail(faultSize, "")
	}
	return err
}

// rewrite writes the message anew: the header, and the body as it was or a new one.
func (e *editor) rewrite(head *editedHeader, rest *bufio.Reader, body milter.Body) error {
	w, err := e.writer()
	if err != nil {
		return err
	}
	d := w.Draft(draftContent)
	defer d.Discard() // does nothing once adopted
	out := bufio.NewWriterSize(d, 32<<10)
	for _, f := range head.fields {
		_, _ = out.Write(f) // the first error stays until Flush
	}
	if body == nil {
		_, err = io.Copy(out, rest)
	} else {
		_, _ = out.WriteString("\r\n")
		err = body.(*newBody).copyTo(out)
	}
	if err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return w.Adopt(d)
}

// editedHeader is a header whose fields can be changed. A field is as it is
// stored, with its CRLFs.
type editedHeader struct{ fields [][]byte }

// readEdited reads the header from r, and not the empty line behind it. It is nil
// when it is too large.
func readEdited(r *bufio.Reader) (*editedHeader, error) {
	h, size := &editedHeader{}, 0
	for {
		next, err := r.Peek(1)
		if errors.Is(err, io.EOF) || err == nil && next[0] == '\r' {
			return h, nil
		}
		if err != nil {
			return nil, err
		}
		var line []byte
		for {
			part, err := r.ReadSlice('\n')
			line = append(line, part...)
			if size += len(part); size > maxEditedHeader {
				return nil, nil
			}
			if err == nil || errors.Is(err, io.EOF) {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return nil, err
			}
		}
		if last := len(h.fields) - 1; last >= 0 && isBlank(line[0]) {
			h.fields[last] = append(h.fields[last], line...)
			continue
		}
		if h.fields = append(h.fields, line); len(h.fields) > maxEditedFields {
			return nil, nil
		}
	}
}

// apply makes one edit. Insertions count every field; changes count those of a
// name, without our own trace header, as Sendmail does.
func (h *editedHeader) apply(m *Message, e *milter.Edit) {
	if e.Op == milter.DeleteHeader {
		if at := h.find(m, e); at >= 0 {
			h.fields = slices.Delete(h.fields, at, at+1)
		}
		return
	}
	text, keep := m.checkAdded([]byte(e.Name + ":" + e.Value))
	if !keep || m.faults != 0 || m.discard {
		return
	}
	field := appendField(nil, text)
	at := -1
	switch e.Op {
	case milter.InsertHeader:
		at = e.Index - 1
	case milter.ChangeHeader:
		if at = h.find(m, e); at >= 0 {
			h.fields[at] = field
			return
		}
	}
	if at < 0 || at >= len(h.fields) {
		h.fields = append(h.fields, field)
		return
	}
	h.fields = slices.Insert(h.fields, at, field)
}

// find returns the place of the field that an edit is about, or -1.
func (h *editedHeader) find(m *Message, e *milter.Edit) int {
	hidden, left := m.filters.trace, e.Index
	for i, f := range h.fields {
		n := mail.FieldName(f)
		if n != len(e.Name) || !strings.EqualFold(string(f[:n]), e.Name) {
			continue
		}
		if hidden != "" && string(bytes.TrimSuffix(f, []byte("\r\n"))) == hidden {
			hidden = ""
			continue
		}
		if left--; left == 0 {
			return i
		}
	}
	return -1
}

// checkAdded applies milter_header_checks to a field that a filter adds.
func (m *Message) checkAdded(text []byte) (out []byte, keep bool) {
	if m.s.filters.checks.Empty() || !m.filtered {
		return text, true
	}
	return m.check(m.s.filters.checks, "milter_header_checks", inHeaderCheck, text)
}

// envelopeEdits are the edits of the envelope.
var envelopeEdits = map[milter.Op]func(*Message, *milter.Edit){
	milter.ChangeSender:    (*Message).changeSender,
	milter.AddRecipient:    func(m *Message, e *milter.Edit) { m.addForFilter(e.Value, e.Args) },
	milter.DeleteRecipient: (*Message).deleteRecipient,
}

// oneAddress is the first address of a text in the form of SMTP.
func (m *Message) oneAddress(text, what string) (addr mail.Address, ok bool) {
	for spot := range rewrite.HeaderAddresses(text) {
		if ok {
			m.warnf("%s: %q", what, text)
			break
		}
		addr, ok = spot.Addr, true
	}
	return addr, ok
}

// changeSender replaces the sender. RET and ENVID may come with it (RFC 3461 4.3,
// 4.4).
func (m *Message) changeSender(e *milter.Edit) {
	for arg := range strings.FieldsSeq(e.Args) {
		name, value, _ := strings.Cut(arg, "=")
		switch _, err := wire.DecodeXtext(value); {
		case strings.EqualFold(name, "RET") && strings.EqualFold(value, "FULL"):
			m.env.Ret = mail.RetFull
		case strings.EqualFold(name, "RET") && strings.EqualFold(value, "HDRS"):
			m.env.Ret = mail.RetHeaders
		case strings.EqualFold(name, "ENVID") && err == nil:
			m.env.EnvID = value
		default:
			m.s.deps.Log.Warnf("Ignoring bad ESMTP parameter %q in SMFI_CHGFROM request", arg)
		}
	}
	addr, _ := m.oneAddress(e.Value, "Milter request to add multi-sender")
	m.setSender(addr)
}

// notifyWords are the words of NOTIFY (RFC 3461 4.1).
var notifyWords = map[string]mail.Notify{
	"SUCCESS": mail.NotifySuccess, "FAILURE": mail.NotifyFailure, "DELAY": mail.NotifyDelay, "NEVER": mail.NotifyNever,
}

// addForFilter adds a recipient, perhaps with NOTIFY and ORCPT.
func (m *Message) addForFilter(text, args string) {
	var r mail.Recipient
	for arg := range strings.FieldsSeq(args) {
		name, value, _ := strings.Cut(arg, "=")
		switch {
		case strings.EqualFold(name, "NOTIFY"):
			notify := parseNotify(value)
			if notify == 0 || r.Notify != 0 {
				m.warnf("Bad NOTIFY parameter from Milter or header/body_checks: \"%.100s\"", arg)
				continue
			}
			r.Notify = notify
		case strings.EqualFold(name, "ORCPT"):
			kind, orcpt, found := strings.Cut(value, ";")
			if _, err := wire.DecodeXtext(orcpt); !found || kind == "" || err != nil || r.ORCPT != "" {
				m.warnf("Bad ORCPT parameter from Milter or header/body_checks: \"%.100s\"", arg)
				continue
			}
			r.ORCPT = value
		default:
			m.warnf("ignoring ESMTP argument from Milter or header/body_checks: \"%.100s\"", arg)
		}
	}
	addr, ok := m.oneAddress(text, "Milter or header/body_checks request to add multi-recipient")
	if !ok {
		m.warnf("ignoring attempt from Milter to add null recipient")
		return
	}
	r.Address = m.canonicalRecipient(addr)
	r.Original = r.Address
	m.expand(r)
}

// parseNotify reads NOTIFY; 0 is an error.
func parseNotify(value string) mail.Notify {
	var all mail.Notify
	for word := range strings.SplitSeq(value, ",") {
		bit := notifyWords[strings.ToUpper(word)]
		if bit == 0 {
			return 0
		}
		all |= bit
	}
	if all&mail.NotifyNever != 0 && all != mail.NotifyNever {
		return 0
	}
	return all
}

// deleteRecipient removes a recipient and all that became of it.
func (m *Message) deleteRecipient(e *milter.Edit) {
	addr, ok := m.oneAddress(e.Value, "Milter request to drop multi-recipient")
	if !ok {
		return
	}
	m.env.Recipients = slices.DeleteFunc(m.env.Recipients, func(r mail.Recipient) bool {
		given := r.Address
		if m.s.set.OriginalRcpt && r.Original != "" {
			given = r.Original
		}
		if given != addr {
			return false
		}
		m.seen.drop(m.seenKey(&r))
		return true
	})
}

// newBody is a body from a filter: its line ends become CRLF.
type newBody struct {
	m      *Message
	draft  *queue.Draft
	buf    []byte
	heldCR bool
	open   bool
}

// Write implements milter.Body.
func (b *newBody) Write(p []byte) (int, error) {
	m := b.m
	out := b.buf[:0]
	for _, c := range p {
		switch {
		case c == '\n':
			out = append(out, '\r', '\n')
			b.open = false
		case b.heldCR:
			out = append(out, m.text.stray()...)
			fallthrough
		default:
			if b.open = true; c != '\r' {
				out = append(out, c)
			}
		}
		b.heldCR = c == '\r'
	}
	b.buf = out
	if limit := m.s.set.MessageSize; limit > 0 && b.draft.Size()+int64(len(out)) > limit {
		m.fail(faultSize, "")
		return 0, errBodyTooLarge
	}
	if _, err := b.draft.Write(out); err != nil {
		m.storageFault(err)
		return 0, err
	}
	return len(p), nil
}

// errBodyTooLarge is the error of a new body over message_size_limit.
var errBodyTooLarge = errors.New("message_size_limit exceeded")

// Discard implements milter.Body.
func (b *newBody) Discard() { b.draft.Discard() }

// copyTo writes the complete body.
func (b *newBody) copyTo(w io.Writer) error {
	if b.heldCR || b.open {
		if _, err := b.draft.Write([]byte("\r\n")); err != nil {
			return err
		}
	}
	content, err := b.draft.Content()
	if err != nil {
		return err
	}
	r, err := content.Open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	_, err = io.Copy(w, r)
	return err
}
