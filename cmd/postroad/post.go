package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"postroad/internal/agent"
	"postroad/internal/bounce"
	"postroad/internal/cleanup"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// spool is the queue as cleanup sees it.
type spool struct{ door *storeDoor }

// Begin implements cleanup.Spool.
func (s spool) Begin() (cleanup.Writer, error) {
	w, err := s.door.Begin()
	if err != nil {
		return nil, err // a nil *queue.Writer must not become a Writer
	}
	return w, nil
}

// submission is a message that comes from inside.
type submission struct {
	sender  mail.Address
	params  cleanup.SenderParams
	rcpts   []mail.Recipient
	options cleanup.Options
	// headers are whole lines put in front of the content; received adds a
	// Received header before them.
	headers  []string
	received bool
	content  io.Reader
}

// submit sends a message through cleanup and returns its queue id when it is
// committed.
func (g *generation) submit(ctx context.Context, s *submission) (mail.QueueID, error) {
	msg, err := g.cleanup.Begin(ctx, s.options)
	if err != nil {
		return "", err
	}
	msg.SetSender(s.sender, s.params)
	for _, r := range s.rcpts {
		msg.AddRecipient(r)
	}
	if s.received {
		msg.Header("Received: by " + g.rewrite.Myhostname() + " (" + g.settings.MailName + ")\n\tid " +
			string(msg.ID()) + "; " + cleanup.Date(time.Now()))
	}
	for _, h := range s.headers {
		msg.Header(h)
	}
	in := bufio.NewReaderSize(s.content, 32<<10)
	if _, err := in.WriteTo(msg); err != nil && !msg.Failed() {
		msg.Abort()
		return "", fmt.Errorf("read the message: %w", err)
	}
	if status := msg.Finish(ctx); status.Code/100 != 2 {
		return "", errors.New(status.String())
	}
	return msg.ID(), nil
}

// forward posts what local(8) sends on.
func (g *generation) forward(ctx context.Context, f *agent.Forward) (mail.QueueID, error) {
	body, err := f.Content.Open()
	if err != nil {
		return "", err
	}
	defer func() { _ = body.Close() }()
	s := &submission{
		sender: f.Sender, rcpts: f.Recipients, content: body,
		params:  cleanup.SenderParams{EnvID: f.Envelope.EnvID, Ret: f.Envelope.Ret, SMTPUTF8: f.Envelope.SMTPUTF8, Body8Bit: f.Envelope.EightBit, RequireTLS: f.Envelope.RequireTLS},
		options: cleanup.Options{Origin: mail.OriginInternal, Context: rewrite.Remote, Facts: f.Envelope.Client},
	}
	s.received = true
	if f.Delivered != "" {
		s.headers = []string{"Delivered-To: " + f.Delivered.External()}
	}
	return g.submit(ctx, s)
}

// report is a notification on its way through cleanup.
type report struct{ msg *cleanup.Message }

// postReport begins a notification.
func (g *generation) postReport(ctx context.Context, e bounce.Envelope) (bounce.Message, error) {
	class := "bounce"
	if e.Notice {
		class = "notify"
	}
	msg, err := g.cleanup.Begin(ctx, cleanup.Options{Origin: mail.OriginInternal, Context: rewrite.Remote, Class: class, Facts: mail.ClientFacts{UID: -1}})
	if err != nil {
		return nil, err
	}
	msg.SetSender(e.Sender, cleanup.SenderParams{SMTPUTF8: e.SMTPUTF8, Body8Bit: true, RequireTLS: e.RequireTLS})
	rcpt := mail.Recipient{Address: e.Recipient, Original: e.Original}
	if rcpt.Original == "" {
		rcpt.Original = e.Recipient
	}
	msg.AddRecipient(rcpt)
	return report{msg}, nil
}

// ID implements bounce.Message.
func (r report) ID() mail.QueueID { return r.msg.ID() }

// Write implements bounce.Message.
func (r report) Write(p []byte) (int, error) { return r.msg.Write(p) }

// Commit implements bounce.Message.
func (r report) Commit(ctx context.Context) error {
	if status := r.msg.Finish(ctx); status.Code/100 != 2 {
		return errors.New(status.String())
	}
	return nil
}

// Abort implements bounce.Message.
func (r report) Abort() { r.msg.Abort() }

// refuse returns a local submission that cleanup does not take to its sender.
func (g *generation) refuse(ctx context.Context, r *cleanup.Refusal) error {
	report := &bounce.Report{Envelope: r.Envelope, Content: r.Content}
	for _, rcpt := range r.Envelope.Recipients {
		report.Recipients = append(report.Recipients, bounce.Failed{
			Recipient: rcpt, When: time.Now(),
			Result: mail.Result{Outcome: mail.Bounced, Enhanced: r.Status.Enhanced, Text: r.Status.Text},
		})
	}
	_, err := g.bounce.Failure(ctx, report)
	return err
}

// reportExpanded tells the sender that virtual aliases stand for recipients about
// whom a report of success was asked for. The message is in the queue already, so
// a failure can only be logged, which bounce does.
func (g *generation) reportExpanded(ctx context.Context, env *mail.Envelope, header mail.Content, rcpts []mail.Recipient) {
	report := &bounce.Report{Envelope: env, Content: header}
	for _, rcpt := range rcpts {
		report.Recipients = append(report.Recipients, bounce.Failed{
			Recipient: rcpt, When: time.Now(),
			Result: mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "alias expanded", Expanded: true},
		})
	}
	_, _ = g.bounce.Success(ctx, report)
}
