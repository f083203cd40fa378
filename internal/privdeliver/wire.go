package privdeliver

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A message on the socket is a frame of JSON with its length in front; a
// question with content is followed by Size bytes of it.
type question struct {
	ID      uint64
	Request Request
	Content bool
}

type answer struct {
	ID     uint64
	Result Result
}

// maxFrame bounds a frame.
const maxFrame = 1 << 20

var errFrame = errors.New("privdeliver: frame too long")

func writeFrame(w io.Writer, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > maxFrame {
		return errFrame
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(out, body...))
	return err
}

func readFrame(r *bufio.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return errFrame
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("privdeliver: frame cut short: %w", err)
	}
	return json.Unmarshal(body, v)
}
