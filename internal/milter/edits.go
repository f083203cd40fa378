package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"postroad/internal/mail"
)

// Op is the kind of an Edit.
type Op uint8

const (
	// AddHeader appends a header field; InsertHeader puts it before the field
	// at Index, counted from 1 over the whole header.
	AddHeader Op = iota
	InsertHeader
	// ChangeHeader replaces the Index-th field of that name, or appends one when
	// there is none; DeleteHeader removes it.
	ChangeHeader
	DeleteHeader
	// ChangeSender replaces the envelope sender, AddRecipient and
	// DeleteRecipient change the recipients. The address is in Value, in the form
	// of SMTP, perhaps in brackets.
	ChangeSender
	AddRecipient
	DeleteRecipient
)

// Edit is one change that a filter asks for.
type Edit struct {
	Op    Op
	Index int
	// Name is that of a header field, Value its text with the blank that
	// follows the colon; lines are separated by LF.
	Name, Value string
	// Args are ESMTP parameters of an address.
	Args string
}

// Edits are all that one filter asks for, in its order.
type Edits struct {
	List []Edit
	// Body is the new body, nil when it stays.
	Body Body
}

// Body is a new body in the making.
type Body interface {
	// Write takes text as it came from the filter. An error is one of storage.
	io.Writer
	// Discard drops it. It may be called at any time.
	Discard()
}

// Editor is the message that filters look at.
type Editor interface {
	// Content is the text as it stands, with the edits of earlier filters.
	Content() (mail.Content, error)
	// Hidden is the header field that filters do not see, as it stands in the
	// content without its last CRLF, or nothing.
	Hidden() string
	// NewBody begins a body that may replace the one there is.
	NewBody() (Body, error)
	// Apply makes the edits. It returns an objection when the message cannot go
	// on, which ends the inspection.
	Apply(e *Edits) *Reply
}

// errShort and others are what a filter gets wrong in a request.
var (
	errShort    = errors.New("packet too short for string")
	errNumber   = errors.New("input packet too short for network long")
	errLeftover = errors.New("left-over data")
)

// badRequest says what is wrong with a request that is well formed.
type badRequest string

// Error implements error.
func (e badRequest) Error() string { return string(e) }

// fields cuts a packet into its parts.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) number() uint32 {
	if f.err != nil || len(f.rest) < 4 {
		f.fail(errNumber)
		return 0
	}
	n := binary.BigEndian.Uint32(f.rest)
	f.rest = f.rest[4:]
	return n
}

// text reads a string that ends with NUL.
func (f *fields) text() string {
	if f.err != nil {
		return ""
	}
	for i, c := range f.rest {
		if c == 0 {
			s := string(f.rest[:i])
			f.rest = f.rest[i+1:]
			return s
		}
	}
	f.fail(errShort)
	return ""
}

// optional reads a string that may be left out.
func (f *fields) optional() string {
	if f.err == nil && len(f.rest) == 0 {
		return ""
	}
	return f.text()
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// end returns the first error, or that something was left over.
func (f *fields) end() error {
	if f.err == nil && len(f.rest) > 0 {
		return fmt.Errorf("%w %d bytes", errLeftover, len(f.rest))
	}
	return f.err
}

// requests are the packets that ask for an edit, but for that of the body. space
// is what stands between the colon of a header field and the value.
var requests = map[byte]func(f *fields, space string) Edit{
	replyAddHeader: func(f *fields, space string) Edit {
		return Edit{Op: AddHeader, Name: f.text(), Value: space + f.text()}
	},
	replyInsHeader: func(f *fields, space string) Edit {
		return Edit{Op: InsertHeader, Index: int(f.number()) + 1, Name: f.text(), Value: space + f.text()}
	},
	replyChgHeader: func(f *fields, space string) Edit {
		e := Edit{Op: ChangeHeader, Index: int(f.number()), Name: f.text(), Value: f.text()}
		if e.Index == 0 {
			e.Index = 1 // as Sendmail takes it
		}
		if e.Value == "" {
			e.Op = DeleteHeader
		} else {
			e.Value = space + e.Value
		}
		return e
	},
	replyChangeFrom: func(f *fields, _ string) Edit {
		return Edit{Op: ChangeSender, Value: f.text(), Args: f.optional()}
	},
	replyAddRcpt: func(f *fields, _ string) Edit {
		return Edit{Op: AddRecipient, Value: f.text()}
	},
	replyAddRcptArg: func(f *fields, _ string) Edit {
		return Edit{Op: AddRecipient, Value: f.text(), Args: f.optional()}
	},
	replyDelRcpt: func(f *fields, _ string) Edit {
		return Edit{Op: DeleteRecipient, Value: f.text()}
	},
}

// parseEdit reads a request for an edit. With a badRequest it is well formed all
// the same.
func parseEdit(cmd byte, data []byte, leading bool) (Edit, error) {
	space := " "
	if leading {
		space = ""
	}
	f := fields{rest: data}
	e := requests[cmd](&f, space)
	if err := f.end(); err != nil {
		return Edit{}, err
	}
	switch e.Op {
	case AddHeader, InsertHeader, ChangeHeader, DeleteHeader:
		if e.Name == "" {
			return Edit{}, badRequest("null change header name")
		}
		if !fieldName(e.Name) {
			return Edit{}, badRequest(fmt.Sprintf("bad header name: %q", e.Name[:min(len(e.Name), maxReason)]))
		}
		e.Value = foldLines(e.Value)
	case ChangeSender, AddRecipient, DeleteRecipient:
		// A control character has no place in an envelope or a log line.
		if strings.ContainsFunc(e.Value+e.Args, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return Edit{}, badRequest("control character in address")
		}
	}
	return e, nil
}

// fieldName tells whether s can name a header field (RFC 5322 2.2).
func fieldName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' })
}

// foldLines makes every line end of a header value one LF, so that nothing in it
// can end the field, and drops those at its end.
func foldLines(value string) string {
	if !strings.ContainsAny(value, "\r\n") {
		return value
	}
	value = strings.ReplaceAll(value, "\r\n", "\n")
	value = strings.ReplaceAll(value, "\r", " ")
	return strings.TrimRight(value, "\n")
}

// size is how much an edit counts against maxEditBytes.
func (e *Edit) size() int { return len(e.Name) + len(e.Value) + len(e.Args) + 64 }
