package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// readChunks reads in as chunks of the given sizes.
func readChunks(src io.Reader, sizes ...int64) (string, bool, error) {
	r := NewReader(src, nil)
	var c ChunkReader
	c.Start(r)
	var b strings.Builder
	for _, size := range sizes {
		c.Chunk(size)
		for {
			p, err := c.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return b.String(), c.BareLF(), err
			}
			b.Write(p)
		}
	}
	b.Write(c.End())
	if int64(b.Len()) != c.Size() {
		return "", false, errors.New("wrong size")
	}
	return b.String(), c.BareLF(), nil
}

// normal is what chunks of in must give: CRLF at every line end.
func normal(in string) string {
	if in == "" {
		return ""
	}
	out := strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\n", "\r\n")
	if !strings.HasSuffix(out, "\n") {
		out += "\r\n"
	}
	return out
}

func TestChunkReader(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "a", "a\r\n", "a\nb", "\r\n", "\r", "\n", "a\r", "a\r\r\n", ".\r\n..\r\n.", "a\rb\r\nc\n\n\r\r", strings.Repeat("z", 2*blockSize) + "\r\nx",
	} {
		want := normal(in)
		for i := range min(len(in)+1, 100) {
			first, second := int64(i), int64(len(in)-i)
			for _, src := range []io.Reader{split(in), single(in)} {
				got, bare, err := readChunks(src, first, second)
				if err != nil || got != want || bare != strings.Contains(strings.ReplaceAll(in, "\r\n", ""), "\n") {
					t.Fatalf("%.50q cut at %d: got %.50q, bare %v, %v", in, i, got, bare, err)
				}
			}
		}
	}
}

// TestChunkReaderLeaves checks that a chunk ends where it ends.
func TestChunkReaderLeaves(t *testing.T) {
	t.Parallel()
	r := NewReader(split("abc\r\nQUIT\r\n"), nil)
	var c ChunkReader
	c.Start(r)
	c.Chunk(4)
	for {
		if _, err := c.Next(); err != nil {
			break
		}
	}
	c.Chunk(1)
	if n, err := c.DiscardSome(); n != 1 || err != nil || c.Left() != 0 {
		t.Errorf("discarded %d, %v, %d left", n, err, c.Left())
	}
	if line, _, err := r.Line(100); string(line) != "QUIT" || err != nil {
		t.Errorf("behind the chunks: %q, %v", line, err)
	}
	c.Chunk(5)
	if _, err := c.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("chunk cut short: %v", err)
	}
	if _, err := c.DiscardSome(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("discarded chunk cut short: %v", err)
	}
}

func FuzzChunkReader(f *testing.F) {
	f.Add("a\r\nb\n\r", uint8(2), uint8(1))
	f.Fuzz(func(t *testing.T, in string, a, b uint8) {
		i := min(int(a), len(in))
		j := min(int(b), len(in)-i)
		sizes := []int64{int64(i), int64(j), int64(len(in) - i - j)}
		for _, src := range []io.Reader{split(in, i), single(in)} {
			got, _, err := readChunks(src, sizes...)
			if err != nil || got != normal(in) {
				t.Fatalf("%q in %v: got %q, %v; want %q", in, sizes, got, err, normal(in))
			}
		}
	})
}
