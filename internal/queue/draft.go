package queue

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postroad/internal/mail"
)

// Content is what was written so far, to be read before the commit. It is valid
// until the writer is written to again, adopts a draft, or ends.
func (w *Writer) Content() (mail.Content, error) {
	switch {
	case w.done:
		return nil, errEnded
	case w.err != nil:
		return nil, w.err
	case w.file == nil:
		w.keep()
		return memory(w.buf), nil
	}
	if w.err = w.flush(); w.err != nil {
		return nil, w.err
	}
	return &unsaved{fs: w.s.fs, path: w.path(), size: w.size}, nil
}

// errEnded is the error of a writer after Commit or Abort.
var errEnded = errors.New("queue: writer used after its end")

// Draft is another content for a message that is being written: it can take the
// place of the one there is, or be dropped. It needs no more memory than a Writer.
type Draft struct{ w Writer }

// Draft begins another content for the message. number tells drafts that exist at
// one time apart.
func (w *Writer) Draft(number int) *Draft {
	return &Draft{Writer{s: w.s, id: w.id, draft: number}}
}

// Write appends content.
func (d *Draft) Write(p []byte) (int, error) { return d.w.Write(p) }

// Size is the number of bytes written.
func (d *Draft) Size() int64 { return d.w.Size() }

// Content is what was written so far.
func (d *Draft) Content() (mail.Content, error) { return d.w.Content() }

// Discard drops the draft. After Adopt it does nothing.
func (d *Draft) Discard() { d.w.Abort() }

// Adopt makes a draft the content of the message, whose old content is dropped.
// Nothing is synced before Commit. After an error the message can only be aborted.
func (w *Writer) Adopt(d *Draft) error {
	if w.done || d.w.done {
		return errEnded
	}
	if w.err = d.w.err; w.err != nil {
		return w.err
	}
	if w.file != nil {
		_ = w.file.Close() // its bytes are dropped
	}
	switch {
	case d.w.file != nil:
		w.file = d.w.file
		w.err = w.s.fs.Rename(d.w.path(), w.path())
	case w.file != nil:
		w.file = nil
		w.err = w.s.fs.Remove(w.path())
	}
	w.giveBack()
	w.buf, w.lent, w.size = d.w.buf, d.w.lent, d.w.size
	d.w.buf, d.w.lent, d.w.done = nil, nil, true
	if w.err != nil {
		w.err = storageError(w.err)
	}
	return w.err
}

// unsaved is a large content before its commit.
type unsaved struct {
	fs   vfs.FS
	path string
	size int64
}

// Size implements mail.Content.
func (c *unsaved) Size() int64 { return c.size }

// Bytes implements mail.Content.
func (*unsaved) Bytes() []byte { return nil }

// Open implements mail.Content.
func (c *unsaved) Open() (io.ReadCloser, error) { return c.fs.Open(c.path) }
