package milter

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// wire is a connection whose other side has said everything already.
type wire struct {
	io.Reader
	closed bool
}

func (w *wire) Write(p []byte) (int, error)      { return len(p), nil }
func (w *wire) Close() error                     { w.closed = true; return nil }
func (w *wire) LocalAddr() net.Addr              { return nil }
func (w *wire) RemoteAddr() net.Addr             { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// FuzzReplies gives any bytes as what a filter says during a session. Nothing may
// panic, block or be changed by half, and replies stay on their lines.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{
		"", "\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff",
		"\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00" + strings.Repeat("\x00\x00\x00\x01c", 12) + "\x00\x00\x00\x05hA\x00b\x00\x00\x00\x00\x03bxy\x00\x00\x00\x01c",
		"\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x0f\xf0\x80\x00\x00\x00\x0ay550 5.%%1\x00",
		"\x00\x00\x00\x13O\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00\x00\x00\x00\x02i\x00",
		"\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x0f\xf7\xff\x00\x00\x00\x09qwhy\x00\x00\x00\x00\x04e\x00\x00\x00\x00\x00\x00\x01a",
	} {
		f.Add([]byte(seed))
	}
	c := config(f, "")
	l, err := c.Parse("inet:a inet:b")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg := &Config{set: c.set, macros: c.macros, defaults: c.defaults}
		cfg.dial = func(context.Context, string, string) (net.Conn, error) {
			return &wire{Reader: bytes.NewReader(data)}, nil
		}
		cfg.chunks.New = c.chunks.New
		chain := (&List{cfg: cfg, services: l.services}).Begin(context.Background(), nil, func(n string) (string, bool) { return n, true })
		p := &paper{text: letter}
		talk(chain, p)
		if p.bodies != 0 {
			t.Errorf("%d bodies left", p.bodies)
		}
		for _, e := range p.edits {
			if strings.Contains(e, "\r") && !strings.HasPrefix(e, "body") {
				t.Errorf("edit %q", e)
			}
		}
	})
}

// FuzzReplyCode reads replies that filters make up.
func FuzzReplyCode(f *testing.F) {
	f.Add([]byte("550 5.7.1 x\x00"), false)
	f.Add([]byte("451-a\r\n%"), true)
	f.Fuzz(func(t *testing.T, data []byte, soft bool) {
		text, ok := parseReplyCode(data, soft)
		if !ok {
			return
		}
		st := refuse(text).Status()
		if st.Code < 400 || st.Code > 599 || strings.ContainsAny(st.Text+st.Enhanced, "\r\x00") {
			t.Errorf("%q: %+v", data, st)
		}
	})
}

// FuzzField reads header fields.
func FuzzField(f *testing.F) {
	f.Add("A: b\r\n c\r\nD: e\r\n\r\nbody")
	f.Fuzz(func(t *testing.T, text string) {
		r := bufio.NewReaderSize(strings.NewReader(text), 16)
		total := 0
		for {
			field, err := readField(r, nil)
			if err != nil || len(field) == 0 {
				break
			}
			if total += len(field); total > len(text) {
				t.Fatalf("more came out than was in %q", text)
			}
		}
	})
}
