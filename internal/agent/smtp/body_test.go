package smtp

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postroad/internal/agent"
	"postroad/internal/mail"
)

// wire gives what content looks like on the wire, fed in pieces.
func wire(pieces []string, limit int) string {
	var sent bytes.Buffer
	s := &session{conn: bufferConn{&sent}}
	w := &bodyWriter{s: s, limit: limit, start: true}
	for _, p := range pieces {
		w.write([]byte(p))
	}
	w.finish()
	s.flush(0)
	return sent.String()
}

// bufferConn is a connection that only takes bytes.
type bufferConn struct{ *bytes.Buffer }

func (bufferConn) Close() error                     { return nil }
func (bufferConn) LocalAddr() net.Addr              { return nil }
func (bufferConn) RemoteAddr() net.Addr             { return nil }
func (bufferConn) SetDeadline(time.Time) error      { return nil }
func (bufferConn) SetReadDeadline(time.Time) error  { return nil }
func (bufferConn) SetWriteDeadline(time.Time) error { return nil }

func TestBody(t *testing.T) {
	t.Parallel()
	x := strings.Repeat
	tests := []struct {
		name  string
		in    []string
		limit int
		want  string
	}{
		{"plain", []string{"a\r\nb\r\n"}, 998, "a\r\nb\r\n"},
		{"empty", []string{""}, 998, ""},
		{"no last line end", []string{"a\r\nb"}, 998, "a\r\nb\r\n"},
		{"dots", []string{".\r\n..\r\na.\r\n.x\r\n"}, 998, "..\r\n...\r\na.\r\n..x\r\n"},
		{"dot split from its line", []string{"a\r\n", ".", "\r", "\n.", "b\r\n"}, 998, "a\r\n..\r\n..b\r\n"},
		{"bare LF", []string{"a\nb\n.\n"}, 998, "a\r\nb\r\n..\r\n"},
		{"bare CR", []string{"a\rb\r\r\nc\r", "d\r\n"}, 998, "a b \r\nc d\r\n"},
		{"smuggling", []string{"a\r.\rMAIL\r\n\n.\n\r.\r\n"}, 998, "a . MAIL\r\n\r\n..\r\n .\r\n"},
		{"998 fit", []string{x("a", 998) + "\r\n"}, 998, x("a", 998) + "\r\n"},
		// As measured with Postfix: the space of a folded line counts.
		{"999 do not", []string{x("c", 999) + "\r\n"}, 998, x("c", 998) + "\r\n c\r\n"},
		{"2500", []string{x("d", 2500) + "\r\n"}, 998, x("d", 998) + "\r\n " + x("d", 997) + "\r\n " + x("d", 505) + "\r\n"},
		{"no limit", []string{x("d", 2500) + "\r\n"}, 0, x("d", 2500) + "\r\n"},
	}
	for _, tt := range tests {
		if got := wire(tt.in, tt.limit); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// FuzzBody holds invariant 3: nothing in the content can end it, and what a
// server reads is the content again.
func FuzzBody(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nb\r.\n\r\n"), 3, 10)
	f.Fuzz(func(t *testing.T, b []byte, cut, limit int) {
		if limit < 2 {
			limit = 0
		}
		cut = max(1, min(cut, 100))
		var pieces []string
		for rest := b; len(rest) > 0; {
			n := min(cut, len(rest))
			pieces = append(pieces, string(rest[:n]))
			rest = rest[n:]
		}
		got := wire(pieces, limit)
		if whole := wire([]string{string(b)}, limit); whole != got {
			t.Fatalf("in pieces %q, whole %q", got, whole)
		}
		if got != "" && !strings.HasSuffix(got, "\r\n") {
			t.Fatalf("%q does not end in CRLF", got)
		}
		bare := strings.ReplaceAll(got, "\r\n", "")
		if strings.ContainsAny(bare, "\r\n") {
			t.Fatalf("%q has bare CR or LF", got)
		}
		for line := range strings.SplitSeq(got, "\r\n") {
			if line == "." || limit > 0 && len(line) > limit+1 {
				t.Fatalf("line %q", line)
			}
		}
		if limit == 0 {
			var back strings.Builder
			for line := range strings.SplitSeq(got, "\r\n") {
				back.WriteString(strings.TrimPrefix(line, ".") + "\n")
			}
			want := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\r", " ")
			if b := strings.TrimRight(back.String(), "\n"); strings.TrimRight(b, " \n") != strings.TrimRight(want, " \n") {
				t.Fatalf("%q came back as %q", want, b)
			}
		}
	})
}

func TestConvert(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"text", "Subject: eight\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nX-Last: y\r\n\r\nh\xc3\xa9 llo =x trailing \r\nend\r\n",
			"Subject: eight\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nX-Last: y\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nh=C3=A9 llo =3Dx trailing=20\r\nend\r\n"},
		{"parts", "Content-Type: multipart/mixed;\r\n boundary=\"bb\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\npre\r\n--bb\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nh\xc3\xa9\r\n--bb\r\n\r\nplain =\r\n--bb--\r\nafter =\r\n",
			"Content-Type: multipart/mixed;\r\n boundary=\"bb\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\npre\r\n--bb\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nh=C3=A9\r\n--bb\r\n\r\nplain =\r\n--bb--\r\nafter =\r\n"},
		{"base64 is left alone", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--b--\r\n",
			"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--b--\r\n"},
		{"message in message", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: in\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe9\r\n",
			"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: in\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E9\r\n"},
		{"nested boundaries", "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/alternative; boundary=a2\r\n\r\n--a2\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe9\r\n--a2--\r\n--a\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe8\r\n--a--\r\n",
			"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/alternative; boundary=a2\r\n\r\n--a2\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E9\r\n--a2--\r\n--a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E8\r\n--a--\r\n"},
		{"long line", "Content-Transfer-Encoding: 8bit\r\n\r\n" + strings.Repeat("\xe9", 30) + "\r\n",
			"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=E9", 25) + "=\r\n" + strings.Repeat("=E9", 5) + "\r\n"},
		{"header only", "Subject: x\r\n", "Subject: x\r\n"},
	}
	for _, tt := range tests {
		got, err := io.ReadAll(newQPReader(strings.NewReader(tt.in)))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\ngot  %q, %v\nwant %q", tt.name, got, err, tt.want)
		}
	}
}

