package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"postroad/internal/mail"
)

// memory is a small content that is still in memory.
type memory []byte

func (m memory) Size() int64                  { return int64(len(m)) }
func (m memory) Bytes() []byte                { return m }
func (m memory) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m)), nil }

// stored is a content that is read back from the store when it is needed.
type stored struct {
	s      *Store
	id     mail.QueueID
	size   int64
	inline bool
}

func (c *stored) Size() int64   { return c.size }
func (c *stored) Bytes() []byte { return nil }

func (c *stored) Open() (io.ReadCloser, error) {
	if !c.inline {
		f, err := c.s.fs.Open(c.s.bodyPath(c.id))
		if err != nil {
			return nil, fmt.Errorf("content of %s: %w", c.id, err)
		}
		return f, nil
	}
	b, err := c.s.body(c.id)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// body reads an inline content.
func (s *Store) body(id mail.QueueID) ([]byte, error) {
	v, closer, err := s.db.Get(idKey(kindBody, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("content of %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", id, err)
	}
	defer func() { _ = closer.Close() }()
	return bytes.Clone(v), nil
}

// Forget returns a content that holds no memory: what waits on disk is read
// from disk.
func (s *Store) Forget(id mail.QueueID, c mail.Content) mail.Content {
	if c.Bytes() == nil {
		return c
	}
	return &stored{s: s, id: id, size: c.Size(), inline: true}
}
