package testkit

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// play connects to a sink and plays lines; each "> " is answered.
func play(t *testing.T, s *Sink) *Player {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(s.Addr, "/") {
		network = "unix"
	}
	conn, err := net.Dial(network, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPlayer(conn, 5*time.Second)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// sink starts a sink that closes with the test.
func sink(t *testing.T, addr, script string) *Sink {
	t.Helper()
	s, err := StartSink(addr, script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// expect reads or asks and checks the code.
func expect(t *testing.T, p *Player, line, code string) Reply {
	t.Helper()
	var r Reply
	var err error
	if line == "" {
		r, err = p.Read()
	} else {
		r, err = p.Do(line)
	}
	if err != nil || r.Code() != code {
		t.Fatalf("%q: %q %v, want %s", line, r, err, code)
	}
	return r
}

func TestSinkTakesMail(t *testing.T) {
	t.Parallel()
	s := sink(t, "", "name here.test\n")
	p := play(t, s)
	if r := expect(t, p, "", "220"); r.String() != "220 here.test ESMTP" {
		t.Errorf("greeting %q", r)
	}
	if r := expect(t, p, "EHLO me.test", "250"); len(r.Lines) != 6 {
		t.Errorf("EHLO %q", r)
	}
	expect(t, p, "DATA", "554")
	expect(t, p, "MAIL FROM:<a@b> SIZE=5", "250")
	expect(t, p, "RCPT TO:<c@d>", "250")
	expect(t, p, "DATA", "354")
	if err := p.SendData("Subject: x\n\n.dot\nlast"); err != nil {
		t.Fatal(err)
	}
	expect(t, p, "", "250")
	expect(t, p, "FOO", "500")
	expect(t, p, "QUIT", "221")
	if _, err := p.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("after QUIT: %v", err)
	}
	m := s.Messages()
	if len(m) != 1 {
		t.Fatalf("%d messages", len(m))
	}
	got := m[0]
	got.When = time.Time{}
	want := SinkMessage{Session: 1, Client: "127.0.0.1", Helo: "me.test", Mail: "FROM:<a@b> SIZE=5",
		Rcpts: []string{"TO:<c@d>"}, Data: "Subject: x\r\n\r\n.dot\r\nlast\r\n"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("message %+v", got)
	}
	if c := s.Sessions()[0].Commands; c[0] != "EHLO me.test" || c[len(c)-1] != "QUIT" {
		t.Errorf("commands %q", c)
	}
}

func TestSinkRules(t *testing.T) {
	t.Parallel()
	s := sink(t, "", "RCPT /bad@/ times=1 450 4.2.0 later\nRCPT /never@/ 550 5.1.1 no\nNOOP 250-two\\n250 lines\nMAIL /close/ close\nMAIL /reset/ reset\nMAIL /bye/ 421 4.3.2 bye; close\n")
	p := play(t, s)
	expect(t, p, "", "220")
	expect(t, p, "MAIL FROM:<a@b>", "250")
	expect(t, p, "RCPT TO:<bad@d>", "450")
	expect(t, p, "RCPT TO:<bad@d>", "250")
	expect(t, p, "RCPT TO:<NEVER@d>", "550")
	if r := expect(t, p, "NOOP", "250"); len(r.Lines) != 2 {
		t.Errorf("NOOP %q", r)
	}
	expect(t, p, "MAIL FROM:<bye@b>", "421")
	if _, err := p.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("after the 421: %v", err)
	}
	p = play(t, s)
	expect(t, p, "", "220")
	if _, err := p.Do("MAIL FROM:<close@b>"); !errors.Is(err, io.EOF) {
		t.Errorf("close: %v", err)
	}
	p = play(t, s)
	expect(t, p, "", "220")
	if _, err := p.Do("MAIL FROM:<reset@b>"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}
}

func TestSinkStallEndsWithClose(t *testing.T) {
	t.Parallel()
	s, err := StartSink("", "CONNECT stall 1h; 220 late")
	if err != nil {
		t.Fatal(err)
	}
	p := play(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := p.Read(); err == nil {
		t.Errorf("a reply from a closed sink: %q", r)
	}
}

func TestSinkLMTP(t *testing.T) {
	t.Parallel()
	s := sink(t, filepath.Join(t.TempDir(), "s"), "lmtp\nDOT /full/ 452 4.2.2 over quota\n")
	p := play(t, s)
	if r := expect(t, p, "", "220"); !strings.HasSuffix(r.String(), "LMTP") {
		t.Errorf("greeting %q", r)
	}
	expect(t, p, "LHLO me.test", "250")
	expect(t, p, "MAIL FROM:<a@b>", "250")
	expect(t, p, "RCPT TO:<one@d>", "250")
	expect(t, p, "RCPT TO:<full@d>", "250")
	expect(t, p, "DATA", "354")
	if err := p.SendData("x"); err != nil {
		t.Fatal(err)
	}
	expect(t, p, "", "250")
	expect(t, p, "", "452")
	wait, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// The message is kept once all replies are sent.
	Poll(wait, time.Millisecond, func() bool { return len(s.Messages()) > 0 })
	if m := s.Messages(); len(m) != 1 || len(m[0].Rcpts) != 1 || m[0].Rcpts[0] != "TO:<one@d>" {
		t.Errorf("messages %+v", m)
	}
}

func TestSinkTLS(t *testing.T) {
	t.Parallel()
	s := sink(t, "", "tls\nname here.test\n")
	p := play(t, s)
	expect(t, p, "", "220")
	if r := expect(t, p, "EHLO me.test", "250"); !strings.Contains(r.String(), "STARTTLS") {
		t.Errorf("EHLO %q", r)
	}
	expect(t, p, "STARTTLS", "220")
	if _, err := p.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if r := expect(t, p, "EHLO me.test", "250"); strings.Contains(r.String(), "STARTTLS") {
		t.Errorf("EHLO in TLS %q", r)
	}
	plain := sink(t, "", "")
	q := play(t, plain)
	expect(t, q, "", "220")
	expect(t, q, "STARTTLS", "500")
}

func TestSinkEndsDataAtDotOnly(t *testing.T) {
	t.Parallel()
	s := sink(t, "", "")
	p := play(t, s)
	expect(t, p, "", "220")
	expect(t, p, "MAIL FROM:<a@b>", "250")
	expect(t, p, "RCPT TO:<c@d>", "250")
	expect(t, p, "DATA", "354")
	if err := p.SendRaw("a\n.\nb\r\n.\nc\n.\r\nd\r.\r\r\n.\r\n"); err != nil {
		t.Fatal(err)
	}
	expect(t, p, "", "250")
	// The dot of a line that follows a CRLF is undone, others are not.
	if got := s.Messages()[0].Data; got != "a\n.\nb\r\n\nc\n.\r\nd\r.\r\r\n" {
		t.Errorf("data %q", got)
	}
}

func TestSinkOnMessage(t *testing.T) {
	t.Parallel()
	s := sink(t, "", "")
	got := make(chan string, 1)
	s.OnMessage(func(m SinkMessage) { got <- m.Data })
	p := play(t, s)
	expect(t, p, "", "220")
	expect(t, p, "MAIL FROM:<a@b>", "250")
	expect(t, p, "RCPT TO:<c@d>", "250")
	expect(t, p, "DATA", "354")
	if err := p.SendData("x"); err != nil {
		t.Fatal(err)
	}
	expect(t, p, "", "250")
	if d := <-got; d != "x\r\n" {
		t.Errorf("data %q", d)
	}
	if n := len(s.Messages()); n != 0 {
		t.Errorf("%d kept", n)
	}
}

func TestParseSinkErrors(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"RCPT /open 450", "RCPT /(/ 450 x", "RCPT times=x 450", "RCPT dance", "RCPT stall x", "RCPT"} {
		if _, err := parseSink(script); err == nil {
			t.Errorf("%q was taken", script)
		}
	}
	if _, err := StartSink("", "RCPT dance"); err == nil {
		t.Error("StartSink took nonsense")
	}
	if _, err := StartSink(filepath.Join(t.TempDir(), "no", "dir"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("StartSink in no directory: %v", err)
	}
}

func FuzzParseSink(f *testing.F) {
	f.Add("RCPT /bad@/ times=1 450 4.2.0 later; close")
	f.Add("CONNECT stall 1s; reset\nlmtp\ntls\nname x")
	f.Fuzz(func(t *testing.T, script string) {
		s, err := parseSink(script)
		if err != nil {
			return
		}
		for _, r := range s.rules {
			if len(r.actions) == 0 {
				t.Errorf("a rule without action from %q", script)
			}
		}
	})
}

func TestPlayerReset(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := NewPlayer(conn, time.Second).Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer saw %v", err)
	}
}
