package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"postroad/internal/mail"
	"postroad/internal/privdeliver"
)

// maxLocks bounds mailbox_delivery_lock.
const maxLocks = 5

// mailbox is where one recipient's copy goes, and whose it is.
type mailbox struct {
	path     string
	uid, gid int
	// owner and group are whose the file is when it is written with root's rights,
	// else 0.
	owner, group int
	limit        int64
	locks        []string
	// user is the name of the owner; named says that an alias or a user named the
	// file.
	user  string
	named bool
	// virtual says that the mailbox is virtual(8)'s, who tries again where local(8)
	// gives up.
	virtual bool
	// sender is for the line that begins a message in a mailbox file.
	sender mail.Address
	// headers are the lines in front: Return-Path, X-Original-To, Delivered-To.
	headers string
}

// spool sets with whose rights a mailbox file in the spool directory is written:
// the user's when everybody may write to the directory; the user's with the
// group of the directory when that may; else root's, and the file becomes the
// user's.
func (b *mailbox) spool(dir string) {
	if b.uid == 0 {
		return
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o002 != 0 {
		return
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && info.Mode().Perm()&0o020 != 0 {
		b.gid = int(st.Gid)
		return
	}
	b.owner, b.group, b.uid, b.gid = b.uid, b.gid, 0, 0
}

// isMaildir tells a Maildir from a mailbox file, by the slash at its end.
func (b *mailbox) isMaildir() bool { return strings.HasSuffix(b.path, "/") }

// prefix builds the lines that go before a message in a mailbox.
func prefix(sender mail.Address, original, delivered mail.Address) string {
	out := "Return-Path: <" + oneLine(sender.External()) + ">\n"
	if original != "" {
		out += "X-Original-To: " + oneLine(original.External()) + "\n"
	}
	if delivered != "" {
		out += "Delivered-To: " + oneLine(delivered.External()) + "\n"
	}
	return out
}

// oneLine keeps an address from being more than one header line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == 0 {
			return '?'
		}
		return r
	}, s)
}

// fromLine is the line that begins a message in a mailbox file.
func fromLine(sender mail.Address, now time.Time) string {
	who := sender.External()
	if who == "" {
		who = "MAILER-DAEMON"
	}
	return "From " + oneLine(who) + "  " + now.Format(time.ANSIC)
}

// fileName is the Maildir name of a recipient's copy. It depends on the message
// and the recipient alone, so that a repeated delivery replaces itself.
func fileName(env *mail.Envelope, r *mail.Recipient, host string) string {
	return fmt.Sprintf("%d.M%dQ%sR%08x.%s", env.Arrived.Unix(), env.Arrived.Nanosecond()/1000, env.ID,
		hash(string(r.Address)+"\x00"+string(r.Original)), strings.NewReplacer("/", "\\057", ":", "\\072").Replace(host))
}

// hash is FNV-1a; it tells the recipients of one message apart.
func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// write delivers one copy.
func (s *MailboxSettings) write(ctx context.Context, deps *Deps, d *Delivery, r *mail.Recipient, b *mailbox) mail.Result {
	req := &privdeliver.Request{
		Kind: privdeliver.Mbox, Path: b.path, Prefix: []byte(b.headers), Size: d.Content.Size(), Limit: b.limit,
		Locks: b.locks, Attempts: s.LockAttempts, Delay: s.LockDelay, Stale: s.StaleLock,
		From: fromLine(b.sender, time.Now()), Named: b.named, Owner: b.owner, Group: b.group,
	}
	what := "mailbox"
	if b.isMaildir() {
		what = "maildir"
		req.Kind, req.Path = privdeliver.Maildir, strings.TrimRight(b.path, "/")
		req.Name = fileName(d.Envelope, r, s.Myhostname)
		req.Again = d.Again || d.Attempt > 1
	}
	users := deps.Users
	if !users.Can(b.uid) {
		return mail.Result{Enhanced: "4.3.5", Text: fmt.Sprintf("cannot deliver to %s %s: %v", what, b.path, privdeliver.ErrRights)}
	}
	res, err := users.Do(ctx, b.uid, b.gid, req, d.Content.Open)
	if err != nil {
		return mail.Result{Enhanced: "4.3.0", Text: fmt.Sprintf("cannot deliver to %s %s: %v", what, b.path, err)}
	}
	if res.Warning != "" {
		d.Logger.Warnf("%s", res.Warning)
	}
	if b.isMaildir() && res.Class == privdeliver.Permission {
		d.Logger.Warnf("maildir access problem for UID/GID=%d/%d: %s", b.uid, b.gid, res.Text)
		d.Logger.Warnf("perhaps you need to create the maildirs in advance")
	}
	out := b.result(res)
	if res.Unsynced {
		out.Sync = syncer(deps, b, req, res.Device)
	}
	return out
}

// syncer makes a Maildir file durable later, together with others.
func syncer(deps *Deps, b *mailbox, req *privdeliver.Request, device uint64) func() error {
	alone := func() error {
		r := &privdeliver.Request{Kind: privdeliver.Sync, Path: req.Path, Name: req.Name}
		res, err := deps.Users.Do(context.Background(), b.uid, b.gid, r, nil)
		if err == nil && res.Class != privdeliver.OK {
			err = errors.New(res.Text)
		}
		return err
	}
	return func() error { return deps.Syncs.Sync(device, req.Path, alone) }
}

// result turns what came of a delivery into an answer.
func (b *mailbox) result(res privdeliver.Result) mail.Result {
	if res.Class == privdeliver.OK {
		text := "delivered to mailbox"
		switch {
		case b.isMaildir():
			text = "delivered to maildir"
		case b.named:
			text = "delivered to file: " + b.path
		}
		return mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: text}
	}
	out := mail.Result{Enhanced: res.Code, Text: b.failure(res.Text)}
	if out.Enhanced == "" || out.Enhanced == "5.2.0" && b.virtual {
		out.Enhanced = "4.2.0"
	}
	if out.Enhanced[0] == '5' {
		out.Outcome = mail.Bounced
	}
	return out
}

// failure says what could not be done.
func (b *mailbox) failure(why string) string {
	switch {
	case b.isMaildir():
		return "maildir delivery failed: " + why
	case b.named:
		return fmt.Sprintf("cannot append message to file %s: %s", b.path, why)
	case b.virtual:
		return fmt.Sprintf("delivery failed to mailbox %s: %s", b.path, why)
	}
	return fmt.Sprintf("cannot update mailbox %s for user %s. %s", b.path, b.user, why)
}

// lockStyles checks mailbox_delivery_lock.
func lockStyles(param string, styles []string) ([]string, error) {
	if len(styles) > maxLocks {
		return nil, fmt.Errorf("%s: too many lock styles", param)
	}
	for _, style := range styles {
		if !slices.Contains([]string{"fcntl", "flock", "dotlock"}, style) {
			return nil, fmt.Errorf("unknown lock style %q in %s; use fcntl, flock or dotlock", style, param)
		}
	}
	return styles, nil
}
