package mail

import "io"

// Content is the immutable text of a message: header, empty line, body, every
// line ended by CRLF, not dot-stuffed. It is safe for concurrent readers.
type Content interface {
	// Size is the length in bytes.
	Size() int64
	// Bytes is the whole text when it is in memory, else nil; it must not be
	// changed.
	Bytes() []byte
	// Open returns a reader from the start. An error is temporary.
	Open() (io.ReadCloser, error)
}
