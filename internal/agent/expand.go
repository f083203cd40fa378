package agent

import (
	"context"
	"path"
	"slices"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
)

// maxNames bounds how many names one alias or file may hold.
const maxNames = 10000

// expand delivers to every entry of an alias, :include: or .forward text.
func (t *task) expand(ctx context.Context, text string, addr mail.Address, from owner) {
	entries := splitEntries(text)
	if len(entries) > maxNames {
		t.step(addr, mail.Result{Enhanced: "4.3.5", Text: configError})
		return
	}
	for _, e := range entries {
		t.entry(ctx, e, addr, from)
	}
}

// entry delivers to one entry: |command, /file, :include:file or an address.
func (t *task) entry(ctx context.Context, e string, addr mail.Address, from owner) {
	if from.depth > maxDepth || t.seen["entry "+e] {
		return
	}
	t.seen["entry "+e] = true
	switch {
	case strings.HasPrefix(e, "|"):
		if !slices.Contains(t.a.set.AllowMailCommands, from.source) {
			t.step(addr, mail.Result{Outcome: mail.Bounced, Enhanced: "5.7.1", Text: "mail to command is restricted"})
			return
		}
		t.command(ctx, strings.TrimSpace(e[1:]), addr, from.rights(t.a), false)
	case strings.HasPrefix(e, "/"):
		if !slices.Contains(t.a.set.AllowMailFiles, from.source) {
			t.step(addr, mail.Result{Outcome: mail.Bounced, Enhanced: "5.7.1", Text: "mail to file is restricted"})
			return
		}
		u := from.rights(t.a)
		t.file(ctx, &mailbox{path: e, uid: u.uid, gid: u.gid, limit: t.a.set.MailboxSizeLimit, locks: t.a.locks}, addr, true)
	case hasFoldPrefix(e, ":include:"):
		t.include(ctx, e[len(":include:"):], addr, from)
	case strings.HasPrefix(e, ":"):
		t.d.Logger.Warnf("unsupported entry %q in an alias", e)
		t.step(addr, mail.Result{Enhanced: "4.3.5", Text: configError})
	default:
		t.address(ctx, e, from)
	}
}

func hasFoldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// rights is the account whose rights an entry has.
func (o *owner) rights(a *local) *account {
	if o.user != nil {
		return o.user
	}
	return a.defaultUser()
}

