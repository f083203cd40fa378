package wire

import (
	"bytes"
	"errors"
	"io"
	"syscall"
)

// Errors of a Reader. Errors of the connection are passed on as they are.
var (
	// ErrLineTooLong means that a line was longer than the limit. The rest of
	// it has been discarded up to the line end, or up to a bound, in which
	// case Line returns ErrNoResync instead.
	ErrLineTooLong = errors.New("wire: line too long")
	// ErrNoResync means that a line did not end within any reasonable bound;
	// the connection is of no more use.
	ErrNoResync = errors.New("wire: endless line")
)

// maxDiscard bounds how much of an overlong line is read to find its end.
const maxDiscard = 64 << 10

// maxEmptyReads bounds how often a source may return nothing without error.
const maxEmptyReads = 100

// Reader reads lines and content from a connection. While it waits for a plain
// network connection with nothing buffered, it holds no buffer.
type Reader struct {
	src    io.Reader
	pool   *Pool
	before func() error
	raw    syscall.RawConn
	// try and once are tryRead, which waits, and without a wait.
	try, once func(fd uintptr) bool
	rawN      int
	rawErr    error
	// buf is what is borrowed: one of small and large.
	buf   []byte
	small *block
	large *wide
	// content tells that much is to come, so that a large one is borrowed.
	content bool
	r, w    int
	empty   int
	spill   []byte
}

// NewReader returns a Reader on src that borrows its buffer from pool. When src
// is a plain socket, waiting for input holds no buffer.
func NewReader(src io.Reader, pool *Pool) *Reader {
	r := &Reader{pool: pool}
	r.try = r.tryRead
	r.once = func(fd uintptr) bool { r.tryRead(fd); return true }
	r.Reset(src)
	return r
}

// Reset makes the Reader read from src and forgets buffered bytes: what a peer
// sent before STARTTLS must not be taken for something said after it (RFC 3207 4.2).
func (r *Reader) Reset(src io.Reader) {
	r.src, r.raw, r.empty, r.content = src, nil, 0, false
	if sc, ok := src.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			r.raw = raw
		}
	}
	r.release()
}

// BeforeRead sets a function that is called before each read that may wait.
// Its error ends the read: the place to flush replies and set a deadline.
func (r *Reader) BeforeRead(f func() error) { r.before = f }

// Release gives the buffer back. Buffered bytes are lost.
func (r *Reader) Release() { r.release(); r.spill = nil }

func (r *Reader) release() {
	r.pool.put(r.small)
	r.pool.putWide(r.large)
	r.buf, r.small, r.large = nil, nil, nil
	r.r, r.w = 0, 0
}

// borrow takes a buffer, when there is none.
func (r *Reader) borrow() {
	switch {
	case r.buf != nil:
	case r.wide():
		r.large = r.pool.getWide()
		r.buf = r.large[:]
	default:
		r.small = r.pool.get()
		r.buf = r.small[:]
	}
}

// few is how many bytes are not worth a large buffer while more are waited for.
const few = 16

// wide tells whether the next read is worth a large buffer: one of content, from a
// socket that is waited for without a buffer. Others hold theirs while they wait.
func (r *Reader) wide() bool { return r.content && r.raw != nil }

// narrow exchanges a large buffer for a small one before a wait that a few bytes
// would hold it for.
func (r *Reader) narrow() {
	if r.large == nil || r.w-r.r > few {
		return
	}
	large, small := r.large, r.pool.get()
	r.r, r.w = 0, copy(small[:], r.buf[r.r:r.w])
	r.buf, r.small, r.large = small[:], small, nil
	r.pool.putWide(large)
}

// Preload puts p before what is read from the source; it fits into one buffer.
func (r *Reader) Preload(p []byte) {
	if len(p) == 0 {
		return
	}
	r.borrow()
	r.r, r.w = 0, copy(r.buf, p)
}

// Buffered is the number of bytes that can be read without waiting.
func (r *Reader) Buffered() int { return r.w - r.r }

// Peek returns the bytes that are buffered, without consuming them.
func (r *Reader) Peek() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf[r.r:r.w]
}

