package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"postroad/internal/mail"
	"postroad/internal/sys"
)

// source is where a name was found; sources can be combined.
type source uint8

const (
	fromAlias source = 1 << iota
	fromForward
	fromInclude
)

// sourceNames are the words of allow_mail_to_commands and its siblings.
var sourceNames = map[string]source{"alias": fromAlias, "forward": fromForward, "include": fromInclude}

// sources reads a list of those words.
func sources(param string, words []string) (source, error) {
	var out source
	for _, w := range words {
		s, ok := sourceNames[strings.ToLower(w)]
		if !ok {
			return 0, fmt.Errorf("bad value %q in %s; use alias, forward or include", w, param)
		}
		out |= s
	}
	return out, nil
}

// maxDepth bounds nested aliases, :include: files and .forward files.
const maxDepth = 25

// frame is where in the expansion of a recipient an address stands. It goes down
// by value: what an alias changes concerns what the alias names.
type frame struct {
	// rcpt is who is delivered to: its address changes on the way, the rest is
	// what a new message inherits.
	rcpt mail.Recipient
	// sender is the sender of new messages, envelope where they have the rest of
	// their envelope from.
	sender   mail.Address
	envelope *mail.Envelope
	level    int
	// delivered is the address that the message counts as delivered to.
	delivered mail.Address
	// source is where the address was found, name whose expansion that is.
	source source
	name   string
	// owner is the owner of the alias or of the .forward file, if there is one:
	// other users get a message of their own.
	owner string
	// extension goes to the addresses that are found, with its delimiter.
	extension string
	// user is whose rights commands and files have; nil for default_privs.
	user *account
	// plain keeps a user from being looked up as an alias.
	plain bool

	// local is the local part in lower case, base and ext what it consists of.
	local, base, ext string
}

// recipient delivers to an address of this machine.
func (t *task) recipient(ctx context.Context, f frame) {
	if f.level >= maxDepth {
		t.warnf("recipient nesting limit exceeded for %s", f.rcpt.Address.External())
		t.step(&f, mail.Result{Outcome: mail.Bounced, Enhanced: "5.4.6", Text: "recipient nesting limit exceeded"})
		return
	}
	// The level is part of the key, so that a circle is seen as one.
	if !t.first("recipient", strconv.Itoa(f.level), string(f.rcpt.Address)) {
		return
	}
	if t.loops(ctx, &f) {
		return
	}
	f.local = strings.ToLower(f.rcpt.Address.Local())
	f.base, f.ext = t.a.deps.Search.Split(f.local)
	if f.plain {
		t.mailboxOrUnknown(ctx, f)
		return
	}
	if t.aliased(ctx, f) {
		return
	}
	// A .forward file or an alias with an owner stands between the message and
	// other users: each gets an entry in the queue of a new message. The same
	// holds for members of :include: files.
	if f.owner != "" && !strings.EqualFold(f.owner, f.base) || f.source == fromInclude {
		t.indirect(ctx, f)
		return
	}
	if t.homeless(&f) || t.dotForward(ctx, f) {
		return
	}
	t.mailboxOrUnknown(ctx, f)
}

func (t *task) mailboxOrUnknown(ctx context.Context, f frame) {
	if !t.mailbox(ctx, f) {
		t.unknown(ctx, f)
	}
}

// homeless defers mail for a user whose home directory is not there, where main.cf
// wants it to be.
func (t *task) homeless(f *frame) bool {
	if !t.a.set.RequireHome {
		return false
	}
	u, err := t.a.passwd.lookup(f.base)
	if err != nil || u == nil {
		return false // which is found out again
	}
	var cause syscall.Errno
	_, err = os.Stat(u.home)
	if err == nil || !errors.As(err, &cause) || cause == syscall.EACCES {
		return false // what this process may not see the user may
	}
	t.step(f, mail.Result{Enhanced: "4.3.0", Text: "cannot access home directory " + u.home + ": " + sys.Reason(cause)})
	return true
}

// expand makes an alias or a .forward file what the message counts as delivered
// to, unless that is decided at the start (frozen_delivered_to).
func (t *task) expand(f *frame) {
	if !t.a.set.FrozenDelivered {
		f.delivered = f.rcpt.Address
	}
}

// loops bounces mail that was delivered to its address before. The owner of an
// alias hears of it in place of the sender.
func (t *task) loops(ctx context.Context, f *frame) bool {
	if !t.past[strings.ToLower(f.rcpt.Address.External())] {
		return false
	}
	res := mail.Result{Outcome: mail.Bounced, Enhanced: "5.4.6", Text: "mail forwarding loop for " + string(f.rcpt.Address)}
	if t.a.set.OwnerRequest {
		owner, hit, err := t.ownerOf(ctx, strings.ToLower(f.rcpt.Address.Local()))
		if err != nil {
			res = mail.Result{Enhanced: "4.3.0", Text: "alias database unavailable"}
		} else if hit {
			res.ReportTo = owner
		}
	}
	t.step(f, res)
	return true
}

// indirect gives an address a new message.
func (t *task) indirect(ctx context.Context, f frame) {
	if t.d.Flags&Verify != 0 {
		if t.first("indirect", string(f.rcpt.Address)) {
			t.step(&f, mail.Result{Outcome: mail.Sent, Enhanced: "2.0.0", Text: "forwards to " + string(f.rcpt.Address)})
		}
		return
	}
	if t.first("indirect", string(f.rcpt.Address)) && !t.loops(ctx, &f) {
		t.forward(&f)
	}
}

// address delivers to an address that was found: here when it is of this machine,
// else with a new message.
func (t *task) address(ctx context.Context, text string, f frame) {
	f.level++
	text, f.plain = strings.CutPrefix(text, `\`)
	addr := t.a.deps.Rewrite(text)
	route, err := t.a.deps.Resolve(ctx, f.sender, addr)
	if err != nil {
		t.step(&f, mail.Result{Enhanced: "4.3.0", Text: "address resolver failure"})
		return
	}
	f.rcpt.Address = extend(route.Recipient, f.extension)
	f.extension = ""
	if route.Transport == t.d.Route.Transport {
		t.recipient(ctx, f)
		return
	}
	t.indirect(ctx, f)
}

// extend adds an extension to an address.
func extend(addr mail.Address, extension string) mail.Address {
	if extension == "" {
		return addr
	}
	name, domain := addr.Split()
	if domain == "" {
		return mail.Address(name + extension)
	}
	return mail.Address(name + extension + "@" + domain)
}

// inherit makes what is found in an alias or a file carry the extension of the
// name that led there, where propagate_unmatched_extensions says so.
func (t *task) inherit(f *frame, s source) {
	if t.a.propagate&s == 0 {
		f.extension = ""
	}
}
