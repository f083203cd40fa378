package cleanup

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
	"postroad/internal/rewrite"
)

const (
	// pickupPause is the time between looks at the maildrop that nobody asked for.
	pickupPause = 60 * time.Second
	// pickupBatch bounds how many names are read at a time.
	pickupBatch = 1000
	// pickupRetry is the pause after a message could not be taken.
	pickupRetry = 5 * time.Second
)

// Pickup is pickup(8): it takes local submissions from the maildrop into the
// queue. A submission is removed only after its message is committed.
type Pickup struct {
	dir     string
	log     *event.Logger
	service func() *Service
	wake    chan struct{}
}

// NewPickup returns the pickup service of a queue directory; service gives the
// Service in force.
func NewPickup(queueDir string, log *event.Logger, service func() *Service) *Pickup {
	return &Pickup{dir: queueDir, log: log, service: service, wake: make(chan struct{}, 1)}
}

// Poke says that there is something in the maildrop.
func (p *Pickup) Poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends.
func (p *Pickup) Run(ctx context.Context) {
	for {
		pause := pickupPause
		if !p.scan(ctx) {
			pause = pickupRetry
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-p.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// scan takes what is there; false when something must be tried again.
func (p *Pickup) scan(ctx context.Context) bool {
	names, err := maildrop.List(p.dir, pickupBatch)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			p.log.Warnf("maildrop: %v", err)
		}
		return true
	}
	good := true
	for _, name := range names {
		if ctx.Err() != nil {
			return true
		}
		good = p.take(ctx, name) && good
	}
	return good
}

// take takes one submission; false when it should be tried again.
func (p *Pickup) take(ctx context.Context, name string) bool {
	d, err := maildrop.Open(p.dir, name)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, maildrop.ErrBusy), errors.Is(err, maildrop.ErrIncomplete):
		return true
	case errors.Is(err, maildrop.ErrUnsafe):
		p.log.Warnf("maildrop: %s: %v; moved to corrupt", name, err)
		_ = maildrop.SetAside(p.dir, name)
		return true
	case err != nil:
		p.log.Warnf("maildrop: %s: %v", name, err)
		return false
	}
	defer func() { _ = d.Close() }()
	status, err := p.submit(ctx, d)
	if err != nil {
		p.log.Warnf("maildrop: %s: %v; moved to corrupt", name, err)
		_ = d.SetAside()
		return true
	}
	if status.Code/100 == 4 {
		return false
	}
	if status.Code/100 == 5 {
		p.log.Warnf("maildrop: %s: message refused: %s; moved to corrupt", name, status)
		_ = d.SetAside()
		return true
	}
	if err := d.Remove(); err != nil {
		p.log.Errorf("maildrop: remove %s: %v", name, err)
	}
	return true
}

// submit sends one submission through cleanup. An error means that the file makes
// no sense.
func (p *Pickup) submit(ctx context.Context, d *maildrop.Drop) (mail.Status, error) {
	later := mail.Status{Code: 451, Enhanced: "4.3.0", Text: "queue is not available"}
	env, err := d.Envelope()
	if err != nil {
		return mail.Status{}, err
	}
	svc := p.service()
	msg, err := svc.Begin(ctx, Options{
		Origin: mail.OriginLocal, Context: rewrite.Local, FullName: env.FullName, Probe: env.Probe, Trace: env.Trace,
		VERP: env.VERP, Filter: svc.set.ContentFilter,
		Facts: mail.ClientFacts{Name: "localhost", Addr: "127.0.0.1", Proto: "ESMTP", UID: d.UID, RewriteContext: "local"},
	})
	if err != nil {
		return later, nil
	}
	p.log.Emit(event.Pickup{ID: msg.ID(), UID: d.UID, From: env.Sender, OrigID: env.OrigID})
	msg.SetSender(env.Sender, SenderParams{EnvID: env.EnvID, Ret: env.Ret, Body8Bit: env.Encoding == "8bit"})
	for _, r := range env.Recipients {
		msg.AddRecipient(mail.Recipient{Address: r.Address, ORCPT: r.ORCPT, Notify: r.Notify})
	}
	received := "Received: by " + svc.set.Myhostname + " (" + svc.set.MailName + ", from userid " + strconv.Itoa(d.UID) + ")\n\tid " +
		string(msg.ID()) + "; " + time.Now().Format("Mon, 02 Jan 2006 15:04:05 -0700 (MST)")
	msg.Header(received)
	if err := d.Content(msg); err != nil {
		msg.Abort()
		return mail.Status{}, err
	}
	more, err := d.Extracted(env)
	if err != nil {
		msg.Abort()
		return mail.Status{}, err
	}
	for _, r := range more {
		msg.AddRecipient(mail.Recipient{Address: r.Address, ORCPT: r.ORCPT, Notify: r.Notify})
	}
	return msg.Finish(ctx), nil
}
