package wire

import (
	"bytes"
	"io"
)

// needle is where a dot must be doubled. It has no CR, so that a line that ends
// in a bare LF cannot smuggle an end of data past a lenient peer either.
var needle = []byte("\n.")

// DotWriter writes content after DATA: it doubles a dot at the beginning of a
// line (RFC 5321 4.5.2) and ends the content. The content has CRLF line ends.
type DotWriter struct {
	w io.Writer
	// last is the last byte written; a line feed before the first.
	last   byte
	lastCR bool
}

// NewDotWriter returns a DotWriter to w, which should be buffered.
func NewDotWriter(w io.Writer) *DotWriter { return &DotWriter{w: w, last: '\n', lastCR: true} }

// Write writes p with dots doubled; n counts bytes of p.
func (d *DotWriter) Write(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if p[0] == '.' && d.last == '\n' {
		if _, err := d.w.Write(needle[1:]); err != nil {
			return 0, err
		}
	}
	for n < len(p) {
		i := bytes.Index(p[n:], needle)
		if i < 0 {
			break
		}
		// Up to and with the dot, then the dot once more as part of the rest.
		m, err := d.w.Write(p[n : n+i+2])
		if err != nil {
			return n + m, err
		}
		n += i + 1
	}
	m, err := d.w.Write(p[n:])
	if err != nil {
		return n + m, err
	}
	if len(p) > 1 {
		d.lastCR = p[len(p)-2] == '\r'
	} else {
		d.lastCR = d.last == '\r'
	}
	d.last = p[len(p)-1]
	return len(p), nil
}

// Close writes the end of the content, completing its last line. It does not
// flush and does not close the underlying writer.
func (d *DotWriter) Close() error {
	end := []byte("\r\n.\r\n")
	if d.last == '\n' && d.lastCR {
		end = end[2:]
	}
	_, err := d.w.Write(end)
	return err
}