// address delivers to an address: at once when it is a name of this machine, else
// with the message that goes on.
func (t *task) address(ctx context.Context, text string, from owner) {
	plain := strings.HasPrefix(text, `\`)
	addr := t.a.deps.Rewrite(strings.TrimPrefix(text, `\`))
	if addr == "" {
		return
	}
	route, err := t.a.deps.Resolve(ctx, t.sender, addr)
	if err != nil {
		t.step(addr, mail.Result{Enhanced: "4.3.0", Text: "address resolver failure"})
		return
	}
	if route.Transport == t.d.Route.Transport && strings.EqualFold(string(route.Nexthop), string(t.d.Route.Nexthop)) {
		t.name(ctx, route.Recipient.Local(), route.Recipient, owner{depth: from.depth + 1, source: from.source, plain: plain, user: from.user})
		return
	}
	t.forwards = append(t.forwards, mail.Recipient{Address: addr, Original: t.r.Original, ORCPT: t.r.ORCPT, Notify: t.r.Notify})
}

// include delivers to the entries of a file, which is read with the rights of
// whoever named it.
func (t *task) include(ctx context.Context, file string, addr mail.Address, from owner) {
	if !path.IsAbs(file) {
		t.step(addr, mail.Result{Enhanced: "4.3.5", Text: configError})
		return
	}
	text, res := t.read(ctx, file, from.rights(t.a))
	if res != nil {
		t.step(addr, *res)
		return
	}
	t.expand(ctx, stripComments(text), addr, owner{depth: from.depth + 1, source: "include", user: from.user})
}

// read reads a file as a user; res is the answer when it cannot be read now.
func (t *task) read(ctx context.Context, file string, u *account) (text string, res *mail.Result) {
	out, err := t.a.deps.Users.Do(ctx, u.uid, u.gid, &privdeliver.Request{Kind: privdeliver.Read, Path: file}, nil)
	if err != nil {
		return "", &mail.Result{Enhanced: "4.3.0", Text: "cannot open " + file + ": " + err.Error()}
	}
	if out.Class != privdeliver.OK {
		return "", &mail.Result{Enhanced: "4.2.0", Text: "cannot open include file " + file + ": " + out.Text}
	}
	return string(out.Output), nil
}

// dotForward expands the user's .forward file; false when there is none.
func (t *task) dotForward(ctx context.Context, u *account, extension string, addr mail.Address, from owner) bool {
	if !t.a.deps.Users.Can(u.uid) || u.home == "" {
		return false
	}
	for _, pattern := range postconf.SplitList(t.a.set.ForwardPath) {
		file, err := postconf.Expand(pattern, t.forwardMacros(u, extension, addr))
		if err != nil || !path.IsAbs(file) {
			continue
		}
		out, err := t.a.deps.Users.Do(ctx, u.uid, u.gid, &privdeliver.Request{Kind: privdeliver.Read, Path: file}, nil)
		if err != nil {
			t.step(addr, mail.Result{Enhanced: "4.3.0", Text: "cannot open " + file + ": " + err.Error()})
			return true
		}
		if out.Class == privdeliver.Permission {
			t.d.Logger.Warnf("%s", out.Text)
			continue
		}
		if out.Class != privdeliver.OK {
			continue
		}
		if t.d.Flags&Shallow != 0 {
			t.step(addr, mail.Result{Outcome: mail.Deliverable, Enhanced: "2.0.0", Text: "forward via file: " + file})
			return true
		}
		text := stripComments(string(out.Output))
		if strings.TrimSpace(text) == "" {
			return false
		}
		t.seen["name "+u.name] = true
		before := len(t.steps) + len(t.forwards)
		t.expandForward(ctx, text, u, addr, from)
		return len(t.steps)+len(t.forwards) > before
	}
	return false
}

// expandForward delivers to the entries of a .forward file. The user's own name
// means the mailbox.
func (t *task) expandForward(ctx context.Context, text string, u *account, addr mail.Address, from owner) {
	for _, e := range splitEntries(text) {
		name := strings.ToLower(strings.TrimPrefix(e, `\`))
		if name == u.name || (strings.Contains(name, "@") && mail.Address(name) == addr.Fold()) {
			if !t.seen["box "+u.name] {
				t.seen["box "+u.name] = true
				t.user(ctx, u, "", addr)
			}
			continue
		}
		t.entry(ctx, e, addr, owner{depth: from.depth + 1, source: "forward", user: u})
	}
}

// forwardMacros are the $names of forward_path.
func (t *task) forwardMacros(u *account, extension string, addr mail.Address) func(string) (string, bool) {
	values := map[string]string{
		"home": u.home, "shell": u.shell, "user": u.name, "local": addr.Local(), "domain": addr.Domain(),
		"extension": extension, "recipient": string(addr), "recipient_delimiter": delimiterOf(addr.Local(), t.a.set.Delimiter),
	}
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}

// delimiterOf is the delimiter that the address uses, or the first configured.
func delimiterOf(local, delimiters string) string {
	if i := strings.IndexAny(local, delimiters); i > 0 && delimiters != "" {
		return local[i : i+1]
	}
	if delimiters == "" {
		return ""
	}
	return delimiters[:1]
}

// stripComments removes comment lines and joins the others, each an entry list.
func stripComments(text string) string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// splitEntries splits a list at commas and line ends outside quotes, comments in
// parentheses and angle brackets, and unquotes an entry that is quoted as a whole.
func splitEntries(text string) []string {
	var out []string
	start, quoted, depth, angle := 0, false, 0, false
	flush := func(end int) {
		if e := unquote(strings.TrimSpace(text[start:end])); e != "" {
			out = append(out, e)
		}
		start = end + 1
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle, c == '\n':
			flush(i)
			angle = false
		}
	}
	flush(len(text))
	return out
}

// unquote strips the quotes around a whole entry ("|command args"), and takes the
// address out of a "Name <address>".
func unquote(e string) string {
	if len(e) >= 2 && e[0] == '"' && e[len(e)-1] == '"' && !strings.Contains(e[1:len(e)-1], `" `) {
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(e[1 : len(e)-1])
	}
	if open := strings.LastIndexByte(e, '<'); open >= 0 && strings.HasSuffix(e, ">") && e[0] != '|' {
		return strings.TrimSpace(e[open+1 : len(e)-1])
	}
	for strings.HasPrefix(e, "(") { // a comment in front
		end := strings.IndexByte(e, ')')
		if end < 0 {
			return ""
		}
		e = strings.TrimSpace(e[end+1:])
	}
	return e
}
