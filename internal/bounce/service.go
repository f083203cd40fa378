package bounce

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// Failed is one recipient of a report and what happened to it.
type Failed struct {
	Recipient mail.Recipient
	Result    mail.Result
	When      time.Time
	// Cleared tells of a success that the sender hears of because of a warning
	// before it (confirm_delay_cleared).
	Cleared bool
}

// Report is what a notification tells about.
type Report struct {
	// Envelope and Content are those of the original message.
	Envelope *mail.Envelope
	Content  mail.Content
	// To is who hears of a failure, when that is not the sender: with VERP.
	To mail.Address
	// Recipients are those that something happened to.
	Recipients []Failed
	// RetryUntil is when delivery will be given up, for delay warnings.
	RetryUntil time.Time
}

// Envelope is that of a notification.
type Envelope struct {
	Sender, Recipient mail.Address
	// Original is the recipient as main.cf names it, where that is not complete.
	Original mail.Address
	// SMTPUTF8 and EightBit are inherited from the original.
	SMTPUTF8, EightBit bool
	// RequireTLS is inherited, too, but for a report that is kept short instead.
	RequireTLS bool
	// Notice tells that it is for the postmaster and about no message.
	Notice bool
}

// Message is a notification on its way into the queue.
type Message interface {
	// ID is known from the start, because the log names it first.
	ID() mail.QueueID
	// Write takes content with CRLF line ends.
	io.Writer
	// Commit queues the message; an error means that it is not queued.
	Commit(ctx context.Context) error
	// Abort drops it.
	Abort()
}

// Poster begins notifications; cleanup(8) is one.
type Poster func(ctx context.Context, e Envelope) (Message, error)

// Service writes notifications.
type Service struct {
	set    Settings
	texts  *Templates
	post   Poster
	log    *event.Logger
	double mail.Address
	now    func() time.Time
}

// New returns the service. Log lines carry the name of log.
func New(set Settings, texts *Templates, post Poster, log *event.Logger) *Service {
	texts.check(log.Warnf)
	s := &Service{set: set, texts: texts, post: post, log: log, now: time.Now}
	s.double = mail.Address(set.DoubleBounceSender)
	if !s.double.HasDomain() {
		s.double += mail.Address("@" + set.MyHostname)
	}
	return s
}

// complete adds our domain to an address that has none.
func (s *Service) complete(a string) mail.Address {
	if !strings.Contains(a, "@") && a != "" {
		a += "@" + s.set.MyOrigin
	}
	return mail.Address(a)
}

// notifies tells whether the postmaster wants to hear of a class.
func (s *Service) notifies(classes ...string) bool {
	return slices.ContainsFunc(s.set.NotifyClasses, func(have string) bool {
		return slices.ContainsFunc(classes, func(c string) bool { return strings.EqualFold(c, have) })
	})
}

// isDoubleBounce tells whether a message is a notice to the postmaster.
func (s *Service) isDoubleBounce(sender mail.Address) bool {
	return strings.EqualFold(string(sender), string(s.double))
}

// Failure reports recipients that cannot be delivered to. The id is that of
// the report, empty when none was due. An error means that the message must
// stay in the queue until the report can be posted.
func (s *Service) Failure(ctx context.Context, r *Report) (mail.QueueID, error) {
	env := r.Envelope
	switch {
	case s.isDoubleBounce(env.Sender):
		s.log.Warnf("%s: undeliverable postmaster notification discarded", env.ID)
		return "", nil
	case env.Sender == "" && r.To == "":
		// RFC 3464 2: a report about a report must not go to its sender.
		if !s.notifies("bounce", "2bounce") {
			return "", nil
		}
		return s.send(ctx, &notice{
			kind: failureKind, report: r, to: s.complete(s.set.DoubleBounceRecipient), original: mail.Address(s.set.DoubleBounceRecipient), from: s.double, copy: true,
			recipients: r.Recipients, log: "postmaster non-delivery notification",
		})
	}
	to := r.To
	if to == "" {
		to = env.Sender
	}
	return s.pair(ctx, &notice{
		kind: failureKind, report: r, to: to, recipients: filter(r.Recipients, mail.NotifyFailure),
		headersOnly: env.Ret == mail.RetHeaders, log: "sender non-delivery notification",
	}, &notice{
		kind: failureKind, report: r, to: s.complete(s.set.BounceRecipient), original: mail.Address(s.set.BounceRecipient), from: s.double,
		copy: true, recipients: r.Recipients, headersOnly: true, class: "bounce", doing: "bouncing to",
		log: "postmaster non-delivery notification",
	})
}

// Delay warns about recipients that could not be delivered to yet.
func (s *Service) Delay(ctx context.Context, r *Report) (mail.QueueID, error) {
	env := r.Envelope
	switch {
	case s.isDoubleBounce(env.Sender):
		s.log.Warnf("%s: undeliverable postmaster notification discarded", env.ID)
		return "", nil
	case env.Sender == "":
		if !s.notifies("delay") {
			return "", nil
		}
		return s.send(ctx, &notice{
			kind: delayKind, report: r, to: s.complete(s.set.DelayRecipient), original: mail.Address(s.set.DelayRecipient), from: s.double, copy: true,
			recipients: r.Recipients, log: "postmaster delay notification",
		})
	}
	return s.pair(ctx, &notice{
		kind: delayKind, report: r, to: env.Sender, recipients: filter(r.Recipients, mail.NotifyDelay),
		headersOnly: true, log: "sender delay notification",
	}, &notice{
		kind: delayKind, report: r, to: s.complete(s.set.DelayRecipient), original: mail.Address(s.set.DelayRecipient), from: s.double,
		copy: true, recipients: r.Recipients, headersOnly: true, class: "delay", doing: "warning",
		log: "postmaster delay notification",
	})
}

