package maildrop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Record types; the letters are those of Postfix.
const (
	recTime      = 'T'
	recSize      = 'C'
	recFullName  = 'F'
	recSender    = 'S'
	recRecipient = 'R'
	recDone      = 'D'
	recAttr      = 'A'
	recContent   = 'M'
	recLine      = 'N'
	recPiece     = 'L'
	recExtracted = 'X'
	recEnd       = 'E'
	recOrigRcpt  = 'O'
	recReceipt   = 'r'
	recErrors    = 'e'
	recVERP      = 'V'
	recRet       = '<'
	recEnvID     = 'i'
	recORCPT     = 'o'
	recNotify    = 'n'
)

const (
	// maxRecord bounds the data of one record.
	maxRecord = 64 << 10
	// pieceSize is where Encoder cuts long lines, Postfix's line_length_limit.
	pieceSize = 2048
)

var (
	// ErrFormat is wrapped by every complaint about what a file contains.
	ErrFormat = errors.New("malformed maildrop record")
	// ErrEarlyEnd says that the records end too early, behind a whole one: who wrote
	// them gave up.
	ErrEarlyEnd = fmt.Errorf("%w: truncated", ErrFormat)
)

// formatError says what is wrong with the content of a file.
func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// writeRecord writes one record.
func writeRecord(w *bufio.Writer, kind byte, data []byte) error {
	_ = w.WriteByte(kind) // bufio keeps the first error for us
	n := len(data)
	for n >= 0x80 {
		_ = w.WriteByte(byte(n) | 0x80)
		n >>= 7
	}
	_ = w.WriteByte(byte(n))
	_, err := w.Write(data)
	return err
}

// readRecord reads one record into buf, which is grown as needed up to
// maxRecord, and returns its type and data. The end of the stream between two
// records is io.EOF.
func readRecord(r *bufio.Reader, buf []byte) (kind byte, data []byte, err error) {
	if kind, err = r.ReadByte(); err != nil {
		return 0, buf[:0], err
	}
	size, err := readLength(r)
	if err != nil {
		return 0, buf[:0], err
	}
	if cap(buf) < size {
		buf = make([]byte, size, max(size, 512))
	}
	buf = buf[:size]
	if _, err := io.ReadFull(r, buf); err != nil {
		return 0, buf[:0], unexpected(err)
	}
	return kind, buf, nil
}

// readLength reads the length of a record.
func readLength(r *bufio.Reader) (int, error) {
	size := 0
	for shift := 0; ; shift += 7 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		if shift > 14 {
			return 0, formatError("length of more than three bytes")
		}
		size |= int(c&0x7f) << shift
		if c&0x80 == 0 {
			break
		}
	}
	if size > maxRecord {
		return 0, formatError("record of %d bytes", size)
	}
	return size, nil
}

// unexpected turns an end of the stream inside a record into a format error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return formatError("truncated")
	}
	return err
}
