package bounce

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"postroad/internal/mail"
)

// Notice posts a text to the postmaster that concerns no message in the queue:
// the transcript of a session. recipient is one of the *_notice_recipient
// parameters; the lines of text end in LF.
func (s *Service) Notice(ctx context.Context, recipient, subject, text string) error {
	to := s.complete(recipient)
	msg, err := s.post(ctx, Envelope{Sender: s.double, Recipient: to, Original: mail.Address(recipient), Notice: true})
	if err != nil {
		return fmt.Errorf("post notice: %w", err)
	}
	p := &printer{w: bufio.NewWriter(msg)}
	now := s.now()
	p.line("Received: by ", s.set.MyHostname, " (", s.set.MailName, ")")
	p.line("\tid ", string(msg.ID()), "; ", now.Format(dateForm))
	p.line("Date: ", now.Format(dateForm))
	p.line("From: Mail Delivery System <", string(s.complete("MAILER-DAEMON")), ">")
	p.line("To: Postmaster <", to.External(), ">")
	p.line("Subject: ", subject)
	p.line("Auto-Submitted: auto-generated")
	p.line("Message-Id: <", now.UTC().Format("20060102150405"), ".", string(msg.ID()), "@", s.set.MyHostname, ">")
	p.line("")
	for line := range strings.Lines(text) {
		p.line(strings.TrimSuffix(line, "\n"))
	}
	if p.err == nil {
		p.err = p.w.Flush()
	}
	if p.err != nil {
		msg.Abort()
		return fmt.Errorf("post notice: %w", p.err)
	}
	return msg.Commit(ctx)
}
