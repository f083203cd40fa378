package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	lim := ReplyLimits{Line: 40, Lines: 3, Total: 60}
	tests := []struct {
		in   string
		want Reply
		str  string
		err  error
	}{
		{"250 Ok\r\n", Reply{250, "", []string{"Ok"}}, "250 Ok", nil},
		{"250\r\n", Reply{250, "", []string{""}}, "250", nil},
		{"250 \n", Reply{250, "", []string{""}}, "250", nil},
		{"250-a\r\n250-b\r\n250 c\r\n", Reply{250, "", []string{"a", "b", "c"}}, "250-a 250-b 250 c", nil},
		{"550 5.1.1 <x>: no\r\n", Reply{550, "5.1.1", []string{"5.1.1 <x>: no"}}, "550 5.1.1 <x>: no", nil},
		{"550-5.1.1 a\r\n550 b\r\n", Reply{550, "5.1.1", []string{"5.1.1 a", "b"}}, "550-5.1.1 a 550 b", nil},
		{"250 4.1.1 x\r\n", Reply{250, "", []string{"4.1.1 x"}}, "250 4.1.1 x", nil},
		{"250-a\r\n251 b\r\n", Reply{251, "", []string{"a", "b"}}, "251-a 251 b", nil},
		{"HTTP/1.1 400\r\n", Reply{}, "", ErrBadReply},
		{"25 x\r\n", Reply{}, "", ErrBadReply},
		{"650 x\r\n", Reply{}, "", ErrBadReply},
		{"250x\r\n", Reply{}, "", ErrBadReply},
		{"250-a\r\nb\r\n", Reply{}, "", ErrBadReply},
		{"250 " + strings.Repeat("x", 40) + "\r\n", Reply{}, "", ErrReplyTooLong},
		{"250-a\r\n250-b\r\n250-c\r\n250 d\r\n", Reply{}, "", ErrReplyTooLong},
		{strings.Repeat("250-"+strings.Repeat("x", 30)+"\r\n", 3), Reply{}, "", ErrReplyTooLong},
		{strings.Repeat("2", 2*maxDiscard), Reply{}, "", ErrReplyTooLong},
	}
	for _, tt := range tests {
		got, err := ReadReply(NewReader(split(tt.in), nil), lim)
		if !errors.Is(err, tt.err) {
			t.Errorf("%.40q: %v, want %v", tt.in, err, tt.err)
		}
		if err == nil && (!reflect.DeepEqual(got, tt.want) || got.String() != tt.str) {
			t.Errorf("%q: %#v %q, want %#v %q", tt.in, got, got.String(), tt.want, tt.str)
		}
	}
}

func TestEnhancedCode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"5.1.1 x": "5.1.1", "4.7.0": "4.7.0", "2.10.123 x": "2.10.123", "5.1 x": "", "3.1.1 x": "", "5.1.1x": "", "5.1234.1 x": "",
		"": "", "5.": "", "5..1 x": "", "5.1.": "", "5.1.1\tx": "5.1.1",
	} {
		if got := EnhancedCode(in); got != want {
			t.Errorf("EnhancedCode(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWriterReply(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code           int
		enhanced, text string
		want           string
	}{
		{250, "2.0.0", "Ok", "250 2.0.0 Ok\r\n"},
		{250, "", "a\nb\nc", "250-a\r\n250-b\r\n250 c\r\n"},
		{550, "5.7.1", "a\nb", "550-5.7.1 a\r\n550 5.7.1 b\r\n"},
		{334, "", "", "334 \r\n"},
		{250, "2.0.0", "", "250 2.0.0\r\n"},
		{550, "5.7.1", "a\rb", "550 5.7.1 a b\r\n"},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		w := NewWriter(&b, NewPool())
		if err := errors.Join(w.Reply(tt.code, tt.enhanced, tt.text), w.Flush()); err != nil || b.String() != tt.want {
			t.Errorf("got %q, %v; want %q", b.String(), err, tt.want)
		}
		if w.buf != nil {
			t.Error("the writer keeps a buffer")
		}
	}
}

// writes counts the writes that reach it.
type writes struct {
	bytes.Buffer
	n int
}

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	return w.Buffer.Write(p)
}

