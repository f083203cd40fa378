package maildrop

import (
	"errors"
	"io"

	"postroad/internal/mail"
)

// Message is a message in the maildrop as somebody sees it who only looks.
type Message struct {
	// Envelope is what pickup(8) would make of it; Size is that of the file.
	Envelope *mail.Envelope
	// Content is read from the file, which may be gone by then.
	Content mail.Content
}

// Peek looks at one message without locking it: who takes it meanwhile is not held
// up.
func Peek(queueDir, name string) (*Message, error) {
	file, err := openNamed(queueDir, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	d, err := check(file, false)
	if err != nil {
		return nil, err
	}
	e, err := d.Envelope()
	if err != nil {
		return nil, err
	}
	counter := &counting{}
	if err := d.Content(counter); err != nil {
		return nil, err
	}
	late, err := d.Extracted(e)
	if err != nil {
		return nil, err
	}
	env := &mail.Envelope{
		ID: mail.QueueID(name), Sender: e.Sender, Arrived: e.Queued, Size: d.Size, Origin: mail.OriginLocal, FullName: e.FullName,
		EnvID: e.EnvID, Ret: e.Ret, VERP: e.VERP, Trace: e.Trace, Probe: e.Probe, SMTPUTF8: e.SMTPUTF8, RequireTLS: e.RequireTLS, EightBit: e.Encoding == "8bit",
		Client: mail.ClientFacts{UID: d.UID, RewriteContext: "local"},
	}
	if e.Returned != nil {
		env.Client = e.Returned.Client
	}
	for _, r := range append(e.Recipients, late...) {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r.Address, Original: r.Original, ORCPT: r.ORCPT, Notify: r.Notify})
	}
	return &Message{Envelope: env, Content: &fileContent{dir: queueDir, name: name, size: counter.n}}, nil
}

// counting counts bytes.
type counting struct{ n int64 }

// Write implements io.Writer.
func (c *counting) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// fileContent is the content of a file in the maildrop.
type fileContent struct {
	dir, name string
	size      int64
}

// Size implements mail.Content.
func (c *fileContent) Size() int64 { return c.size }

// Bytes implements mail.Content.
func (*fileContent) Bytes() []byte { return nil }

// Open implements mail.Content.
func (c *fileContent) Open() (io.ReadCloser, error) {
	file, err := openNamed(c.dir, c.name)
	if err != nil {
		return nil, err
	}
	d, err := check(file, false)
	if err == nil {
		_, err = d.Envelope()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return contentFile{d.ContentReader(), file}, nil
}

// contentFile closes the file with the stream.
type contentFile struct {
	io.Reader
	io.Closer
}
