package queue

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"postroad/internal/mail"
)

// text reads a content.
func text(t *testing.T, c mail.Content, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDrafts replaces small and large contents by small and large ones, and reads
// them at every step, after the commit and after a restart.
func TestDrafts(t *testing.T) {
	t.Parallel()
	small, large := "small\r\n", strings.Repeat("a large line of the old or the new content\r\n", 3000)
	for _, from := range []string{small, large} {
		for _, to := range []string{"", "new " + small, "new " + large} {
			t.Run(fmt.Sprintf("%d to %d", len(from), len(to)), func(t *testing.T) {
				t.Parallel()
				fs := vfs.NewMem()
				s := openMem(t, fs, nil)
				w, err := s.Begin()
				if err != nil {
					t.Fatal(err)
				}
				write(t, w, from)
				c, err := w.Content()
				if got := text(t, c, err); got != from {
					t.Fatalf("before: %d bytes", len(got))
				}
				write(t, w, "more\r\n")
				other := w.Draft(2)
				write(t, other, large)
				d := w.Draft(1)
				write(t, d, to)
				if c, err = d.Content(); text(t, c, err) != to {
					t.Fatal("the draft has another content")
				}
				if err := w.Adopt(d); err != nil {
					t.Fatal(err)
				}
				d.Discard()
				other.Discard()
				if c, err = w.Content(); text(t, c, err) != to {
					t.Fatal("adopted another content")
				}
				env := &mail.Envelope{Recipients: []mail.Recipient{{Address: "a@b"}}, Arrived: time.Now()}
				if err := w.Commit(context.Background(), env); err != nil {
					t.Fatal(err)
				}
				if env.Size != int64(len(to)) {
					t.Errorf("size %d", env.Size)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openMem(t, fs, nil)
				_, c, err = s.Message(env.ID)
				if text(t, c, err) != to {
					t.Error("another content after a restart")
				}
				names, err := fs.List("spool/bodies")
				if err != nil || (len(names) > 0) != (len(to) > DefaultInlineLimit) {
					t.Errorf("files %v, %v", names, err)
				}
			})
		}
	}
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// TestDraftsLeaveNothing ends messages with drafts in every way that keeps none.
func TestDraftsLeaveNothing(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 10_000)
	for name, end := range map[string]func(*Store, *Writer, *Draft){
		"discarded": func(_ *Store, w *Writer, d *Draft) { d.Discard(); w.Abort() },
		"adopted":   func(_ *Store, w *Writer, d *Draft) { _ = w.Adopt(d); w.Abort() },
		"crashed":   func(s *Store, _ *Writer, _ *Draft) {},
	} {
		fs := vfs.NewMem()
		s := openMem(t, fs, nil)
		w, err := s.Begin()
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, large)
		d := w.Draft(1)
		write(t, d, large)
		end(s, w, d)
		if _, err := w.Content(); err == nil && name != "crashed" {
			t.Errorf("%s: an ended writer has a content", name)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		openMem(t, fs, nil)
		if names, err := fs.List("spool/bodies"); err != nil || len(names) > 0 {
			t.Errorf("%s: %v, %v", name, names, err)
		}
	}
}
