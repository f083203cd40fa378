package agent

import (
	"context"
	"fmt"
	"path"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
)

// dotForward delivers to what the user's .forward file says; false when there is
// none that counts.
func (t *task) dotForward(ctx context.Context, f frame) bool {
	u, err := t.a.passwd.lookup(f.base)
	if err != nil {
		t.warnf("error looking up passwd info for %s: %v", f.base, err)
		t.step(&f, mail.Result{Enhanced: "4.0.0", Text: "user lookup error"})
		return true
	}
	// The user's own name in the file, or behind an alias there, means the mailbox.
	if u == nil || u.home == "" || !t.a.deps.Users.Can(u.uid) || f.owner == u.name {
		return false
	}
	for _, pattern := range postconf.SplitList(t.a.set.ForwardPath) {
		m := t.macros(&f, u, t.a.set.ForwardFilter)
		file, err := postconf.ExpandOnce(pattern, m.lookup)
		if err != nil {
			t.warnf("forward_path: %v", err)
			t.step(&f, mail.Result{Enhanced: "4.3.5", Text: configError})
			return true
		}
		// An extension is part of a file name, not a way out of a directory.
		if m.extension && strings.Contains(f.ext, "/") || !path.IsAbs(file) {
			continue
		}
		text, done, stop := t.readForward(ctx, &f, u, file)
		if stop {
			return true
		}
		if !done {
			continue
		}
		if t.d.Flags&Shallow != 0 {
			t.step(&f, mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "forward via file: " + file})
			return true
		}
		if !t.first("forward", file) {
			return true // its entries have the message
		}
		next := f
		next.source, next.name, next.owner, next.user = fromForward, u.name, u.name, u
		next.extension = f.ext
		if m.extension {
			next.extension = ""
		}
		t.inherit(&next, fromForward)
		t.expand(&next)
		before := *t
		t.expanded(&next, false)
		if t.lines(ctx, text, next) == 0 {
			t.top, t.reported = before.top, before.reported
			return false
		}
		return true
	}
	return false
}

// readForward reads a .forward file as its user. done is false when there is
// none that may be used; stop tells that the delivery has ended.
func (t *task) readForward(ctx context.Context, f *frame, u *account, file string) (text string, done, stop bool) {
	out, err := t.a.deps.Users.Do(ctx, u.uid, u.gid, &privdeliver.Request{Kind: privdeliver.Read, Path: file}, nil)
	if err != nil {
		t.step(f, mail.Result{Enhanced: "4.3.0", Text: fmt.Sprintf("cannot open file %s: %v", file, err)})
		return "", false, true
	}
	switch {
	case out.Class == privdeliver.NotFound:
	case out.Class != privdeliver.OK && out.Class != privdeliver.Permission:
		t.step(f, mail.Result{Enhanced: "4.3.0", Text: "cannot open file " + file + ": " + out.Text})
		return "", false, true
	case out.UID != 0 && out.UID != u.uid:
		t.warnf("file %s has bad owner uid %d", file, out.UID)
	case out.Class == privdeliver.Permission:
		t.warnf("%s", out.Text)
	default:
		return string(out.Output), true, false
	}
	return "", false, false
}

// macros are the $names that forward_path, luser_relay and
// command_execution_directory may hold.
type macros struct {
	values map[string]string
	// extension tells that $extension was used.
	extension bool
}

// lookup gives the value of a name.
func (m *macros) lookup(name string) (string, bool) {
	v, ok := m.values[name]
	if name == "extension" && v != "" {
		m.extension = true
	}
	return v, ok
}

// macros are those for a recipient. What a stranger chose loses the characters
// that a filter does not list.
func (t *task) macros(f *frame, u *account, allowed string) *macros {
	delimiter, extension := "", ""
	if f.ext != "" {
		delimiter, extension = f.ext[:1], f.ext[1:]
	} else if d := t.a.set.Delimiter; d != "" {
		delimiter = d[:1]
	}
	values := map[string]string{
		"user": f.base, "local": f.local, "domain": f.rcpt.Address.Domain(),
		"extension": extension, "recipient": string(f.rcpt.Address), "recipient_delimiter": delimiter,
	}
	if u != nil {
		values["home"], values["shell"] = u.home, u.shell
	}
	if allowed != "" {
		set := postconf.NewCharset(allowed)
		for k, v := range values {
			values[k] = set.Clean(v)
		}
	}
	return &macros{values: values}
}
