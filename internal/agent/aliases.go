package agent

import (
	"context"
	"os"
	"path"
	"strings"
	"syscall"

	"postroad/internal/mail"
	"postroad/internal/privdeliver"
	"postroad/internal/table"
)

// aliased delivers to what an alias says; false when the name is none. The whole
// local part is looked for before the name without extension.
func (t *task) aliased(ctx context.Context, f frame) bool {
	f.extension = ""
	if t.alias(ctx, f, f.local) {
		return true
	}
	if f.ext == "" {
		return false
	}
	f.extension = f.ext
	t.inherit(&f, fromAlias)
	return t.alias(ctx, f, f.base)
}

// alias expands one name of alias_maps.
func (t *task) alias(ctx context.Context, f frame, name string) bool {
	if f.source == fromAlias && strings.EqualFold(f.name, name) {
		return false // an alias that names itself means the user
	}
	hit, err := t.a.aliases.Lookup(ctx, name)
	if err != nil {
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "alias database unavailable"})
		return true
	}
	if !hit.Found {
		return false
	}
	if t.d.Flags&Shallow != 0 {
		t.step(&f, mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "aliased to " + hit.Value})
		return true
	}
	user, ok := t.aliasRights(hit.Table)
	if !ok {
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "cannot find alias database owner"})
		return true
	}
	next := f
	next.source, next.name, next.user = fromAlias, name, user
	if !t.setOwner(ctx, &next, name) {
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "alias database unavailable"})
		return true
	}
	t.expand(&next)
	t.expanded(&next, next.owner != "")
	if t.entries(ctx, hit.Value, next) == 0 {
		t.warnf("no recipient in alias lookup result for %s", name)
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "alias database unavailable"})
	}
	return true
}

// aliasRights is whose rights the entries of an alias file have: its owner's, or
// those of default_privs when that is root. False when the owner is unknown.
func (t *task) aliasRights(spec string) (*account, bool) {
	kind, file, _ := strings.Cut(strings.TrimPrefix(spec, "proxy:"), ":")
	suffix := map[string]string{"hash": ".db", "btree": ".db", "cdb": ".cdb", "lmdb": ".lmdb"}[kind]
	if !path.IsAbs(file) {
		return nil, true
	}
	info, err := os.Stat(file + suffix)
	if err != nil {
		return nil, true
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil, true
	}
	u, err := t.a.passwd.byID(int(st.Uid))
	if err != nil || u == nil {
		t.warnf("cannot find alias database owner for %s", spec)
		return nil, false
	}
	return u, true
}

// setOwner makes owner-NAME the sender of what an alias sends on. Errors there
// are for the owner: what the sender asked for is not passed on.
func (t *task) setOwner(ctx context.Context, f *frame, name string) bool {
	owner, found, err := t.ownerOf(ctx, name)
	if err != nil {
		return false
	}
	if !found {
		if t.a.set.ResetOwner {
			f.owner = "" // users behind this alias need no message of their own
		}
		return true
	}
	f.sender, f.owner = owner, string(owner)
	env := *t.d.Envelope
	env.EnvID, env.Ret = "", mail.RetUnset
	f.envelope = &env
	f.rcpt = mail.Recipient{Address: f.rcpt.Address}
	return true
}

// expanded takes the wish to hear of success from a recipient that an alias stands
// for: the expansion is the success that is reported, what becomes of the members
// is not (RFC 3461 5.2.7). An alias with an owner is the end of the delivery. The
// same holds for a .forward file.
func (t *task) expanded(f *frame, end bool) {
	if t.top.Notify&mail.NotifySuccess == 0 {
		return
	}
	t.reported = &mail.Step{Recipient: t.top, Unlogged: true, Result: mail.Result{
		Outcome: mail.Sent, Enhanced: "2.0.0", Text: "alias expanded", Relay: t.d.service(),
		DiagnosticType: "X-Postfix", Expanded: !end,
	}}
	for _, r := range []*mail.Recipient{&t.top, &f.rcpt} {
		if r.Notify &^= mail.NotifySuccess; r.Notify == 0 && !end {
			r.Notify = mail.NotifyNever
		}
	}
}

