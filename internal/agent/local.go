package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

// maxDepth bounds nested aliases, :include: files and .forward files.
const maxDepth = 100

// local is local(8): aliases, .forward files, and the mailboxes of users of this
// machine. It acts for a user through privdeliver; where that is impossible it
// delivers for the user it runs as only.
type local struct {
	deps    *Deps
	common  MailboxSettings
	set     LocalSettings
	locks   []string
	aliases *table.Maps
	passwd  *passwd
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
	return a, problems
}

// task is the delivery to one recipient with everything that follows from it.
type task struct {
	a *local
	d *Delivery
	r *mail.Recipient
	// seen holds what was delivered or expanded already, so that a name that
	// comes twice is served once and a circle ends.
	seen map[string]bool
	// steps are the ends reached so far; forwards are addresses for one new
	// message, sender its sender.
	steps    []mail.Step
	forwards []mail.Recipient
	sender   mail.Address
	sync     []func() error
}

// owner is whose rights a name in an alias or file has.
type owner struct {
	user  *account
	depth int
	// source is alias, forward or include, for allow_mail_to_commands.
	source string
	// plain keeps a user name from being looked up as an alias again.
	plain bool
}

// Deliver implements Agent.
func (a *local) Deliver(ctx context.Context, d *Delivery) []mail.Result {
	return each(d, func(_ int, r *mail.Recipient) mail.Result {
		t := &task{a: a, d: d, r: r, seen: map[string]bool{}, sender: d.Envelope.Sender}
		loop, err := hasDelivered(d.Content, r.Address)
		if err != nil {
			return mail.Result{Enhanced: "4.3.0", Text: "cannot read the message: " + err.Error(), Relay: "local"}
		}
		if loop {
			return mail.Result{Outcome: mail.Bounced, Enhanced: "5.4.6", Text: "mail forwarding loop for " + string(r.Address), Relay: "local"}
		}
		t.name(ctx, r.Address.Local(), r.Address, owner{source: "alias"})
		return t.result(ctx)
	})
}

// result sums up the steps. The new message for forwarded addresses is posted
// here, once; when it cannot be, all is deferred.
func (t *task) result(ctx context.Context) mail.Result {
	if len(t.forwards) > 0 {
		t.forward(ctx)
	}
	if len(t.steps) == 0 {
		t.step(t.r.Address, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "discarded"})
	}
	t.retryElsewhere(ctx)
	worst := t.steps[0]
	for _, s := range t.steps[1:] {
		if severity(s.Outcome) > severity(worst.Outcome) {
			worst = s
		}
	}
	res := mail.Result{Outcome: worst.Outcome, Enhanced: worst.Enhanced, Text: worst.Text, Relay: "local", DiagnosticType: "X-Postfix"}
	if len(t.steps) > 1 || t.steps[0].To != t.r.Address {
		res.Steps = t.steps
		res.Expanded = true
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
	return verified(t.d, res)
}

func severity(o mail.Outcome) int {
	switch o {
	case mail.Deferred:
		return 2
	case mail.Bounced:
		return 1
	}
	return 0
}

// retryElsewhere gives the failed ends of an alias a message of their own when
// other ends succeeded, so that a retry does not deliver to those again.
func (t *task) retryElsewhere(ctx context.Context) {
	if t.d.Flags&Verify != 0 || len(t.steps) < 2 {
		return
	}
	var again []mail.Recipient
	good := 0
	for _, s := range t.steps {
		switch {
		case s.Outcome == mail.Deferred && strings.Contains(string(s.To), "@"):
			again = append(again, mail.Recipient{Address: s.To, Original: t.r.Original, ORCPT: t.r.ORCPT, Notify: t.r.Notify})
		case s.Outcome == mail.Sent:
			good++
		}
	}
	if len(again) == 0 || good == 0 {
		return
	}
	id, err := t.a.deps.Submit(ctx, &Forward{Envelope: t.d.Envelope, Content: t.d.Content, Sender: t.sender, Recipients: again})
	if err != nil {
		return // all stay deferred; the good ones will come twice
	}
	for i := range t.steps {
		if s := &t.steps[i]; s.Outcome == mail.Deferred && strings.Contains(string(s.To), "@") {
			s.Outcome, s.Enhanced, s.Text = mail.Sent, "2.0.0", "forwarded as "+string(id)
		}
	}
}

