package maildrop

import (
	"bytes"
	"io"
)

// LineFeeds is a writer that turns CRLF into LF for W; a CR that no LF follows
// stays.
type LineFeeds struct {
	W  io.Writer
	cr bool
}

// Write implements io.Writer.
func (l *LineFeeds) Write(p []byte) (int, error) {
	n := len(p)
	if l.cr && n > 0 && p[0] != '\n' {
		if _, err := l.W.Write([]byte{'\r'}); err != nil {
			return 0, err
		}
	}
	if n > 0 {
		l.cr = false
	}
	if n > 0 && p[n-1] == '\r' {
		l.cr, p = true, p[:n-1]
	}
	if len(p) == 0 {
		return n, nil
	}
	_, err := l.W.Write(bytes.ReplaceAll(p, []byte("\r\n"), []byte{'\n'}))
	return n, err
}

// End writes a CR that was held back.
func (l *LineFeeds) End() error {
	if !l.cr {
		return nil
	}
	l.cr = false
	_, err := l.W.Write([]byte{'\r'})
	return err
}
