package wire

import (
	"bytes"
	"io"
)

// crlf is what every line end becomes.
var crlf = []byte("\r\n")

// DataReader reads the content that follows DATA, up to and including its end.
// It removes dot-stuffing and turns a bare LF into CRLF. A bare CR is content.
//
// Only CRLF "." CRLF is the end (RFC 5321 4.1.1.4). Where a lone dot is next to
// a bare LF, its line is dropped, as Postfix does; it is never the end.
type DataReader struct {
	r *Reader
	// bol is set at the beginning of a line, std when the line before ended
	// in CRLF.
	bol, std bool
	done     bool
	bareLF   bool
	n        int64
	before   int64
}

// Start makes d read the content of the next message from r. The CRLF of the
// DATA command counts as the line end before a first dot.
func (d *DataReader) Start(r *Reader) { *d = DataReader{r: r, bol: true, std: true, before: r.lines} }

// BareLF tells whether a line so far ended in LF without CR.
func (d *DataReader) BareLF() bool { return d.bareLF }

// Lines is the number of line ends returned so far.
func (d *DataReader) Lines() int64 { return d.r.lines - d.before }

// Size is the number of content bytes returned so far.
func (d *DataReader) Size() int64 { return d.n }

// Next returns the next piece of content, io.EOF after the last. An end of the
// stream before the end of the content is io.ErrUnexpectedEOF.
func (d *DataReader) Next() ([]byte, error) {
	for !d.done {
		if err := d.r.need(1); err != nil {
			return nil, cut(err)
		}
		if d.bol && d.r.buf[d.r.r] == '.' {
			if err := d.dot(); err != nil {
				return nil, err
			}
			continue
		}
		p, bare, err := nextRun(d.r, d.r.w)
		if err != nil {
			return nil, err
		}
		if len(p) == 0 {
			continue
		}
		d.bol = p[len(p)-1] == '\n'
		d.std = !bare
		d.bareLF = d.bareLF || bare
		d.n += int64(len(p))
		return p, nil
	}
	return nil, io.EOF
}

// dot deals with a dot at the beginning of a line: it is either the end or
// stuffing (RFC 5321 4.5.2).
func (d *DataReader) dot() error {
	if err := d.r.need(2); err != nil {
		return cut(err)
	}
	switch d.r.buf[d.r.r+1] {
	case '\n':
		d.r.r += 2
		d.std, d.bareLF = false, true
		return nil
	case '\r':
		if err := d.r.need(3); err != nil {
			return cut(err)
		}
		if d.r.buf[d.r.r+2] == '\n' {
			d.r.r += 3
			d.done = d.std
			d.std = true
			return nil
		}
	}
	d.r.r++
	d.bol = false
	return nil
}

// nextRun returns a run of bytes that can be passed on as they are, looking no
// further than end. A run stops behind a CRLF that is followed by a dot, before
// a bare LF, and before a CR whose successor is not known yet. A bare LF alone
// is returned as CRLF with bare set. It may return nothing.
func nextRun(r *Reader, end int) (p []byte, bare bool, err error) {
	b := r.buf[r.r:end]
	if b[0] == '\n' {
		r.r++
		r.lines++
		return crlf, true, nil
	}
	for i := 0; ; {
		k := bytes.IndexByte(b[i:], '\n')
		if k < 0 {
			return lastRun(r, b)
		}
		i += k
		if b[i-1] != '\r' {
			r.r += i
			return b[:i], false, nil
		}
		r.lines++
		i++
		if i == len(b) || b[i] == '.' || b[i] == '\n' {
			r.r += i
			return b[:i], false, nil
		}
	}
}

// lastRun returns the rest of the buffer, which has no further line end.
func lastRun(r *Reader, b []byte) ([]byte, bool, error) {
	n := len(b)
	if b[n-1] == '\r' {
		n--
	}
	if n == 0 {
		// A CR alone: only its successor tells what it is.
		return nil, false, cut(r.need(2))
	}
	r.r += n
	return b[:n], false, nil
}

// cut names the end of the stream in the middle of content.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