// ownerOf is the owner of an alias: owner-NAME, or what that stands for.
func (t *task) ownerOf(ctx context.Context, name string) (owner mail.Address, found bool, err error) {
	hit, err := t.a.aliases.Lookup(ctx, "owner-"+name)
	if err != nil || !hit.Found {
		return "", false, err
	}
	text := "owner-" + name
	if t.a.set.ExpandOwner {
		text = hit.Value
	}
	return t.a.deps.Rewrite(text), true, nil
}

// entries delivers to the entries of a list and returns how many there were.
func (t *task) entries(ctx context.Context, list string, f frame) int {
	all := t.a.deps.Addresses(list)
	for _, e := range all {
		t.entry(ctx, e, f)
	}
	return len(all)
}

// entry delivers to one entry: |command, /file, :include:file or an address.
func (t *task) entry(ctx context.Context, e Entry, f frame) {
	text := string(e.Address)
	switch {
	case strings.HasPrefix(text, "|"):
		if t.a.commands&f.source == 0 {
			t.step(&f, mail.Result{Outcome: mail.Bounced, Enhanced: "5.7.1", Text: "mail to command is restricted"})
			return
		}
		t.command(ctx, f, strings.TrimLeft(text[1:], " \t"))
	case strings.HasPrefix(text, "/"):
		if t.a.files&f.source == 0 {
			t.step(&f, mail.Result{Outcome: mail.Bounced, Enhanced: "5.7.1", Text: "mail to file is restricted"})
			return
		}
		t.file(ctx, f, text)
	case hasFoldPrefix(text, ":include:"):
		t.include(ctx, f, strings.TrimLeft(text[len(":include:"):], " \t"))
	default:
		if strings.HasPrefix(e.Text, `\`) {
			text = `\` + text
		}
		t.address(ctx, text, f)
	}
}

func hasFoldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// include delivers to the entries of a file.
func (t *task) include(ctx context.Context, f frame, file string) {
	u := t.a.rights(f.user)
	if !t.first("include", u.id(), file) {
		return
	}
	wrong := func(format string, args ...any) {
		t.warnf(format, args...)
		t.step(&f, mail.Result{Outcome: mail.Bounced, Enhanced: "5.3.5", Text: configError})
	}
	if !path.IsAbs(file) {
		wrong(":include:%s uses a relative path", file)
		return
	}
	out, err := t.a.deps.Users.Do(ctx, u.uid, u.gid, &privdeliver.Request{Kind: privdeliver.Read, Path: file}, nil)
	if err != nil {
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "cannot open include file " + file + ": " + err.Error()})
		return
	}
	switch out.Class {
	case privdeliver.OK:
	case privdeliver.NotFound:
		wrong("unable to lookup :include: file %s: No such file or directory", file)
		return
	default:
		if why, found := strings.CutPrefix(out.Text, "cannot open file "); found {
			wrong("cannot open include file %s", why)
		} else {
			wrong(":include: %s", out.Text)
		}
		return
	}
	f.source = fromInclude
	t.inherit(&f, fromInclude)
	if f.user, err = t.fileRights(out.UID); err != nil {
		t.warnf("cannot find username for uid %d", out.UID)
		t.warnf("%s: cannot find :include: file owner username", file)
		t.step(&f, mail.Result{Enhanced: "4.3.5", Text: configError})
		return
	}
	t.lines(ctx, string(out.Output), f)
}

// fileRights is whose rights the entries of a file have; nil for default_privs.
func (t *task) fileRights(uid int) (*account, error) {
	if uid == 0 {
		return nil, nil
	}
	u, err := t.a.passwd.byID(uid)
	if err == nil && u == nil {
		err = os.ErrNotExist
	}
	return u, err
}

// lines delivers to the entries of the lines of a file, without comments, and
// returns how many there were.
func (t *task) lines(ctx context.Context, text string, f frame) int {
	n := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			n += t.entries(ctx, strings.TrimRight(line, "\r\n"), f)
		}
	}
	return n
}

// found looks up a user name in a table of transports or commands.
func (t *task) found(ctx context.Context, m *table.Maps, name string) (string, error) {
	hit, err := m.Lookup(ctx, name)
	if err != nil || !hit.Found {
		return "", err
	}
	return hit.Value, nil
}