func (t *task) step(to mail.Address, res mail.Result) {
	t.steps = append(t.steps, mail.Step{To: to, Outcome: res.Outcome, Enhanced: res.Enhanced, Text: res.Text, Relay: "local"})
	if res.Sync != nil {
		t.sync = append(t.sync, res.Sync)
	}
}

// forward posts the new message for all addresses that are not ours.
func (t *task) forward(ctx context.Context) {
	if t.d.Flags&Verify != 0 {
		for _, r := range t.forwards {
			t.step(r.Address, mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "aliased to " + string(r.Address)})
		}
		return
	}
	f := &Forward{Envelope: t.d.Envelope, Content: t.d.Content, Sender: t.sender, Recipients: t.forwards}
	if slices.Contains(t.a.set.PrependDelivered, "forward") {
		f.Delivered = t.r.Address.Fold()
	}
	id, err := t.a.deps.Submit(ctx, f)
	if err != nil {
		t.d.Logger.Warnf("%s: forward: %v", t.d.Envelope.ID, err)
		t.step(t.r.Address, mail.Result{Enhanced: "4.3.0", Text: "unable to forward message"})
		return
	}
	t.step(t.r.Address, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "forwarded as " + string(id)})
}

// name delivers to a local part: alias, user, or what serves unknown names.
func (t *task) name(ctx context.Context, name string, addr mail.Address, from owner) {
	name = strings.ToLower(name)
	if from.depth > maxDepth {
		t.d.Logger.Warnf("possible alias database loop for %s", name)
		t.step(addr, mail.Result{Outcome: mail.Bounced, Enhanced: "5.4.6", Text: "possible alias database loop for " + name})
		return
	}
	if t.seen["name "+name] {
		return
	}
	t.seen["name "+name] = true
	base, extension := table.SplitExtension(name, t.a.set.Delimiter)
	if !from.plain {
		done := t.alias(ctx, name, base, addr, from)
		if done {
			return
		}
	}
	user, err := t.a.passwd.lookup(base)
	if err == nil && user == nil && base != name {
		user, err = t.a.passwd.lookup(name)
	}
	if err != nil {
		t.step(addr, mail.Result{Enhanced: "4.3.0", Text: "cannot find user: " + err.Error()})
		return
	}
	if user == nil {
		t.unknown(ctx, name, addr, from)
		return
	}
	if !from.plain && t.dotForward(ctx, user, extension, addr, from) {
		return
	}
	t.user(ctx, user, extension, addr)
}

// alias expands a name of alias_maps; false when it is none.
func (t *task) alias(ctx context.Context, name, base string, addr mail.Address, from owner) bool {
	for _, key := range []string{name, base} {
		hit, err := t.a.aliases.Lookup(ctx, key)
		if err != nil {
			t.d.Logger.Warnf("alias_maps: lookup %s: %v", key, err)
			t.step(addr, mail.Result{Enhanced: "4.3.0", Text: "alias database unavailable"})
			return true
		}
		if hit.Found && t.d.Flags&Shallow != 0 {
			t.step(addr, mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "aliased to " + hit.Value})
			return true
		}
		if hit.Found {
			t.aliasOwner(ctx, key)
			next := owner{depth: from.depth + 1, source: "alias", user: t.a.defaultUser()}
			t.expand(ctx, hit.Value, addr, next)
			return true
		}
		if base == name {
			break
		}
	}
	return false
}

// aliasOwner makes owner-NAME the sender of what an alias sends on.
func (t *task) aliasOwner(ctx context.Context, name string) {
	if !t.a.set.OwnerRequest && !t.a.set.ExpandOwner {
		return
	}
	if strings.HasPrefix(name, "owner-") || strings.HasSuffix(name, "-request") || t.d.Envelope.Sender == "" {
		return
	}
	owner := "owner-" + name
	hit, err := t.a.aliases.Lookup(ctx, owner)
	if err != nil || !hit.Found {
		return
	}
	if t.a.set.ExpandOwner && !strings.ContainsAny(hit.Value, ",|/:\"") {
		owner = strings.TrimSpace(hit.Value)
	}
	t.sender = t.a.deps.Rewrite(owner)
}

