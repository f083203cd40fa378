package milter

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	library "github.com/d--j/go-milter"

	"postroad/internal/event"
	"postroad/internal/event/eventtest"
)

// stranger is a filter on somebody else's implementation of the protocol.
type stranger struct {
	library.NoOpMilter
	saw []string
}

func (s *stranger) RcptTo(rcpt, _ string, m library.Modifier) (*library.Response, error) {
	s.saw = append(s.saw, "rcpt "+rcpt+" "+m.Get(library.MacroRcptMailer))
	return library.RespContinue, nil
}

func (s *stranger) Header(name, value string, _ library.Modifier) (*library.Response, error) {
	s.saw = append(s.saw, name+":"+value)
	return library.RespContinue, nil
}

func (s *stranger) BodyChunk(chunk []byte, _ library.Modifier) (*library.Response, error) {
	s.saw = append(s.saw, string(chunk))
	return library.RespContinue, nil
}

func (s *stranger) EndOfMessage(m library.Modifier) (*library.Response, error) {
	for _, err := range []error{
		m.InsertHeader(1, "X-Seen", strings.Join(s.saw, "|")), m.ChangeHeader(1, "Subject", "new"), m.ReplaceBody(strings.NewReader("new body\r\n")),
		m.AddRecipient("<new@d.test>", "NOTIFY=NEVER"), m.DeleteRecipient("<c@d.test>"), m.ChangeFrom("<z@b.test>", ""),
	} {
		if err != nil {
			return nil, err
		}
	}
	return library.RespAccept, nil
}

// TestStranger speaks to a filter that is built with a library of others.
func TestStranger(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := library.NewServer(library.WithMilter(func() library.Milter { return &stranger{} }),
		library.WithActions(library.AllClientSupportedActionMasks), library.WithMacroRequest(library.StageRcpt, []library.MacroName{library.MacroRcptMailer}))
	done := make(chan struct{})
	// goroutine: the filter; ends with Close.
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	defer func() { _ = srv.Close(); <-done }()
	list, err := config(t, "").Parse("inet:" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var log eventtest.Journal
	c := list.Begin(t.Context(), event.NewLogger(&log, "postfix/smtpd", 1), func(name string) (string, bool) { return name, true })
	p := &paper{text: "Subject: x\r\n\r\nbody\r\n"}
	defer c.Close()
	for _, r := range []*Reply{
		c.Connect(Client{Name: "c.test", Addr: netip.MustParseAddr("2001:db8::1"), Port: 9}), c.Helo("h"), c.Mail("<a@b.test>"), c.Rcpt(false, "<c@d.test>"), c.Data(), c.Message(p, c.macros),
	} {
		if r != nil {
			t.Errorf("%+v", r)
		}
	}
	want := "1 2 X-Seen: rcpt c@d.test {rcpt_mailer}|Subject:x|body\r\n"
	got := strings.Join(p.edits, ";")
	for _, part := range []string{strings.TrimSpace(want), "2 1 Subject: new", "5 0 :<new@d.test>NOTIFY=NEVER", "6 0 :<c@d.test>", "4 0 :<z@b.test>", "body new body\r\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is missing in %q; log %q", part, got, log.Lines())
		}
	}
}