// Pending tells whether the peer has sent more: buffered bytes, or bytes that
// the kernel holds for a plain socket. It does not wait.
func (r *Reader) Pending() bool {
	if r.r < r.w {
		return true
	}
	if r.raw == nil {
		return false
	}
	r.release()
	r.rawN, r.rawErr = 0, nil
	// An error, or the end of the stream, shows at the next read.
	if err := r.raw.Read(r.once); err != nil || r.rawN == 0 {
		r.release()
		return false
	}
	r.w = r.rawN
	return true
}

// fill reads more bytes behind the buffered ones; the buffer must have room
// after moving them to the front.
func (r *Reader) fill() error {
	if r.before != nil {
		if err := r.before(); err != nil {
			return err
		}
	}
	if r.r == r.w && r.raw != nil {
		return r.fillRaw()
	}
	r.narrow()
	r.borrow()
	if r.r > 0 {
		copy(r.buf, r.buf[r.r:r.w])
		r.w -= r.r
		r.r = 0
	}
	n, err := r.src.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		r.empty = 0
		return nil
	}
	if err == nil {
		if r.empty++; r.empty > maxEmptyReads {
			return io.ErrNoProgress
		}
	}
	return err
}

// fillRaw waits for a socket without holding a buffer.
func (r *Reader) fillRaw() error {
	r.release()
	r.rawN, r.rawErr = 0, nil
	if err := r.raw.Read(r.try); err != nil {
		return err
	}
	if r.rawErr != nil {
		return r.rawErr
	}
	if r.rawN == 0 {
		return io.EOF
	}
	r.w = r.rawN
	return nil
}

// tryRead reads once without waiting; false means that there is nothing yet.
func (r *Reader) tryRead(fd uintptr) bool {
	r.borrow()
	for {
		n, err := syscall.Read(int(fd), r.buf)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			r.release()
			return false
		}
		r.rawN, r.rawErr = max(n, 0), err
		return true
	}
}

// More waits for more bytes behind the buffered ones, of which there are less than
// a buffer.
func (r *Reader) More() error { return r.fill() }

// Skip takes n of the buffered bytes as read.
func (r *Reader) Skip(n int) { r.r += min(n, r.w-r.r) }

// need makes at least n bytes available, n being small.
func (r *Reader) need(n int) error {
	for r.w-r.r < n {
		if err := r.fill(); err != nil {
			if err == io.EOF && r.w > r.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// Line reads one line of at most limit bytes and returns it without its line
// end. CRLF ends a line (RFC 5321 2.3.8); a bare LF does too, which bare tells.
// A line that is cut short by the end of the stream is an error.
func (r *Reader) Line(limit int) (line []byte, bare bool, err error) {
	scanned := 0
	r.spill = r.spill[:0]
	for {
		if r.buf != nil {
			if i := bytes.IndexByte(r.buf[r.r+scanned:r.w], '\n'); i >= 0 {
				end := r.r + scanned + i
				line = r.buf[r.r:end]
				r.r = end + 1
				if len(r.spill) > 0 {
					r.spill = append(r.spill, line...)
					line = r.spill
				}
				line, bare = trimCR(line)
				if len(line) > limit {
					return nil, bare, ErrLineTooLong
				}
				return line, bare, nil
			}
		}
		scanned = r.w - r.r
		if len(r.spill)+scanned > limit+1 { // one more for the CR
			return nil, false, r.discardLine()
		}
		if r.buf != nil && scanned == len(r.buf) {
			r.spill = append(r.spill, r.buf[r.r:r.w]...)
			r.r, r.w, scanned = 0, 0, 0
		}
		if err := r.fill(); err != nil {
			if err == io.EOF && (r.w > r.r || len(r.spill) > 0) {
				err = io.ErrUnexpectedEOF
			}
			return nil, false, err
		}
	}
}

// discardLine skips to the end of the current line.
func (r *Reader) discardLine() error {
	for n := 0; n < maxDiscard; {
		if r.buf != nil {
			if i := bytes.IndexByte(r.buf[r.r:r.w], '\n'); i >= 0 {
				r.r += i + 1
				return ErrLineTooLong
			}
		}
		n += r.w - r.r
		r.r, r.w = 0, 0
		if err := r.fill(); err != nil {
			return err
		}
	}
	return ErrNoResync
}

// trimCR removes one CR from the end of a line; bare tells that there was none.
func trimCR(line []byte) (rest []byte, bare bool) {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1], false
	}
	return line, true
}
