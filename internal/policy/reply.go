package policy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Bounds of a reply.
const (
	maxLine  = 16 << 10
	maxReply = 64 << 10
)

// Errors of replies that are none.
var (
	errTooLong   = errors.New("reply is too long")
	errNoAction  = errors.New("missing attribute action in input")
	errNoValue   = errors.New("missing value for string attribute action")
	errPremature = errors.New("premature end-of-input")
)

// readReply reads name=value lines up to an empty one and returns the value of
// the first "action". Other attributes are passed over.
func readReply(r *bufio.Reader) (string, error) {
	action, found, size := "", false, 0
	for first := true; ; first = false {
		line, err := readLine(r)
		size += len(line) + 1
		switch {
		case err == io.EOF && first && len(line) == 0:
			return "", io.EOF // closed instead of an answer
		case err == io.EOF:
			return "", errPremature
		case err != nil:
			return "", err
		case size > maxReply:
			return "", errTooLong
		case len(line) == 0 && found:
			return action, nil
		case len(line) == 0:
			return "", errNoAction
		}
		name, value, ok := bytes.Cut(line, []byte("="))
		if found || string(name) != "action" {
			continue
		}
		if !ok {
			return "", errNoValue
		}
		action, found = string(value), true
	}
}

// readLine returns a line without its end. The slice is good until the next
// call, unless the line is longer than the buffer of r.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line = bytes.Clone(line)
		for err == bufio.ErrBufferFull && len(line) <= maxLine {
			var more []byte
			more, err = r.ReadSlice('\n')
			line = append(line, more...)
		}
		if len(line) > maxLine {
			return nil, errTooLong
		}
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), err
}
