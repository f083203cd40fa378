package smtp

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// rules is a table for tests: the first key that the text contains.
type rules [][2]string

// Find implements Maps.
func (r rules) Find(_ context.Context, text string) (string, bool, error) {
	for _, rule := range r {
		if strings.Contains(text, rule[0]) {
			if rule[1] == "error" {
				return "", false, errors.New("table is away")
			}
			return rule[1], true, nil
		}
	}
	return "", false, nil
}

// pass runs content through o.
func pass(o *Outgoing, text string) (string, error) {
	out, err := io.ReadAll(newOutReader(context.Background(), o, "ID", event.NewLogger(nil, "postfix/smtp", 1), strings.NewReader(text)))
	return string(out), err
}

func TestOutgoing(t *testing.T) {
	t.Parallel()
	const letter = "From: a@in.test\r\nSubject: one\r\n two\r\nX-Kill: x\r\nContent-Type: text/plain\r\n\r\nold line\r\na@in.test\r\n"
	generic := func(_ context.Context, a mail.Address) (mail.Address, error) {
		if a == "bad@in.test" {
			return a, errors.New("no answer")
		}
		return mail.Address(strings.Replace(string(a), "@in.test", "@out.test", 1)), nil
	}
	tests := []struct {
		name string
		o    Outgoing
		in   string
		want string
		bad  bool
	}{
		{"nothing", Outgoing{}, letter, letter, false},
		{"generic", Outgoing{Generic: generic}, letter, strings.Replace(letter, "From: a@in.test", "From: a@out.test", 1), false},
		{"generic fails", Outgoing{Generic: generic}, "To: bad@in.test\r\n\r\n", "", true},
		{"header", Outgoing{Header: rules{{"Subject", "REPLACE Subject: three"}, {"X-Kill", "IGNORE"}, {"Content-Type", "IGNORE"}}}, letter,
			"From: a@in.test\r\nSubject: three\r\nContent-Type: text/plain\r\n\r\nold line\r\na@in.test\r\n", false},
		{"mime", Outgoing{MIME: rules{{"Content-Type", "PREPEND X-Seen: yes"}, {"Subject", "IGNORE"}}}, letter,
			strings.Replace(letter, "Content-Type", "X-Seen: yes\r\nContent-Type", 1), false},
		{"body", Outgoing{Body: rules{{"old", "REPLACE new"}, {"a@in", "PREPEND before"}, {"From", "IGNORE"}}}, letter,
			strings.Replace(strings.Replace(letter, "old line", "new", 1), "\r\na@in", "\r\nbefore\r\na@in", 1), false},
		{"table away", Outgoing{Body: rules{{"old", "error"}}}, letter, "", true},
		{"no body", Outgoing{Header: rules{{"Subject", "IGNORE"}}}, "Subject: x\r\nTo: y\r\n", "To: y\r\n", false},
		{"body limit", Outgoing{Body: rules{{"x", "IGNORE"}}, BodyLimit: 6}, "A: b\r\n\r\nx123\r\nx456\r\n", "A: b\r\n\r\nx456\r\n", false},
		{"no end of line", Outgoing{Body: rules{{"x", "REPLACE y"}}}, "A: b\r\n\r\nx", "A: b\r\n\r\ny", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.o.Proto = "smtp"
			got, err := pass(&tt.o, tt.in)
			if (err != nil) != tt.bad || err == nil && got != tt.want {
				t.Errorf("got  %q (%v)\nwant %q", got, err, tt.want)
			}
		})
	}
}

// FuzzOutgoing: what no rule is about comes out as it went in.
func FuzzOutgoing(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx\r\n--b--\r\n")
	f.Add("a\r\n b\r\nc: d")
	f.Fuzz(func(t *testing.T, in string) {
		none := rules{{"\x00never\x00", "IGNORE"}}
		got, err := pass(&Outgoing{Header: none, MIME: none, Nested: none, Body: none, Proto: "smtp"}, in)
		if err != nil || got != in && !strings.Contains(in, "\x00never\x00") {
			t.Errorf("%q became %q (%v)", in, got, err)
		}
	})
}
