package wire

import "io"

// ChunkReader reads the content of BDAT chunks (RFC 3030). Line ends may be cut
// by a chunk boundary; a bare LF becomes CRLF. There is no dot-stuffing.
type ChunkReader struct {
	r    *Reader
	left int64
	// mid is set in the middle of a line, cr when the last chunk ended in a CR
	// that has not been returned yet.
	mid, cr bool
	bareLF  bool
	n       int64
}

// Start makes c read the chunks of the next message from r.
func (c *ChunkReader) Start(r *Reader) { *c = ChunkReader{r: r} }

// Chunk begins a chunk of size bytes.
func (c *ChunkReader) Chunk(size int64) { c.left = size }

// Left is the number of bytes of the current chunk that have not been read.
func (c *ChunkReader) Left() int64 { return c.left }

// BareLF tells whether a line so far ended in LF without CR.
func (c *ChunkReader) BareLF() bool { return c.bareLF }

// Size is the number of content bytes returned so far.
func (c *ChunkReader) Size() int64 { return c.n }

// Next returns the next piece of content of the chunk, io.EOF after the last.
func (c *ChunkReader) Next() ([]byte, error) {
	for c.left > 0 {
		c.r.content = c.left > blockSize
		if err := c.r.need(1); err != nil {
			return nil, cut(err)
		}
		if c.cr {
			return c.afterCR(), nil
		}
		if c.left == 1 && c.r.buf[c.r.r] == '\r' {
			c.take(1)
			c.cr = true
			continue
		}
		if err := c.r.needMore(); err != nil {
			return nil, cut(err)
		}
		from := c.r.r
		p, bare := nextRun(c.r, from+int(min(int64(c.r.w-from), c.left)))
		c.left -= int64(c.r.r - from)
		c.bareLF = c.bareLF || bare
		return c.out(p), nil
	}
	c.r.content = false
	return nil, io.EOF
}

// afterCR returns what the CR at the end of the last chunk turned out to be.
func (c *ChunkReader) afterCR() []byte {
	c.cr = false
	if c.r.buf[c.r.r] == '\n' {
		c.take(1)
		return c.out(crlf)
	}
	return c.out(crlf[:1])
}

// End returns what must follow the last chunk so that the content ends in CRLF.
func (c *ChunkReader) End() []byte {
	switch {
	case c.cr:
		c.cr = false
		return c.out([]byte("\r\r\n"))
	case c.mid:
		return c.out(crlf)
	}
	return nil
}

// DiscardSome reads a piece of the chunk and throws it away; n is its length.
func (c *ChunkReader) DiscardSome() (n int, err error) {
	if c.left == 0 {
		return 0, nil
	}
	if err := c.r.need(1); err != nil {
		return 0, cut(err)
	}
	n = int(min(int64(c.r.w-c.r.r), c.left))
	c.take(n)
	return n, nil
}

func (c *ChunkReader) take(n int) {
	c.r.r += n
	c.left -= int64(n)
	c.r.content = c.r.content && c.left > 0
}

func (c *ChunkReader) out(p []byte) []byte {
	c.mid = p[len(p)-1] != '\n'
	c.n += int64(len(p))
	return p
}