// Success reports deliveries to those who asked: with NOTIFY=SUCCESS (RFC 3461
// 4.1), or for the whole message with sendmail -v and -bv.
func (s *Service) Success(ctx context.Context, r *Report) (mail.QueueID, error) {
	env := r.Envelope
	n := &notice{kind: successKind, report: r, to: env.Sender, headersOnly: true, log: "sender delivery status notification"}
	if env.Trace || env.Probe {
		n.kind, n.recipients = verifyKind, r.Recipients
	} else {
		n.recipients = succeeded(r.Recipients)
	}
	switch {
	case s.isDoubleBounce(env.Sender):
		s.log.Infof("%s: not sending trace/success notification for double-bounce message", env.ID)
		return "", nil
	case env.Sender == "" && !s.notifies("2bounce"):
		s.log.Infof("%s: not sending trace/success notification for single-bounce message", env.ID)
		return "", nil
	case env.Sender == "":
		n.to, n.original, n.from = s.complete(s.set.DoubleBounceRecipient), mail.Address(s.set.DoubleBounceRecipient), s.double
	}
	return s.send(ctx, n)
}

// filter keeps the recipients whose sender wants to know of failures or delays.
func filter(all []Failed, want mail.Notify) []Failed {
	out := make([]Failed, 0, len(all))
	for _, f := range all {
		if f.Recipient.Notify.Wants(want) {
			out = append(out, f)
		}
	}
	return out
}

// succeeded keeps the recipients whose success is ours to report.
func succeeded(all []Failed) []Failed {
	out := make([]Failed, 0, len(all))
	for _, f := range all {
		if f.Result.Outcome == mail.Sent && (f.Cleared || f.Recipient.Notify&mail.NotifySuccess != 0 && !f.Result.DSNPassed) {
			out = append(out, f)
		}
	}
	return out
}

// pair posts a notification to the sender and the copy that the postmaster wants.
// The copy is written before the other is queued, so that the log names both in the
// order in which Postfix does; that it cannot be posted is no failure.
func (s *Service) pair(ctx context.Context, n, copy *notice) (mail.QueueID, error) {
	first, err := s.begin(ctx, n)
	if err != nil {
		return "", err
	}
	if err := first.write(); err != nil {
		return "", err
	}
	var second *draft
	if s.notifies(copy.class) {
		if second, err = s.begin(ctx, copy); err == nil {
			err = second.write()
		}
	}
	id, firstErr := first.commit(ctx)
	if firstErr != nil {
		if err == nil {
			second.abort()
		}
		return "", firstErr
	}
	if err == nil {
		_, err = second.commit(ctx)
	}
	if err != nil {
		s.log.Warnf("%s: postmaster notice failed while %s %s", n.report.Envelope.ID, copy.doing, n.report.Envelope.Sender.External())
	}
	return id, nil
}

// send posts one notification. Nothing to tell is no error.
func (s *Service) send(ctx context.Context, n *notice) (mail.QueueID, error) {
	d, err := s.begin(ctx, n)
	if err != nil {
		return "", err
	}
	if err := d.write(); err != nil {
		return "", err
	}
	return d.commit(ctx)
}

// draft is a notification that has a queue id and no text yet; nil when there is
// nothing to tell.
type draft struct {
	s *Service
	n *notice
	m Message
}

// begin begins a notification.
func (s *Service) begin(ctx context.Context, n *notice) (*draft, error) {
	if len(n.recipients) == 0 {
		return nil, nil
	}
	env := n.report.Envelope
	// RFC 8689 5: the way back may have no REQUIRETLS, so the report does without
	// it and without what was to be kept secret.
	n.headersOnly = n.headersOnly || env.RequireTLS && s.set.Redact
	m, err := s.post(ctx, Envelope{Sender: n.from, Recipient: n.to, Original: n.original, SMTPUTF8: env.SMTPUTF8, EightBit: env.EightBit, RequireTLS: env.RequireTLS && !s.set.Redact})
	if err != nil {
		return nil, s.failed(n, err)
	}
	s.log.Emit(event.Notified{ID: env.ID, What: n.log, NewID: m.ID(), Kind: n.kind.label})
	return &draft{s, n, m}, nil
}

// write writes its text; when that fails it is dropped.
func (d *draft) write() error {
	if d == nil {
		return nil
	}
	if err := d.s.write(d.m, d.m.ID(), d.n); err != nil {
		d.m.Abort()
		return d.s.failed(d.n, err)
	}
	return nil
}

// commit posts it.
func (d *draft) commit(ctx context.Context) (mail.QueueID, error) {
	if d == nil {
		return "", nil
	}
	if err := d.m.Commit(ctx); err != nil {
		return "", d.s.failed(d.n, err)
	}
	return d.m.ID(), nil
}

// abort drops it.
func (d *draft) abort() {
	if d != nil {
		d.m.Abort()
	}
}

func (s *Service) failed(n *notice, err error) error {
	id := n.report.Envelope.ID
	if n.copy {
		s.log.Warnf("%s: postmaster notification failed: %v", id, err)
	} else {
		s.log.Warnf("%s: sender notification failed to %s: %v", id, n.to.External(), err)
	}
	return fmt.Errorf("%s: report to %s: %w", id, n.to.External(), err)
}
