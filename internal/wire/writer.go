package wire

import "io"

// Writer collects replies or commands and sends them in one write. While it
// holds nothing it has no buffer.
type Writer struct {
	dst  io.Writer
	pool *Pool
	buf  *block
	n    int
	err  error
	code [4]byte
}

// NewWriter returns a Writer to dst that borrows its buffer from pool.
func NewWriter(dst io.Writer, pool *Pool) *Writer { return &Writer{dst: dst, pool: pool} }

// Reset makes the Writer write to dst and forgets what it holds.
func (w *Writer) Reset(dst io.Writer) {
	w.dst, w.err = dst, nil
	w.release()
}

// Buffered is the number of bytes that wait for Flush.
func (w *Writer) Buffered() int { return w.n }

// Write collects p. It writes to the connection only when the buffer is full;
// p longer than a buffer goes out without a copy.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	total := len(p)
	if w.n > 0 && len(p) > blockSize-w.n {
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	if len(p) >= blockSize {
		_, w.err = w.dst.Write(p)
		return total, w.err
	}
	if w.buf == nil {
		w.buf = w.pool.get()
	}
	w.n += copy(w.buf[w.n:], p)
	return total, nil
}

// WriteString collects s.
func (w *Writer) WriteString(s string) (int, error) {
	if len(s) > blockSize-w.n {
		return w.Write([]byte(s))
	}
	if w.err != nil {
		return 0, w.err
	}
	if w.buf == nil {
		w.buf = w.pool.get()
	}
	w.n += copy(w.buf[w.n:], s)
	return len(s), nil
}

// Flush writes what was collected. The first error stays.
func (w *Writer) Flush() error {
	if w.n > 0 && w.err == nil {
		_, w.err = w.dst.Write(w.buf[:w.n])
	}
	w.release()
	return w.err
}

// Release gives the buffer back without writing.
func (w *Writer) Release() { w.release() }

func (w *Writer) release() {
	if w.buf != nil {
		w.pool.put(w.buf)
		w.buf = nil
	}
	w.n = 0
}

// Reply collects a reply. Each "\n" in text begins a further line, and the
// enhanced code, when there is one, stands on every line (RFC 2034 4).
func (w *Writer) Reply(code int, enhanced, text string) error {
	for {
		line, rest, more := cutLine(text)
		w.code = [4]byte{byte('0' + code/100%10), byte('0' + code/10%10), byte('0' + code%10), ' '}
		if more {
			w.code[3] = '-'
		}
		if _, err := w.Write(w.code[:]); err != nil {
			return err
		}
		if enhanced != "" {
			w.WriteString(enhanced)
			if line != "" {
				w.WriteString(" ")
			}
		}
		w.WriteString(line)
		if _, err := w.Write(crlf); err != nil {
			return err
		}
		if !more {
			return nil
		}
		text = rest
	}
}
