package agent

import (
	"context"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

// virtual is virtual(8): mailboxes by table, for any address.
type virtual struct {
	deps   *Deps
	common MailboxSettings
	set    VirtualSettings
	locks  []string
	boxes  *table.Maps
	uids   *table.Maps
	gids   *table.Maps
}

// configError is what a sender reads when main.cf is wrong.
const configError = "mail system configuration error"

func newVirtual(v *postconf.View, deps *Deps) (Agent, []postconf.Problem) {
	a := &virtual{deps: deps}
	problems := append(v.Decode(&a.common), v.Decode(&a.set)...)
	fatal := func(err error) {
		if err != nil {
			problems = append(problems, postconf.Problem{Fatal: true, Text: err.Error()})
		}
	}
	var err error
	a.locks, err = lockStyles("virtual_mailbox_lock", a.set.MailboxLock)
	fatal(err)
	a.boxes, err = deps.Tables.TrustedMaps("virtual_mailbox_maps", a.set.MailboxMaps)
	fatal(err)
	a.uids, err = deps.Tables.TrustedMaps("virtual_uid_maps", a.set.UIDMaps)
	fatal(err)
	a.gids, err = deps.Tables.TrustedMaps("virtual_gid_maps", a.set.GIDMaps)
	fatal(err)
	return a, problems
}

// Deliver implements Agent.
func (a *virtual) Deliver(ctx context.Context, d *Delivery) []mail.Result {
	return each(d, func(_ int, r *mail.Recipient) mail.Result {
		res := a.deliver(ctx, d, r)
		res.Relay = "virtual"
		return res
	})
}

func (a *virtual) deliver(ctx context.Context, d *Delivery, r *mail.Recipient) mail.Result {
	user := r.Address.Fold()
	hit, err := a.boxes.LookupAddress(ctx, user, a.deps.Search)
	if err != nil {
		d.Logger.Warnf("table virtual_mailbox_maps: lookup %s: %v", user, err)
		return mail.Result{Enhanced: "4.3.5", Text: configError}
	}
	if !hit.Found {
		res := mail.Result{Outcome: mail.Bounced, Enhanced: "5.1.1", Text: "unknown user: \"" + string(user) + "\""}
		return verified(d, res)
	}
	box, why := a.mailbox(ctx, user, hit.Value)
	if why != "" {
		d.Logger.Warnf("%s", why)
		return mail.Result{Enhanced: "4.3.5", Text: configError}
	}
	if d.Flags&Verify != 0 {
		what := "mailbox"
		if box.isMaildir() {
			what = "maildir"
		}
		return mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "delivers to " + what}
	}
	box.sender = d.Envelope.Sender
	box.headers = prefix(d.Envelope.Sender, r.Original, user)
	return a.common.write(ctx, a.deps, d, r, box)
}

// mailbox turns a table's answer into a place; why says what is wrong with it.
func (a *virtual) mailbox(ctx context.Context, user mail.Address, value string) (box *mailbox, why string) {
	if value == "" || strings.ContainsRune(value, 0) || hasDotDot(value) {
		return nil, fmt.Sprintf("recipient %s: bad mailbox path %q in virtual_mailbox_maps", user, value)
	}
	box = &mailbox{path: value, virtual: true, limit: a.set.MailboxLimit, locks: a.locks}
	if base := a.set.MailboxBase; base != "" {
		box.path = strings.TrimRight(base, "/") + "/" + strings.TrimLeft(value, "/")
	}
	if !path.IsAbs(box.path) {
		return nil, fmt.Sprintf("recipient %s: mailbox path %q is not absolute", user, box.path)
	}
	if box.uid, why = a.number(ctx, a.uids, "uid", user, a.set.MinimumUID); why != "" {
		return nil, why
	}
	if box.gid, why = a.number(ctx, a.gids, "gid", user, 1); why != "" {
		return nil, why
	}
	return box, ""
}

// number looks up a uid or gid. Without tables the owner of this process is meant
// when it cannot act for anybody else: the embedded default needs no maps.
func (a *virtual) number(ctx context.Context, maps *table.Maps, what string, user mail.Address, least int) (n int, why string) {
	if maps.Empty() && a.deps.Users.Spawn == nil {
		if what == "uid" {
			return os.Geteuid(), ""
		}
		return os.Getegid(), ""
	}
	hit, err := maps.LookupAddress(ctx, user, a.deps.Search)
	if err != nil {
		return 0, fmt.Sprintf("table virtual_%s_maps: lookup %s: %v", what, user, err)
	}
	if !hit.Found {
		return 0, fmt.Sprintf("recipient %s: %s not found in virtual_%s_maps", user, what, what)
	}
	n, err = strconv.Atoi(strings.TrimSpace(hit.Value))
	if err != nil || n < least {
		if os.Geteuid() != 0 && n == os.Geteuid() && err == nil {
			return n, "" // our own uid, whatever the minimum
		}
		return 0, fmt.Sprintf("recipient %s: bad %s %s in virtual_%s_maps", user, what, hit.Value, what)
	}
	return n, ""
}

// hasDotDot tells whether a path leaves its base.
func hasDotDot(p string) bool {
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// verified turns the answer to a probe into its own words.
func verified(d *Delivery, res mail.Result) mail.Result {
	if d.Flags&Verify == 0 {
		return res
	}
	switch res.Outcome {
	case mail.Sent:
		res.Outcome = mail.Deliverable
	case mail.Bounced:
		res.Outcome = mail.Undeliverable
	}
	return res
}
