package cleanup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
	"postroad/internal/postconf"
	"postroad/internal/rewrite"
)

const (
	// pickupPause is the time between looks at the maildrop that nobody asked for.
	pickupPause = 60 * time.Second
	// pickupBatch bounds how many names are read at a time.
	pickupBatch = 1000
	// pickupRetry is the pause after a message could not be taken.
	pickupRetry = 5 * time.Second
	// pickupWorkers is how many submissions are taken at once, so that they
	// share the syncs of the queue.
	pickupWorkers = 4
	// staleAge is when an incomplete file is taken for what a killed command
	// left behind; staleSweep is how often that is looked at.
	staleAge   = 24 * time.Hour
	staleSweep = time.Hour
	// oldMail is from when on a late pickup is worth a warning.
	oldMail = 24 * time.Hour
)

// Pickup is pickup(8): it takes local submissions from the maildrop into the
// queue. A submission is removed only after its message is committed, or its
// return to the sender is.
type Pickup struct {
	// Refuse returns a message that can never be queued to its sender; an error
	// means that it must be tried again. When nil, such messages are set aside.
	Refuse func(ctx context.Context, r *Refusal) error
	// Returned removes a message from the queue that lies in the maildrop for a new
	// cleaning, if it is still there; nil when nothing comes back.
	Returned func(ctx context.Context, id mail.QueueID) error

	dir     string
	log     *event.Logger
	service func() *Service
	wake    chan struct{}
	swept   time.Time
}

// Refusal is a local submission that cleanup does not accept.
type Refusal struct {
	Envelope *mail.Envelope
	Content  mail.Content
	Status   mail.Status
}

// pickupSettings are those that master.cf may override for pickup alone.
type pickupSettings struct {
	ContentFilter string   `postconf:"content_filter"`
	Override      []string `postconf:"receive_override_options"`
}

// SetPickup takes the settings of the master.cf service pickup, which may differ
// from those of cleanup. It is called before the Service is used.
func (s *Service) SetPickup(view *postconf.View) []postconf.Problem {
	var set pickupSettings
	problems := view.Decode(&set)
	s.set.ContentFilter, s.set.Override = set.ContentFilter, set.Override
	return problems
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
	p.sweep()
	names, err := maildrop.List(p.dir, pickupBatch)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			p.log.Warnf("maildrop: %v", err)
		}
		return true
	}
	var failed atomic.Bool
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(pickupWorkers, len(names)) {
		// goroutine: ends with the names of this scan, or with ctx.
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(names)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if !p.take(ctx, names[i]) {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	if len(names) == pickupBatch {
		p.Poke() // there may be more
	}
	return !failed.Load()
}

// sweep removes what killed commands left behind.
func (p *Pickup) sweep() {
	now := time.Now()
	if now.Sub(p.swept) < staleSweep {
		return
	}
	p.swept = now
	removed, _ := maildrop.Stale(p.dir, staleAge, now)
	for _, name := range removed {
		p.log.Warnf("maildrop: removed incomplete file %s", name)
	}
}

// take takes one submission; false when it should be tried again.
func (p *Pickup) take(ctx context.Context, name string) (done bool) {
	// One submission must not take the others with it: what makes us panic is
	// set aside, and would be met again at every start otherwise.
	defer func() {
		if r := recover(); r != nil {
			p.log.Emit(event.Notice{Severity: "panic", Text: fmt.Sprintf("maildrop: %s: %v", name, r)})
			p.aside(name, "cannot be read")
			done = true
		}
	}()
	d, err := maildrop.Open(p.dir, name)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, maildrop.ErrBusy), errors.Is(err, maildrop.ErrIncomplete):
		return true
	case errors.Is(err, maildrop.ErrUnsafe):
		p.aside(name, err.Error())
		return true
	case err != nil:
		p.log.Warnf("open input file maildrop/%s: %v", name, err)
		return false
	}
	defer func() { _ = d.Close() }()
	p.checkAge(d)
	s := submission{p: p, d: d, svc: p.service()}
	status, err := s.run(ctx)
	switch {
	case errors.Is(err, maildrop.ErrFormat):
		p.aside(name, fmt.Sprintf("uid=%d: %v", d.UID, err))
		return true
	case err != nil:
		p.log.Warnf("maildrop: %s: %v", name, err)
		return false
	case status.Temporary():
		return false
	case status.Permanent() && !s.refuse(ctx, status):
		return false
	}
	// After a refusal that could only be set aside it is gone already.
	if err := d.Remove(); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.log.Warnf("remove maildrop/%s: %v", name, err)
	}
	return true
}

// aside moves a file to the corrupt directory.
func (p *Pickup) aside(name, why string) {
	p.log.Warnf("maildrop: %s: %s; moved to corrupt", name, why)
	if err := maildrop.SetAside(p.dir, name); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.log.Warnf("maildrop: %s: %v", name, err)
	}
}

// checkAge warns of clocks that disagree and of mail that waited long.
func (p *Pickup) checkAge(d *maildrop.Drop) {
	switch age := time.Since(d.Modified); {
	case age < -time.Hour:
		p.log.Warnf("%s: message dated %d seconds into the future", d.Name, int(-age.Seconds()))
	case age > oldMail:
		p.log.Warnf("%s: message has been queued for %d days", d.Name, int(age.Hours()/24))
	}
}

// submission is one file on its way through cleanup.
type submission struct {
	p   *Pickup
	d   *maildrop.Drop
	svc *Service
	msg *Message
}

