package privdeliver

import (
	"bufio"
	"bytes"
	"io"
)

// bufferSize is the size of the buffers between message and file.
const bufferSize = 32 << 10

// copyText copies a message with CRLF line ends as one with LF line ends. With
// quote a line that begins with "From " gets ">" in front, as mailbox files need.
func copyText(w io.Writer, content io.Reader, size int64, quote bool) error {
	// No more buffer than there is content: most messages are small.
	room := int(min(max(size, 1<<10), bufferSize))
	out := bufio.NewWriterSize(w, room)
	in := bufio.NewReaderSize(content, room)
	begin := true
	for {
		line, err := in.ReadSlice('\n')
		if quote && begin && bytes.HasPrefix(line, []byte("From ")) {
			_ = out.WriteByte('>')
		}
		begin = err == nil
		n, split := len(line), false
		if n >= 2 && line[n-1] == '\n' && line[n-2] == '\r' {
			line = append(line[:n-2], '\n')
		} else if err == bufio.ErrBufferFull && line[n-1] == '\r' {
			split, line = true, line[:n-1]
		}
		if _, werr := out.Write(line); werr != nil {
			return werr
		}
		if split {
			// The buffer ended between CR and what may be its LF.
			if next, _ := in.Peek(1); len(next) == 0 || next[0] != '\n' {
				_ = out.WriteByte('\r')
			}
		}
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}