// unknown serves a name that is neither alias nor user.
func (t *task) unknown(ctx context.Context, name string, addr mail.Address, from owner) {
	s := &t.a.set
	switch {
	case s.FallbackTransport != "":
		t.handOver(ctx, s.FallbackTransport, addr)
	case s.LuserRelay != "":
		base, ext := table.SplitExtension(name, s.Delimiter)
		to, err := postconf.Expand(s.LuserRelay, func(macro string) (string, bool) {
			v, ok := map[string]string{
				"user": base, "local": name, "extension": ext, "recipient": string(addr), "domain": addr.Domain(),
				"recipient_delimiter": s.Delimiter,
			}[macro]
			return v, ok
		})
		if err != nil {
			t.step(addr, mail.Result{Enhanced: "4.3.5", Text: configError})
			return
		}
		t.expand(ctx, to, addr, owner{depth: from.depth + 1, source: "alias", user: t.a.defaultUser()})
	case name == "mailer-daemon" || name == "postmaster":
		t.d.Logger.Warnf("%s: address %s has no alias and no mailbox; the message is discarded", t.d.Envelope.ID, name)
		t.step(addr, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "discarded"})
	default:
		t.step(addr, mail.Result{Outcome: mail.Bounced, Enhanced: "5.1.1", Text: "unknown user: \"" + name + "\""})
	}
}

// user delivers to a mailbox, or to what mailbox_command says.
func (t *task) user(ctx context.Context, u *account, extension string, addr mail.Address) {
	s := &t.a.set
	if s.MailboxTransport != "" {
		t.handOver(ctx, s.MailboxTransport, addr)
		return
	}
	if s.MailboxCommand != "" {
		t.command(ctx, s.MailboxCommand, addr, u, true)
		return
	}
	box := &mailbox{uid: u.uid, gid: u.gid, limit: s.MailboxSizeLimit, locks: t.a.locks}
	switch {
	case s.HomeMailbox != "":
		box.path = u.home + "/" + s.HomeMailbox
	case strings.HasSuffix(s.MailSpoolDirectory, "/"):
		box.path = s.MailSpoolDirectory + u.name + "/"
	default:
		box.path = s.MailSpoolDirectory + "/" + u.name
		if t.a.deps.Users.Spawn != nil {
			box.spool(s.MailSpoolDirectory)
		}
	}
	t.file(ctx, box, addr, false)
}

// handOver gives the message to another transport for one recipient, as a message
// of its own.
func (t *task) handOver(ctx context.Context, transport string, addr mail.Address) {
	if t.d.Flags&Verify != 0 {
		t.step(addr, mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "delivers by " + transport})
		return
	}
	id, err := t.a.deps.Submit(ctx, &Forward{
		Envelope: t.d.Envelope, Content: t.d.Content, Sender: t.sender, Transport: transport,
		Recipients: []mail.Recipient{{Address: addr, Original: t.r.Original, ORCPT: t.r.ORCPT, Notify: t.r.Notify}},
	})
	if err != nil {
		t.d.Logger.Warnf("%s: hand over to %s: %v", t.d.Envelope.ID, transport, err)
		t.step(addr, mail.Result{Enhanced: "4.3.0", Text: "unable to forward message"})
		return
	}
	t.step(addr, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "forwarded as " + string(id)})
}

// file delivers to a mailbox file or Maildir.
func (t *task) file(ctx context.Context, box *mailbox, addr mail.Address, named bool) {
	if t.d.Flags&Verify != 0 {
		what := "mailbox"
		if box.isMaildir() {
			what = "maildir"
		}
		t.step(addr, mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "delivers to " + what})
		return
	}
	delivered := mail.Address("")
	if !named || slices.Contains(t.a.set.PrependDelivered, "file") {
		delivered = t.r.Address.Fold()
	}
	box.headers = prefix(t.sender, t.r.Original, delivered)
	res := t.a.common.write(ctx, t.a.deps, t.d, &mail.Recipient{Address: addr, Original: t.r.Original}, box)
	if named && res.Outcome == mail.Sent && !box.isMaildir() {
		res.Text = "delivered to file: " + box.path
	}
	t.step(addr, res)
}

// defaultUser is whose rights aliases of the system have: default_privs.
func (a *local) defaultUser() *account {
	u, err := a.passwd.lookup(a.set.DefaultPrivs)
	if err != nil || u == nil || u.uid == 0 {
		return &account{name: "nobody", uid: 65534, gid: 65534, home: "/"}
	}
	return u
}

// describe names a step for warnings.
func describe(what string, u *account) string { return fmt.Sprintf("%s as %s", what, u.name) }
