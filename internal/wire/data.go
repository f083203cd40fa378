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
	// tail is the length of the last line, which has not ended yet.
	tail int64
}

// Start makes d read the content of the next message from r. The CRLF of the
// DATA command counts as the line end before a first dot.
func (d *DataReader) Start(r *Reader) {
	*d = DataReader{r: r, bol: true, std: true}
	r.content = true
}

// BareLF tells whether a line so far ended in LF without CR.
func (d *DataReader) BareLF() bool { return d.bareLF }

// Tail is how much of the content so far is a line that has not ended.
func (d *DataReader) Tail() int64 { return d.tail }

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
		if err := d.r.needMore(); err != nil {
			return nil, cut(err)
		}
		p, bare := nextRun(d.r, d.r.w)
		d.bol = p[len(p)-1] == '\n'
		d.std = !bare
		d.bareLF = d.bareLF || bare
		d.n += int64(len(p))
		if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
			d.tail = int64(len(p) - i - 1)
		} else {
			d.tail += int64(len(p))
		}
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
			d.r.content = !d.done
			d.std = true
			return nil
		}
	}
	d.r.r++
	d.bol = false
	return nil
}

// needMore makes the byte behind a lone CR available: only it tells what the CR
// is.
func (r *Reader) needMore() error {
	if r.w-r.r == 1 && r.buf[r.r] == '\r' {
		return r.need(2)
	}
	return nil
}

// nextRun returns a run of bytes that can be passed on as they are, looking no
// further than end. A run stops behind a CRLF that is followed by a dot, before
// a bare LF, and before a CR at the end. A bare LF alone is returned as CRLF
// with bare set. There is at least one byte, and more than a lone CR.
func nextRun(r *Reader, end int) (p []byte, bare bool) {
	b := r.buf[r.r:end]
	if b[0] == '\n' {
		r.r++
		return crlf, true
	}
	for i := 0; ; {
		k := bytes.IndexByte(b[i:], '\n')
		if k < 0 {
			n := len(b)
			if b[n-1] == '\r' {
				n--
			}
			r.r += n
			return b[:n], false
		}
		i += k
		if b[i-1] != '\r' {
			r.r += i
			return b[:i], false
		}
		i++
		if i == len(b) || b[i] == '.' || b[i] == '\n' {
			r.r += i
			return b[:i], false
		}
	}
}

// cut names the end of the stream in the middle of content.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
