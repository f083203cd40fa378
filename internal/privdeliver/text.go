package privdeliver

import (
	"bufio"
	"bytes"
	"io"
)

// bufferSize is the size of the buffers between message and file.
const bufferSize = 32 << 10

// Form says how a message is written out.
type Form struct {
	// EOL ends a line; empty is LF.
	EOL string
	// From puts ">" before a line that begins with "From ", as mailbox files need,
	// Dot a dot before one that begins with a dot.
	From, Dot bool
	// Blank adds an empty line at the end.
	Blank bool
}

// prefix is what goes before a line that begins so.
func (f *Form) prefix(line []byte) string {
	switch {
	case f.From && bytes.HasPrefix(line, []byte("From ")):
		return ">"
	case f.Dot && line[0] == '.':
		return "."
	}
	return ""
}

// copyText copies a message with CRLF line ends in another form.
func copyText(w io.Writer, content io.Reader, size int64, form *Form) error {
	// No more buffer than there is content: most messages are small.
	room := int(min(max(size, 1<<10), bufferSize))
	out := bufio.NewWriterSize(w, room)
	in := bufio.NewReaderSize(content, room)
	eol := form.EOL
	if eol == "" {
		eol = "\n"
	}
	begin := true
	for {
		line, err := in.ReadSlice('\n')
		if begin && len(line) > 0 {
			_, _ = out.WriteString(form.prefix(line))
		}
		begin = err == nil
		n, end, split := len(line), "", false
		if n >= 2 && line[n-1] == '\n' && line[n-2] == '\r' {
			line, end = line[:n-2], eol
		} else if err == bufio.ErrBufferFull && line[n-1] == '\r' {
			line, split = line[:n-1], true
		}
		if _, werr := out.Write(line); werr != nil {
			return werr
		}
		_, _ = out.WriteString(end)
		if split {
			// The buffer ended between CR and what may be its LF.
			if next, _ := in.Peek(1); len(next) == 1 && next[0] == '\n' {
				_, _ = in.Discard(1)
				_, _ = out.WriteString(eol)
				begin = true
			} else {
				_ = out.WriteByte('\r')
			}
		}
		if err == io.EOF {
			if form.Blank {
				_, _ = out.WriteString(eol)
			}
			return out.Flush()
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}