// run sends it through cleanup. An error is one of the file or of the queue.
func (s *submission) run(ctx context.Context) (mail.Status, error) {
	env, err := s.d.Envelope()
	if err != nil {
		return mail.Status{}, err
	}
	var origID mail.QueueID
	if back := env.Returned; back != nil {
		origID = back.ID
		if s.p.Returned != nil {
			if err := s.p.Returned(ctx, origID); err != nil {
				return mail.Status{}, err
			}
		}
	}
	set := &s.svc.set
	if s.msg, err = s.svc.Begin(ctx, s.options(env)); err != nil {
		return mail.Status{}, err
	}
	defer s.msg.Abort() // does nothing after Finish
	s.p.log.Emit(event.Pickup{ID: s.msg.ID(), UID: s.d.UID, From: env.Sender, OrigID: origID})
	s.msg.SetSender(env.Sender, SenderParams{EnvID: env.EnvID, Ret: env.Ret, SMTPUTF8: env.SMTPUTF8, Body8Bit: env.Encoding == "8bit", RequireTLS: env.RequireTLS})
	s.addRecipients(env.Recipients)
	received := "Received: by " + set.Myhostname + " (" + set.MailName + ", from userid " + strconv.Itoa(s.d.UID) + ")\n\tid " +
		string(s.msg.ID()) + "; " + Date(s.msg.head.began)
	s.msg.Header(received)
	if err := s.d.Content(s.msg); err != nil {
		return mail.Status{}, err
	}
	late, err := s.d.Extracted(env)
	if err != nil {
		return mail.Status{}, err
	}
	s.addRecipients(late)
	return s.msg.Finish(ctx), nil
}

// options are how cleanup treats the submission. A message that came back from the
// queue keeps the time, the client and the rewriting context of its arrival, and
// milters do not see it again.
func (s *submission) options(env *maildrop.Envelope) Options {
	set := &s.svc.set
	opt := Options{
		Origin: mail.OriginLocal, Context: rewrite.Local, FullName: env.FullName, Probe: env.Probe, Trace: env.Trace,
		VERP: env.VERP, Filter: set.ContentFilter,
		NoAddressMappings:  slices.Contains(set.Override, "no_address_mappings"),
		NoHeaderBodyChecks: slices.Contains(set.Override, "no_header_body_checks"),
		NoMilters:          slices.Contains(set.Override, "no_milters"),
		Facts:              mail.ClientFacts{Name: "localhost", Addr: "127.0.0.1", Proto: "ESMTP", UID: s.d.UID, RewriteContext: "local"},
	}
	if env.Returned != nil {
		opt.Facts, opt.Arrived, opt.NoMilters = env.Returned.Client, env.Queued, true
	} else if env.Gateway {
		opt.Facts.RewriteContext = "remote"
	}
	if opt.Facts.RewriteContext == "remote" {
		opt.Context = rewrite.Remote
	}
	return opt
}

func (s *submission) addRecipients(list []maildrop.Recipient) {
	for _, r := range list {
		s.msg.AddRecipient(mail.Recipient{Address: r.Address, Original: r.Original, ORCPT: r.ORCPT, Notify: r.Notify})
	}
}

// refuse gives the message back to its sender; false when that must be tried
// again.
func (s *submission) refuse(ctx context.Context, status mail.Status) bool {
	env := s.msg.Envelope()
	status.Text = strings.TrimPrefix(status.Text, "Error: ")
	if s.p.Refuse == nil || len(env.Recipients) == 0 {
		s.p.aside(s.d.Name, "message refused: "+status.String())
		return true
	}
	env.Size = s.msg.text.size
	for _, r := range env.Recipients {
		s.svc.deps.Log.Emit(&event.Delivery{
			ID: env.ID, To: r.Address, OrigTo: r.Original, DSN: status.Enhanced, Outcome: mail.Bounced, Reason: status.Text,
			Times: event.Times{Arrived: env.Arrived, Done: s.svc.deps.Now()},
		})
	}
	content := &dropContent{dir: s.p.dir, name: s.d.Name, size: env.Size, head: s.msg.head.copy}
	// The lock goes with the file, and the report opens it again.
	if err := s.p.Refuse(ctx, &Refusal{Envelope: env, Content: content, Status: status}); err != nil {
		s.svc.deps.Log.Warnf("%s: bounce message failure: %v", env.ID, err)
		return false
	}
	s.svc.deps.Log.Emit(event.Removed{ID: env.ID, Note: "discarded"})
	return true
}

// dropContent is the content of a file in the maildrop, with the header that
// cleanup made of it.
type dropContent struct {
	dir, name string
	head      []byte
	size      int64
}

// Size implements mail.Content.
func (c *dropContent) Size() int64 { return c.size }

// Bytes implements mail.Content.
func (*dropContent) Bytes() []byte { return nil }

// Open implements mail.Content.
func (c *dropContent) Open() (io.ReadCloser, error) {
	f, err := os.Open(maildrop.Path(c.dir, c.name))
	if err != nil {
		return nil, err
	}
	d := maildrop.NewDecoder(f)
	if _, err := d.Envelope(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	body := bufio.NewReaderSize(d.ContentReader(), 32<<10)
	between := skipHeader(body)
	return &dropReader{io.MultiReader(bytes.NewReader(c.head), strings.NewReader(between), body), f}, nil
}

// skipHeader reads over a header and returns what must stand between a header and
// what follows.
func skipHeader(r *bufio.Reader) (between string) {
	for first := true; ; first = false {
		line, _ := r.Peek(2048)
		switch {
		case len(line) == 0 || bytes.HasPrefix(line, []byte("\r\n")):
			return ""
		case isBlank(line[0]) && !first, mail.FieldName(line) > 0:
			for {
				if _, err := r.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
					break
				}
			}
		default:
			return "\r\n"
		}
	}
}

// dropReader closes the file with the stream.
type dropReader struct {
	io.Reader
	io.Closer
}