func TestWriterBatches(t *testing.T) {
	t.Parallel()
	var dst writes
	w := NewWriter(&dst, nil)
	want := ""
	for range 100 {
		_ = w.Reply(250, "2.1.5", "Ok")
		want += "250 2.1.5 Ok\r\n"
	}
	if dst.n != 0 || w.Buffered() != len(want) {
		t.Errorf("%d writes before the flush, %d bytes buffered", dst.n, w.Buffered())
	}
	_ = w.Flush()
	big := strings.Repeat("y", 2*blockSize)
	_, _ = w.WriteString("x")
	_, _ = w.WriteString(big)
	_ = w.Flush()
	if got := dst.String(); got != want+"x"+big || dst.n != 3 {
		t.Errorf("%d bytes in %d writes", len(got), dst.n)
	}
}

func TestDotWriter(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": ".\r\n", "a\r\n": "a\r\n.\r\n", ".\r\n": "..\r\n.\r\n", "a": "a\r\n.\r\n", "a\r\n.b\r\n..\r\n": "a\r\n..b\r\n...\r\n.\r\n",
		"a\n.\nb": "a\n..\nb\r\n.\r\n", "a\n": "a\n\r\n.\r\n", "a\r": "a\r\r\n.\r\n",
	} {
		for i := range len(in) + 1 {
			var b bytes.Buffer
			w := NewDotWriter(&b)
			for _, p := range []string{in[:i], in[i:]} {
				if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
					t.Fatalf("wrote %d of %q, %v", n, p, err)
				}
			}
			if err := w.Close(); err != nil || b.String() != want {
				t.Errorf("%q cut at %d: got %q, want %q", in, i, b.String(), want)
			}
		}
	}
}

func TestXtext(t *testing.T) {
	t.Parallel()
	for plain, coded := range map[string]string{"": "", "abc": "abc", "a+b=c d": "a+2Bb+3Dc+20d", "é\x00": "+C3+A9+00"} {
		if got := EncodeXtext(plain); got != coded {
			t.Errorf("EncodeXtext(%q) = %q", plain, got)
		}
		if got, err := DecodeXtext(coded); got != plain || err != nil {
			t.Errorf("DecodeXtext(%q) = %q, %v", coded, got, err)
		}
	}
	for _, bad := range []string{"+", "a+2", "+zz", "+2", "+G0"} {
		if got, err := DecodeXtext(bad); err == nil {
			t.Errorf("DecodeXtext(%q) = %q", bad, got)
		}
	}
}

func FuzzXtext(f *testing.F) {
	f.Add("a+20b")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := DecodeXtext(EncodeXtext(s)); err != nil || got != s {
			t.Errorf("%q -> %q -> %q, %v", s, EncodeXtext(s), got, err)
		}
		if plain, err := DecodeXtext(s); err == nil && len(plain) > len(s) {
			t.Errorf("%q grows to %q", s, plain)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	f.Add("250-a\r\n250 b\r\n")
	f.Add("550 5.1.1 x\n")
	f.Fuzz(func(t *testing.T, in string) {
		lim := ReplyLimits{Line: 200, Lines: 10, Total: 1000}
		rep, err := ReadReply(NewReader(split(in, len(in)/2), nil), lim)
		if err != nil {
			return
		}
		if rep.Code < 100 || rep.Code > 599 || len(rep.Lines) > 10 || strings.Contains(rep.String(), "\n") {
			t.Fatalf("%q: %#v", in, rep)
		}
		// What was read can be written, and is read again as the same.
		wide := ReplyLimits{Line: 2000, Lines: 100, Total: 10000}
		again, err := ReadReply(NewReader(split(string(rep.AppendTo(nil))), nil), wide)
		if err != nil || again.Code != rep.Code || len(again.Lines) != len(rep.Lines) {
			t.Fatalf("%q: %#v became %#v, %v", in, rep, again, err)
		}
	})
}

func BenchmarkDataReader(b *testing.B) {
	content := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1000) + ".\r\n"
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	src := strings.NewReader("")
	r := NewReader(src, NewPool())
	var d DataReader
	for b.Loop() {
		src.Reset(content)
		d.Start(r)
		for {
			if _, err := d.Next(); err != nil {
				break
			}
		}
	}
}