func FuzzConvert(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe9\r\n--b--\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		got, err := io.ReadAll(newQPReader(strings.NewReader(in)))
		if err != nil || len(got) > 4*len(in)+1000 {
			t.Fatalf("%d bytes became %d, %v", len(in), len(got), err)
		}
	})
}

// FuzzServer lets a server say anything, cut anywhere; a delivery must end and
// answer for each recipient once.
func FuzzServer(f *testing.F) {
	good := "220 x\r\n250-x\r\n250-PIPELINING\r\n250-SIZE 1\x00\r\n250 8BITMIME\r\n250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n250 2.0.0 done\r\n221 bye\r\n"
	f.Add([]byte(good), false)
	f.Add([]byte("220 x\r\n250 x\r\n250\r\n250-\r\n250 \r\n354\r\n421 bye\r\n"), true)
	f.Add([]byte("\xff\r\n\n\n999 \r\n2"), false)
	f.Fuzz(func(t *testing.T, replies []byte, lmtp bool) {
		w := &world{t: t, hosts: map[string][]string{"mx.test": {"192.0.2.1"}}}
		cfg := w.config()
		cfg.LMTP = lmtp
		cfg.Dial = func(context.Context, string, string, net.Addr) (net.Conn, error) {
			return &replayConn{r: bytes.NewReader(replies)}, nil
		}
		c := w.client(cfg)
		d := w.delivery("[mx.test]:26", "b@example.test", "c@example.test")
		d.Reuse = agent.Reuse{Load: true, Store: true}
		seen := map[int]int{}
		for _, r := range c.Deliver(t.Context(), d) {
			seen[r.Index]++
			if r.Enhanced == "" || r.Text == "" || strings.ContainsAny(r.Text, "\r\n\x00") {
				t.Fatalf("result %+v", r)
			}
			if r.Outcome == mail.Sent && r.Enhanced[0] != '2' {
				t.Fatalf("sent with %+v", r)
			}
		}
		if len(seen) != 2 || seen[0] != 1 || seen[1] != 1 {
			t.Fatalf("results %v", seen)
		}
		c.Close()
	})
}

// replayConn says what it was given and takes everything.
type replayConn struct {
	bufferConn
	r io.Reader
}

func (c *replayConn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *replayConn) Write(p []byte) (int, error) { return len(p), nil }

// TestSizesOfReplies checks the bounds of invariant 4.
func TestSizesOfReplies(t *testing.T) {
	t.Parallel()
	read := func(text string) (reply, error) {
		rr := &replyReader{buf: make([]byte, readBufSize)}
		rr.reset(&replayConn{r: strings.NewReader(text)})
		return rr.read(0, nil)
	}
	r, err := read("250 " + strings.Repeat("x", 60000) + "\r\n")
	if err != nil || len(r.text) != maxReplyLine {
		t.Errorf("long line: %d bytes, %v", len(r.text), err)
	}
	if _, err := read(strings.Repeat("250-x\r\n", maxReplyLines+1) + "250 x\r\n"); err != errReplyTooBig {
		t.Errorf("many lines: %v", err)
	}
	if _, err := read(strings.Repeat("x", maxReplyBytes+readBufSize)); err != errReplyTooBig {
		t.Errorf("many bytes: %v", err)
	}
	r, err = read(strings.Repeat("250-"+strings.Repeat("y", 500)+"\r\n", 50) + "250 2.1.0 end\r\n")
	if err != nil || len(r.text) > maxReplyText+maxReplyLine || r.enhanced() != "2.1.0" {
		t.Errorf("many long lines: %d bytes, %q, %v", len(r.text), r.enhanced(), err)
	}
}

// TestEnhanced reads enhanced codes.
func TestEnhanced(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"250 2.1.5 ok": "2.1.5", "250 ok": "2.0.0", "550 4.1.1 x": "5.0.0", "550 5.1.1": "5.1.1", "550 5.1.1x": "5.0.0", "550 5.1": "5.0.0",
		"450 4.1234.1 x": "4.0.0", "354 go": "5.5.0", "550-5.7.1 x": "5.7.1", "550": "5.0.0", "550 5.999.999 x": "5.999.999",
	} {
		code := int(in[0]-'0') * 100
		r := reply{code: code, text: []byte(in), last: []byte(in)}
		if got := r.enhanced(); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

var _ agent.Agent = (*Client)(nil)
