package privdeliver

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Limits are what a process with root's rights may touch. master takes them from
// the configuration that it has read itself, not from the worker.
type Limits struct {
	// Spool is the directory of mailbox files, Mailbox is root's own mailbox, with
	// a slash at the end when it is a Maildir, Forward is root's .forward.
	Spool, Mailbox, Forward string
}

// Args are the limits as arguments of the process.
func (l Limits) Args() []string { return []string{l.Spool, l.Mailbox, l.Forward} }

// do does a request that the limits allow.
func (l *Limits) do(r *Request, content io.Reader) Result {
	if l != nil && !l.allow(r) {
		return Result{Class: Permission, Text: fmt.Sprintf("%s: not done with root privileges", r.Path)}
	}
	return Do(r, content)
}

// allow tells whether a request is within the limits.
func (l *Limits) allow(r *Request) bool {
	if r.Path == "" || filepath.Clean(r.Path) != r.Path || strings.ContainsAny(r.Name, "/\x00") {
		return false
	}
	maildir, isMaildir := strings.CutSuffix(l.Mailbox, "/")
	switch r.Kind {
	case Maildir, Sync:
		return isMaildir && r.Path == maildir && r.Name != "" && r.Owner == 0
	case Mbox:
		if r.Owner != 0 {
			return r.Owner > 0 && r.Group > 0 && l.Spool != "" && filepath.Dir(r.Path) == l.Spool
		}
		return !isMaildir && r.Path == l.Mailbox
	case Read:
		// .forward+extension is a name of its own.
		rest, ok := strings.CutPrefix(r.Path, l.Forward)
		return ok && !strings.Contains(rest, "/")
	}
	return false
}
