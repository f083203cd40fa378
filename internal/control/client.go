package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"postroad/internal/mail"
)

// Client asks the server whose socket is Path.
type Client struct {
	// Path is the socket, see the function Path.
	Path string
	// Timeout bounds the wait for each frame of an answer; 0 means a minute.
	Timeout time.Duration
}

// NewClient returns a client of the server whose queue is in dir.
func NewClient(queueDir string) *Client { return &Client{Path: Path(queueDir)} }

// dial connects. ErrUnavailable says that no server listens.
func (c *Client) dial(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Path)
	for _, none := range []syscall.Errno{syscall.ENOENT, syscall.ECONNREFUSED, syscall.ENOTDIR} {
		if errors.Is(err, none) {
			return nil, c.down(none)
		}
	}
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// down says that nobody listens.
func (c *Client) down(why syscall.Errno) error {
	return fmt.Errorf("%w: %w", ErrUnavailable, &os.PathError{Op: "connect", Path: c.Path, Err: why})
}

// ask sends a request and gives every frame of the answer to each. It returns
// the last frame.
func (c *Client) ask(ctx context.Context, req Request, each func(*reply) error) (*reply, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	return c.exchange(conn, req, each)
}

// exchange sends the request over conn and reads the answer.
func (c *Client) exchange(conn net.Conn, req Request, each func(*reply) error) (*reply, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	conn.SetDeadline(time.Now().Add(timeout))
	if err := writeFrame(conn, req); err != nil {
		return nil, c.lost(err, false)
	}
	for heard := false; ; heard = true {
		r := new(reply)
		conn.SetDeadline(time.Now().Add(timeout))
		if err := readFrame(conn, maxReply, r); err != nil {
			return nil, c.lost(err, heard)
		}
		if r.Code != "" {
			if known, ok := codes[r.Code]; ok {
				return nil, known
			}
			return nil, errors.New(r.Error)
		}
		if each != nil {
			if err := each(r); err != nil {
				return nil, err
			}
		}
		if r.End {
			return r, nil
		}
	}
}

// lost turns the end of a connection into ErrUnavailable. A server that stops resets
// those that it has not accepted yet: they were refused, only later.
func (c *Client) lost(err error, heard bool) error {
	for _, end := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE} {
		switch {
		case !errors.Is(err, end):
		case heard:
			return fmt.Errorf("%w: connection lost", ErrUnavailable)
		default:
			return c.down(syscall.ECONNREFUSED)
		}
	}
	return err
}

// simple is a request whose answer is only success or failure.
func (c *Client) simple(ctx context.Context, req Request) error {
	_, err := c.ask(ctx, req, nil)
	return err
}

// Status asks what the server is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	r, err := c.ask(ctx, Request{Op: OpStatus}, nil)
	if err != nil {
		return Status{}, err
	}
	if r.Status == nil {
		return Status{}, ErrFrame
	}
	return *r.Status, nil
}

// List implements Queue.
func (c *Client) List(ctx context.Context, yield func(*Entry) error) error {
	var open *Entry
	_, err := c.ask(ctx, Request{Op: OpList}, func(r *reply) error {
		if r.Entry == nil {
			return nil
		}
		if open != nil {
			open.Recipients = append(open.Recipients, r.Entry.Recipients...)
		} else {
			open = r.Entry
		}
		if r.More {
			return nil
		}
		e := open
		open = nil
		return yield(e)
	})
	return err
}

// maxIDs bounds the ids of one request.
const maxIDs = 10000

// Change implements Queue.
func (c *Client) Change(ctx context.Context, op Op, s Selection, report func(mail.QueueID)) (int, error) {
	total := 0
	for rest := s.IDs; ; {
		part := s
		part.IDs = rest[:min(len(rest), maxIDs)]
		rest = rest[len(part.IDs):]
		last, err := c.ask(ctx, Request{Op: op, Selection: part}, func(r *reply) error {
			if report != nil {
				for _, id := range r.Done {
					report(id)
				}
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += last.Count
		if len(rest) == 0 {
			return total, nil
		}
	}
}

// Cat implements Queue.
func (c *Client) Cat(ctx context.Context, id mail.QueueID) (*Message, error) {
	var m *Message
	var text []byte
	_, err := c.ask(ctx, Request{Op: OpCat, ID: id}, func(r *reply) error {
		if r.Message != nil && r.Message.Envelope != nil {
			if m == nil {
				m = &Message{Queue: r.Message.Queue, Expired: r.Message.Expired, Envelope: r.Message.Envelope}
			} else {
				m.Envelope.Recipients = append(m.Envelope.Recipients, r.Message.Envelope.Recipients...)
			}
			m.Done = append(m.Done, r.Message.Done...)
		}
		text = append(text, r.Data...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, ErrFrame
	}
	m.Content = content(text)
	return m, nil
}

// content is a message text in memory.
type content []byte

func (c content) Size() int64                  { return int64(len(c)) }
func (c content) Bytes() []byte                { return c }
func (c content) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c)), nil }

// Flush asks to try messages now.
func (c *Client) Flush(ctx context.Context, f Flush) error {
	return c.simple(ctx, Request{Op: OpFlush, Flush: f})
}

// Pickup tells the server that a message lies in the maildrop.
func (c *Client) Pickup(ctx context.Context) error { return c.simple(ctx, Request{Op: OpPickup}) }

// Reload asks for a new generation of the configuration.
func (c *Client) Reload(ctx context.Context) error { return c.simple(ctx, Request{Op: OpReload}) }

// Stop asks the server to end.
func (c *Client) Stop(ctx context.Context) error { return c.simple(ctx, Request{Op: OpStop}) }

// Log writes a line to the server's mail log.
func (c *Client) Log(ctx context.Context, l Line) error {
	return c.simple(ctx, Request{Op: OpLog, Line: l})
}

// Ping tells whether a server listens; the error is that of the connection.
func (c *Client) Ping(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Denied tells whether err means that the caller may not do this, be it by the
// permissions of the socket or by the server's policy.
func Denied(err error) bool { return errors.Is(err, ErrDenied) || errors.Is(err, os.ErrPermission) }
