package cleanup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// through sends content in pieces of the given size (0: all at once) and returns
// what is stored.
func through(t testing.TB, s *Service, p *paper, text []byte, piece int) string {
	t.Helper()
	p.Reset()
	m, err := s.Begin(context.Background(), Options{Origin: mail.OriginSMTP, Context: rewrite.Remote})
	if err != nil {
		t.Fatal(err)
	}
	m.SetSender("a@b.test", SenderParams{})
	m.AddRecipient(mail.Recipient{Address: "c@d.test"})
	m.Header("Received: from here\n\tby there")
	for len(text) > 0 {
		n := len(text)
		if piece > 0 {
			n = min(n, piece)
		}
		_, _ = m.Write(text[:n])
		text = text[n:]
	}
	if st := m.Finish(context.Background()); st.Code != 250 {
		t.Fatal(st)
	}
	return p.String()
}

// samePaths checks that a text comes out the same whether its body is copied or
// looked at line by line, and however it is cut, and that invariant 4 holds.
func samePaths(t testing.TB, copying, looking *Service, pc, pl *paper, text []byte) {
	t.Helper()
	want := through(t, copying, pc, text, 0)
	if strings.ContainsAny(strings.ReplaceAll(want, "\r\n", ""), "\r\n") || !strings.HasSuffix(want, "\r\n") {
		t.Errorf("a line end is broken: %q became %q", text, want)
	}
	for _, piece := range []int{0, 1, 2, 7, 64} {
		if piece == 1 && len(text) > 4096 {
			continue
		}
		if got := through(t, copying, pc, text, piece); got != want {
			t.Fatalf("copied in pieces of %d: %q\nwas %q\nin %q", piece, got, want, text)
		}
		if got := through(t, looking, pl, text, piece); got != want {
			t.Fatalf("looked at in pieces of %d: %q\nwas %q", piece, got, want)
		}
	}
}

// twoPaths returns a cleanup that copies bodies and one that looks at each line.
func twoPaths(t testing.TB, headerSize int) (copying, looking *Service, pc, pl *paper) {
	pc, pl = &paper{}, &paper{}
	const limits = "hopcount_limit = 100000\n"
	copying = serviceFor(t, baseConfig+limits, pc, nil)
	looking = serviceFor(t, baseConfig+limits+"header_checks = regexp:{{/^\\x01never/ IGNORE}}\nbody_checks = $header_checks\nbody_checks_size_limit = 0\n", pl, nil)
	for _, s := range []*Service{copying, looking} { // smaller than a configuration may say
		s.set.LineLength, s.set.HeaderSize, s.set.Nesting, s.set.BoundaryLength = 64, headerSize, 3, 20
	}
	return copying, looking, pc, pl
}

// words are what random messages are made of.
var words = []string{
	"Subject: x", "To: a", ":", "X", "\r\n", "\r\n", "\r\n\r\n", "\r", "\n", " ", "\t", "--", "b", "--b\r\n", "--b--\r\n", "From x\r\n", ">From y\r\n",
	"Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: message/rfc822\r\n", "\x00", "\xff", strings.Repeat("y", 70),
	strings.Repeat("z", 400), "Content-Type: multipart/digest; boundary=\"b c\"\r\n", "(", "\"", ".", "\r\r\n", "Bcc: q\r\n",
}

// oddColon finds header names that are followed by blanks.
var oddColon = regexp.MustCompile(`\s:`)

func TestPathsAgree(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, headerSize := range []int{300, 100_000} {
		copying, looking, pc, pl := twoPaths(t, headerSize)
		for range 1500 {
			var text []byte
			for range rnd.IntN(25) {
				w := words[rnd.IntN(len(words))]
				if structured := strings.HasPrefix(w, "Content"); structured == (headerSize == 300) && (structured || w == ":") {
					continue // where lines are looked at, the headers of parts are cut and tidied, too
				}
				text = append(text, w...)
			}
			samePaths(t, copying, looking, pc, pl, text)
		}
	}
}

// FuzzPaths is TestPathsAgree with what the fuzzer makes up: it drives the
// header splitter, the MIME walker and the copier.
func FuzzPaths(f *testing.F) {
	for _, w := range words {
		f.Add([]byte(w + "\r\n" + w))
	}
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: y\r\n\r\nz\r\n--b--\r\n"))
	copying, looking, pc, pl := twoPaths(f, 1<<20)
	f.Fuzz(func(t *testing.T, text []byte) {
		if oddColon.Match(text) {
			return // the headers of parts lose blanks before a colon where lines are looked at
		}
		samePaths(t, copying, looking, pc, pl, text)
	})
}

