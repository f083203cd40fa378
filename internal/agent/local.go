package agent

import (
	"context"
	"strconv"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

// local is local(8): aliases, .forward files, and the mailboxes of users of this
// machine. It acts for a user through privdeliver; where that is impossible it
// delivers for the user it runs as only.
type local struct {
	deps      *Deps
	common    MailboxSettings
	set       LocalSettings
	locks     []string
	passwd    *passwd
	propagate source
	commands  source
	files     source
	localMaps
}

// localMaps are the tables of local(8).
type localMaps struct {
	aliases, mailboxTransports, fallbackTransports, commandMaps *table.Maps
}

func newLocal(v *postconf.View, deps *Deps) (Agent, []postconf.Problem) {
	a := &local{deps: deps, passwd: &passwd{path: "/etc/passwd"}}
	problems := append(v.Decode(&a.common), v.Decode(&a.set)...)
	fatal := func(err error) {
		if err != nil {
			problems = append(problems, postconf.Problem{Fatal: true, Text: err.Error()})
		}
	}
	var err error
	a.locks, err = lockStyles("mailbox_delivery_lock", a.set.MailboxLock)
	fatal(err)
	a.aliases, err = deps.Tables.TrustedMaps("alias_maps", a.set.AliasMaps)
	fatal(err)
	a.commandMaps, err = deps.Tables.TrustedMaps("mailbox_command_maps", a.set.MailboxCommandMaps)
	fatal(err)
	a.mailboxTransports, err = deps.Tables.Maps("mailbox_transport_maps", a.set.MailboxTransportMaps)
	fatal(err)
	a.fallbackTransports, err = deps.Tables.Maps("fallback_transport_maps", a.set.FallbackTransportMaps)
	fatal(err)
	a.commands, err = sources("allow_mail_to_commands", a.set.AllowMailCommands)
	fatal(err)
	a.files, err = sources("allow_mail_to_files", a.set.AllowMailFiles)
	fatal(err)
	for _, word := range a.set.Propagate {
		a.propagate |= sourceNames[word]
	}
	return a, problems
}

// Deliver implements Agent.
func (a *local) Deliver(ctx context.Context, d *Delivery) []mail.Result {
	past, err := deliveredTo(d.Content)
	return each(d, func(_ int, r *mail.Recipient) mail.Result {
		if err != nil {
			return mail.Result{Enhanced: "4.3.0", Text: "cannot read the message: " + err.Error(), Relay: d.service()}
		}
		t := &task{a: a, d: d, top: *r, past: past, seen: map[string]bool{}}
		t.recipient(ctx, frame{rcpt: *r, sender: d.Envelope.Sender, envelope: d.Envelope, delivered: r.Address})
		return t.result(ctx)
	})
}

// service is the name of the service that delivers, as the log tells it.
func (d *Delivery) service() string {
	if d.Route.Transport == "" {
		return "local"
	}
	return string(d.Route.Transport)
}

// task is the delivery to one recipient with everything that follows from it.
type task struct {
	a *local
	d *Delivery
	// top is the recipient of the message; reported is what it was when an alias
	// was expanded in place of a delivery whose success somebody wants to hear of.
	top      mail.Recipient
	reported *mail.Step
	// past are the addresses that the message was delivered to before.
	past map[string]bool
	// seen holds what was delivered or expanded already, so that a name that
	// comes twice is served once and a circle ends.
	seen map[string]bool
	// steps are the ends reached so far; forwards are the messages that go on
	// when all of them are.
	steps    []mail.Step
	forwards []*Forward
	sync     []func() error
}

// first tells whether something is done for the first time in this delivery.
func (t *task) first(what string, parts ...string) bool {
	key := what + " " + strings.ToLower(strings.Join(parts, " "))
	if t.seen[key] {
		return false
	}
	if limit := t.a.set.DuplicateLimit; limit == 0 || len(t.seen) < max(limit, maxSeen) {
		t.seen[key] = true
	}
	return true
}

// maxSeen is how much is remembered whatever duplicate_filter_limit says: the
// end of circles depends on it.
const maxSeen = 10000

// step records an end.
func (t *task) step(f *frame, res mail.Result) {
	res.Relay = t.d.service()
	if res.DiagnosticType == "" {
		res.DiagnosticType = "X-Postfix"
	}
	if res.Sync != nil {
		t.sync = append(t.sync, res.Sync)
		res.Sync = nil
	}
	t.steps = append(t.steps, mail.Step{Recipient: f.rcpt, Result: verified(t.d, res)})
}

// result sums up the steps. A new message is posted when nothing else failed, so
// that a retry does not post it again.
func (t *task) result(ctx context.Context) mail.Result {
	if !t.deferred() {
		t.post(ctx)
	}
	if t.reported != nil && !t.deferred() {
		t.steps = append(t.steps, *t.reported)
	}
	res := mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Relay: t.d.service(), Steps: []mail.Step{}}
	if len(t.steps) > 0 {
		res = worstOf(t.steps)
	}
	alone := len(t.steps) == 1 && t.steps[0].Recipient == t.top && t.steps[0].Agent == ""
	if !alone {
		res.Steps = append([]mail.Step{}, t.steps...)
	}
	if len(t.sync) > 0 {
		res.Sync = func() error {
			for _, f := range t.sync {
				if err := f(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return res
}

// worstOf is the answer that counts of several.
func worstOf(steps []mail.Step) mail.Result {
	worst := steps[0].Result
	for _, s := range steps[1:] {
		if severity(s.Result.Outcome) > severity(worst.Outcome) {
			worst = s.Result
		}
	}
	return worst
}

// severity orders outcomes: what must be tried again comes first.
func severity(o mail.Outcome) int {
	switch o {
	case mail.Deferred:
		return 2
	case mail.Bounced, mail.Undeliverable:
		return 1
	}
	return 0
}

// deferred tells whether an end must be tried again.
func (t *task) deferred() bool {
	for _, s := range t.steps {
		if s.Result.Outcome == mail.Deferred {
			return true
		}
	}
	return false
}

// forward adds a recipient to the new message of its sender.
func (t *task) forward(f *frame) {
	delivered := mail.Address("")
	if t.a.prepends("forward") {
		delivered = f.delivered.Fold()
	}
	for _, m := range t.forwards {
		if m.Sender == f.sender && m.Envelope == f.envelope && m.Delivered == delivered {
			m.Recipients = append(m.Recipients, f.rcpt)
			return
		}
	}
	m := &Forward{Envelope: f.envelope, Content: t.d.Content, Sender: f.sender, Recipients: []mail.Recipient{f.rcpt}, Delivered: delivered}
	t.forwards = append(t.forwards, m)
}

// post posts the new messages.
func (t *task) post(ctx context.Context) {
	top := &frame{rcpt: t.top}
	for _, m := range t.forwards {
		id, err := t.a.deps.Submit(ctx, m)
		if err != nil {
			t.d.Logger.Warnf("%s: forward: %v", t.d.Envelope.ID, err)
			t.step(top, mail.Result{Enhanced: "4.3.0", Text: "unable to forward message"})
			continue
		}
		t.step(top, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "forwarded as " + string(id), Relayed: true})
	}
}

// warnf writes a warning to the log.
func (t *task) warnf(format string, args ...any) { t.d.Logger.Warnf(format, args...) }

// defaultUser is whose rights aliases of the system have: default_privs.
func (a *local) defaultUser() *account {
	u, err := a.passwd.lookup(a.set.DefaultPrivs)
	if err != nil || u == nil || u.uid == 0 {
		return &account{name: "nobody", uid: 65534, gid: 65534, home: "/"}
	}
	return u
}

// rights are those with which a name is served: of the user or of the owner of
// the alias file, never of root.
func (a *local) rights(u *account) *account {
	if u == nil || u.uid == 0 {
		return a.defaultUser()
	}
	return u
}

// prepends tells whether a way of delivery gets a Delivered-To header.
func (a *local) prepends(way string) bool {
	for _, w := range a.set.PrependDelivered {
		if strings.EqualFold(w, way) {
			return true
		}
	}
	return false
}

// id is a user id as part of a key.
func (u *account) id() string { return strconv.Itoa(u.uid) }
