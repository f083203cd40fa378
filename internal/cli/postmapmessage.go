package cli

import (
	"strings"

	"postroad/internal/mail"
)

// maxParts bounds how deep messages nest for -m.
const maxParts = 100

// messageReader cuts a message into the keys of -h and -b: one per logical
// header, with its line breaks, and one per body line. With -m the headers of
// MIME parts and of attached messages are headers too.
type messageReader struct {
	mime bool
	// onHeader and onBody take the keys; either may be nil.
	onHeader, onBody func(string) error

	inHeader bool
	// header is the logical header so far.
	header string
	// boundaries are those of the multiparts around us, innermost last; next
	// is that of the part whose header we read.
	boundaries []string
	next       string
	// attached tells that the part whose header we read is a message.
	attached bool
}

// queryMessage feeds the keys of the message on the standard input to ask.
func (m *mapTool) queryMessage(ask func(string) error) error {
	r := &messageReader{mime: m.mime, inHeader: true}
	if m.header {
		r.onHeader = ask
	}
	if m.body {
		r.onBody = ask
	}
	if err := m.eachLine(r.line); err != nil {
		return err
	}
	return r.flush()
}

// line takes the next line.
func (r *messageReader) line(text string) error {
	if !r.inHeader {
		return r.bodyLine(text)
	}
	switch {
	case text != "" && (text[0] == ' ' || text[0] == '\t') && r.header != "":
		r.header += "\n" + text
		return nil
	case mail.FieldName([]byte(text)) > 0:
		err := r.flush()
		r.header = text
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	if r.next != "" && len(r.boundaries) < maxParts {
		r.boundaries = append(r.boundaries, r.next)
	}
	r.inHeader = r.attached && text == ""
	r.next, r.attached = "", false
	return r.bodyLine(text)
}

// flush hands out the header that is complete.
func (r *messageReader) flush() error {
	header := r.header
	r.header = ""
	if header == "" {
		return nil
	}
	if r.mime {
		r.contentType(header)
	}
	if r.onHeader == nil {
		return nil
	}
	return r.onHeader(header)
}

// contentType remembers what a Content-Type header says about the body.
func (r *messageReader) contentType(header string) {
	name, value, _ := strings.Cut(header, ":")
	if !strings.EqualFold(strings.TrimSpace(name), "content-type") {
		return
	}
	lower := strings.ToLower(strings.TrimSpace(value))
	r.attached = strings.HasPrefix(lower, "message/rfc822") || strings.HasPrefix(lower, "message/global")
	at := strings.Index(lower, "boundary=")
	if !strings.HasPrefix(lower, "multipart/") || at < 0 {
		return
	}
	value = strings.TrimSpace(value)[at+len("boundary="):]
	if strings.HasPrefix(value, `"`) {
		value, _, _ = strings.Cut(value[1:], `"`)
	} else if end := strings.IndexAny(value, "; \t\n()"); end >= 0 {
		value = value[:end]
	}
	r.next = value
}

// bodyLine takes a line that is no header; boundary lines are among them.
func (r *messageReader) bodyLine(text string) error {
	if rest, found := strings.CutPrefix(text, "--"); found && r.mime {
		for i := len(r.boundaries) - 1; i >= 0; i-- {
			after, ours := strings.CutPrefix(rest, r.boundaries[i])
			if !ours {
				continue
			}
			last := strings.HasPrefix(after, "--")
			r.boundaries = r.boundaries[:i+1]
			if last {
				r.boundaries = r.boundaries[:i]
			}
			r.inHeader = !last
			break
		}
	}
	if r.onBody == nil {
		return nil
	}
	return r.onBody(text)
}
