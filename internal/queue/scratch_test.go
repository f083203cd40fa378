package queue

import (
	"bytes"
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postroad/internal/mail"
)

// TestScratch: buffers are used again, and nobody's content changes with that:
// neither that of accepted mail, nor one that was looked at before its end.
func TestScratch(t *testing.T) {
	t.Parallel()
	s, err := Open(Options{Dir: "spool", FS: vfs.NewMem(), Reserve: -1, MemTable: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var arrived []mail.Content
	s.SetArrived(func(_ *mail.Envelope, c mail.Content) { arrived = append(arrived, c) })
	type seen struct {
		c    mail.Content
		want []byte
	}
	var all []seen
	sizes := []int{100, firstBuffer, firstBuffer + 1, 40_000, 130_000, DefaultInlineLimit}
	for round := range byte(4) {
		for i, size := range sizes {
			text := bytes.Repeat([]byte{'a' + round*16 + byte(i)}, size)
			w, err := s.Begin()
			if err != nil {
				t.Fatal(err)
			}
			for rest := text; len(rest) > 0; {
				n, err := w.Write(rest[:min(len(rest), 3000)])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if round%2 == 1 { // looked at, as filters do
				c, err := w.Content()
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, seen{c, text})
			}
			if round == 1 {
				w.Abort()
				continue
			}
			if err := w.Commit(context.Background(), &mail.Envelope{Recipients: []mail.Recipient{{Address: "a@x"}}}); err != nil {
				t.Fatal(err)
			}
			c := arrived[len(arrived)-1]
			all = append(all, seen{c, text})
			if b := c.Bytes(); cap(b) > len(b)+len(b)/4+firstBuffer {
				t.Errorf("a content of %d bytes holds %d", len(b), cap(b))
			}
		}
	}
	for _, one := range all {
		if !bytes.Equal(one.c.Bytes(), one.want) {
			t.Errorf("a content of %d bytes %q has become %.10q", len(one.want), one.want[0], one.c.Bytes())
		}
	}
}
