package agent

import (
	"context"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

// mailbox delivers to a user's mailbox, or to what serves in its place; false
// when there is no such user.
func (t *task) mailbox(ctx context.Context, f frame) bool {
	s := &t.a.set
	if t.passed(ctx, f, t.a.mailboxTransports, s.MailboxTransport) {
		return true
	}
	u, err := t.a.passwd.lookup(f.base)
	if err != nil {
		t.warnf("error looking up passwd info for %s: %v", f.base, err)
		t.step(&f, mail.Result{Enhanced: "4.0.0", Text: "user lookup error"})
		return true
	}
	if u == nil {
		return false
	}
	if !t.first("mailbox", f.local) {
		return true
	}
	f.user = u
	command, err := t.found(ctx, t.a.commandMaps, f.base)
	if err != nil {
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "table lookup failure"})
		return true
	}
	if command == "" {
		command = s.MailboxCommand
	}
	if command != "" {
		t.command(ctx, f, command)
		return true
	}
	box := &mailbox{uid: u.uid, gid: u.gid, limit: s.MailboxSizeLimit, locks: t.a.locks, user: u.name}
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
	t.deliver(ctx, f, box)
	return true
}

// passed hands the recipient to another transport when a table or a parameter
// names one.
func (t *task) passed(ctx context.Context, f frame, maps *table.Maps, transport string) bool {
	hit, err := maps.Lookup(ctx, f.base)
	if err != nil {
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "table lookup failure"})
		return true
	}
	if hit.Found {
		transport = hit.Value
	}
	if transport == "" {
		return false
	}
	if t.first("mailbox", f.local) {
		t.pass(ctx, f, transport)
	}
	return true
}

// pass hands the recipient to another transport.
func (t *task) pass(ctx context.Context, f frame, transport string) {
	out, agent, fault := t.d.PassOn(ctx, t.a.deps.Pass, transport, []mail.Recipient{f.rcpt})
	if fault != nil {
		t.step(&f, *fault)
		return
	}
	res := out[0]
	if res.Sync != nil {
		t.sync = append(t.sync, res.Sync)
		res.Sync = nil
	}
	if len(res.Steps) > 0 {
		t.steps = append(t.steps, res.Steps...)
		return
	}
	t.steps = append(t.steps, mail.Step{Recipient: f.rcpt, Agent: agent, Result: res})
}

// unknown serves a name that is neither alias nor user.
func (t *task) unknown(ctx context.Context, f frame) {
	s := &t.a.set
	if t.passed(ctx, f, t.a.fallbackTransports, s.FallbackTransport) {
		return
	}
	if s.LuserRelay != "" && t.first("luser_relay", f.local) {
		to, err := postconf.ExpandOnce(s.LuserRelay, t.macros(&f, nil, "").lookup)
		if err != nil {
			t.warnf("luser_relay: %v", err)
			t.step(&f, mail.Result{Enhanced: "4.3.5", Text: configError})
			return
		}
		f.extension = ""
		t.address(ctx, to, f)
		return
	}
	switch f.base {
	case "mailer-daemon", "postmaster":
		t.warnf("required alias not found: %s", f.base)
		t.step(&f, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "discarded"})
	default:
		t.step(&f, mail.Result{Outcome: mail.Bounced, Enhanced: "5.1.1", Text: "unknown user: \"" + f.local + "\""})
	}
}

// deliver delivers to a user's mailbox.
func (t *task) deliver(ctx context.Context, f frame, box *mailbox) {
	if t.toBox(&f, box) {
		return
	}
	box.headers = prefix(f.sender, f.rcpt.Original, f.delivered)
	t.step(&f, t.write(ctx, &f, box))
}

// write writes one copy.
func (t *task) write(ctx context.Context, f *frame, box *mailbox) mail.Result {
	box.sender = f.sender
	return t.a.common.write(ctx, t.a.deps, t.d, &f.rcpt, box)
}

// toBox answers a probe.
func (t *task) toBox(f *frame, box *mailbox) bool {
	if t.d.Flags&Verify == 0 {
		return false
	}
	what := "mailbox"
	switch {
	case box.isMaildir():
		what = "maildir"
	case box.named:
		what = "file: " + box.path
	}
	t.step(f, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "delivers to " + what})
	return true
}

// file delivers to a file that an alias or a user named.
func (t *task) file(ctx context.Context, f frame, path string) {
	u := t.a.rights(f.user)
	if !t.first("file", u.id(), path) {
		return
	}
	box := &mailbox{path: path, uid: u.uid, gid: u.gid, limit: t.a.set.MailboxSizeLimit, locks: t.a.locks, named: true}
	if t.toBox(&f, box) {
		return
	}
	delivered := mail.Address("")
	if t.a.prepends("file") {
		delivered = f.delivered
	}
	box.headers = prefix(f.sender, f.rcpt.Original, delivered)
	t.step(&f, t.write(ctx, &f, box))
}