// FuzzTokens reads MIME header values: it must come to an end.
func FuzzTokens(f *testing.F) {
	f.Add("text/plain; charset=\"a\\\"b\" (c(d)e); x=y")
	f.Add("multipart/mixed; boundary=")
	f.Fuzz(func(t *testing.T, value string) {
		tok := tokens{value}
		for n := 0; ; n++ {
			if n > len(value)+1 {
				t.Fatal("no end")
			}
			if next := tok.next(); next == (token{}) {
				break
			}
		}
		var w walker
		w.limits = limits{3, 20}
		w.follow = true
		w.contentType(value)
		if len(w.stack) > 4 {
			t.Fatalf("%d boundaries", len(w.stack))
		}
	})
}

// TestMemoryIsBounded proves invariant 1: what a message keeps does not grow with
// its content, whatever the content is.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	chunk := strings.Repeat("x", 64<<10)
	for name, tt := range map[string]struct{ head, repeat string }{
		"one endless header line":     {"Subject: ", chunk},
		"one endless folded line":     {"Subject: x", "\r\n " + chunk},
		"text that is never a header": {"", chunk},
		"one endless body line":       {"Subject: x\r\n\r\n", chunk},
		"carriage returns":            {"Subject: x\r\n\r\n", strings.Repeat("\r", 64<<10)},
		"line feeds":                  {"Subject: x\r\n\r\n", strings.Repeat("\n", 64<<10)},
		"line feeds in a header":      {"Subject: x", strings.Repeat("\n", 64<<10)},
		"deep structure":              {"", strings.Repeat("Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n", 1000)},
		"many boundaries":             {"Content-Type: multipart/x", strings.Repeat(";boundary=b", 5000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serviceFor(t, baseConfig+"message_size_limit = 0\nheader_checks = regexp:{{/^\\x01/ IGNORE}}\n", &discardSpool{}, nil)
			m, err := s.Begin(context.Background(), Options{Origin: mail.OriginSMTP, Context: rewrite.Remote})
			if err != nil {
				t.Fatal(err)
			}
			m.SetSender("a@b.test", SenderParams{})
			m.AddRecipient(mail.Recipient{Address: "c@d.test"})
			_, _ = m.Write([]byte(tt.head))
			for range 100 {
				_, _ = m.Write([]byte(tt.repeat))
			}
			held := cap(m.head.field) + cap(m.head.out) + cap(m.text.part) + cap(m.text.fixed)
			for _, b := range m.mime.stack {
				held += len(b.text)
			}
			if held > 1<<20 {
				t.Errorf("%d bytes are held", held)
			}
		})
	}
}

// discardSpool is a queue without bottom.
type discardSpool struct{ n int64 }

func (d *discardSpool) Begin() (Writer, error)                     { return &discardSpool{}, nil }
func (*discardSpool) ID() mail.QueueID                             { return "QID" }
func (d *discardSpool) Write(p []byte) (int, error)                { d.n += int64(len(p)); return len(p), nil }
func (d *discardSpool) Size() int64                                { return d.n }
func (*discardSpool) Commit(context.Context, *mail.Envelope) error { return nil }
func (*discardSpool) Abort()                                       {}

// BenchmarkMessage is a message of a given size from MAIL to the commit, without
// the queue.
func BenchmarkMessage(b *testing.B) {
	line := strings.Repeat("All work and no play makes Jack a dull boy. ", 2)[:76] + "\r\n"
	head := "Received: from client.test (client.test [192.0.2.9])\r\n\tby mx.example.com (Postfix) with ESMTP id QID\r\n" +
		"\tfor <c@d.test>; Tue, 14 Nov 2023 22:13:20 +0000 (UTC)\r\nFrom: A <a@b.test>\r\nTo: C <c@d.test>\r\nSubject: bench\r\n" +
		"Message-Id: <1@b.test>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
	for _, bench := range []struct {
		name, config string
		size         int
	}{
		{"4KiB", "", 4 << 10},
		{"64KiB", "", 64 << 10},
		{"64KiB-body-checks", "body_checks = regexp:{{/never/ REJECT}}\n", 64 << 10},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s := serviceFor(b, baseConfig+bench.config, &discardSpool{}, nil)
			text := []byte(head + strings.Repeat(line, (bench.size-len(head))/len(line)))
			session := &mail.Session{Helo: "h"}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := s.Begin(context.Background(), Options{Origin: mail.OriginSMTP, Session: session, Context: rewrite.Remote})
				if err != nil {
					b.Fatal(err)
				}
				m.SetSender("a@b.test", SenderParams{})
				m.AddRecipient(mail.Recipient{Address: "c@d.test"})
				_, _ = m.Write(text)
				if st := m.Finish(context.Background()); st.Code != 250 {
					b.Fatal(st)
				}
			}
		})
	}
}

// TestMIMEIsLinear feeds the structures that have brought other parsers down
// (20,000 nested parts) and looks that the work is done in one go.
func TestMIMEIsLinear(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n", i, i)
	}
	p := &paper{}
	s := serviceFor(t, baseConfig+"header_checks = regexp:{{/^\\x01/ IGNORE}}\n", p, nil)
	got := through(t, s, p, []byte(text.String()), 0)
	if !strings.HasSuffix(got, text.String()) {
		t.Error("the text was changed")
	}
}
