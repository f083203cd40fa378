package maildrop

import (
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"

	"postroad/internal/mail"
)

// requeued is the mode of a message that came back from the queue. That it belongs
// to mail_owner and that nobody else may read it tells it from a submission; an
// ordinary user can make no such file.
const requeued os.FileMode = 0o700

// clientAttrs are the attributes about the client of a message, in the order in
// which Postfix writes them.
var clientAttrs = []struct {
	name  string
	field func(*mail.ClientFacts) *string
}{
	{"rewrite_context", func(c *mail.ClientFacts) *string { return &c.RewriteContext }},
	{"sasl_method", func(c *mail.ClientFacts) *string { return &c.SASLMethod }},
	{"sasl_username", func(c *mail.ClientFacts) *string { return &c.SASLUser }},
	{"sasl_sender", func(c *mail.ClientFacts) *string { return &c.SASLSender }},
	{"log_ident", func(c *mail.ClientFacts) *string { return &c.Ident }},
	{"client_name", func(c *mail.ClientFacts) *string { return &c.Name }},
	{"reverse_client_name", func(c *mail.ClientFacts) *string { return &c.ReverseName }},
	{"client_address", func(c *mail.ClientFacts) *string { return &c.Addr }},
	{"client_port", func(c *mail.ClientFacts) *string { return &c.Port }},
	{"helo_name", func(c *mail.ClientFacts) *string { return &c.Helo }},
	{"protocol_name", func(c *mail.ClientFacts) *string { return &c.Proto }},
}

// Requeue puts a message of the queue back into the maildrop, with those of its
// recipients that are given in env, so that pickup(8) sends it through cleanup
// again. The file has the name of the message; when one is there already, a requeue
// before this one did not come to its end, and it is written anew. owner is the uid
// that the file must have. When Requeue returns, the file is durable: the message
// may be removed from the queue.
func Requeue(queueDir string, env *mail.Envelope, content mail.Content, owner int) error {
	name := string(env.ID)
	if !validName(name) {
		return formatError("queue id %.40q", name)
	}
	path := Path(queueDir, name)
	if err := removeOld(path, owner); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := &Writer{file: file, path: path, mode: requeued}
	defer w.Abort() // does nothing after Commit
	if owner != os.Geteuid() {
		if err := file.Chown(owner, -1); err != nil {
			return err
		}
	}
	if err := w.Begin(returning(env)); err != nil {
		return err
	}
	for i := range env.Recipients {
		r := &env.Recipients[i]
		if err := w.AddRecipient(Recipient{Address: r.Address, Original: r.Original, ORCPT: r.ORCPT, Notify: r.Notify}); err != nil {
			return err
		}
	}
	if err := copyLines(w, content); err != nil {
		return err
	}
	return w.Commit()
}

// removeOld removes what an earlier requeue of a message left. A submission that has
// its name by chance stays, and is the error.
func removeOld(path string, owner int) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != owner && int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return &os.PathError{Op: "requeue", Path: path, Err: os.ErrExist}
	}
	return os.Remove(path)
}

// returning is an envelope of the queue in the words of the maildrop.
func returning(env *mail.Envelope) *Envelope {
	e := &Envelope{
		Queued: env.Arrived, FullName: env.FullName, Sender: env.Sender, EnvID: env.EnvID, Ret: env.Ret, VERP: env.VERP,
		Trace: env.Trace, Probe: env.Probe, SMTPUTF8: env.SMTPUTF8, RequireTLS: env.RequireTLS, Returned: env,
	}
	if env.EightBit {
		e.Encoding = "8bit"
	}
	return e
}

// copyLines writes content with LF line ends.
func copyLines(w io.Writer, c mail.Content) error {
	r, err := c.Open()
	if err != nil {
		return err
	}
	lf := &LineFeeds{W: w}
	_, err = io.Copy(lf, r)
	return errors.Join(err, lf.End(), r.Close())
}

// returnedAttributes are the attributes that only a requeued message has.
func returnedAttributes(c *mail.ClientFacts) []string {
	var out []string
	for _, a := range clientAttrs {
		value := *a.field(c)
		if value != "" && clean(recAttr, value) == nil {
			out = append(out, a.name+"="+value)
		}
	}
	return append(out, "uid="+strconv.Itoa(c.UID))
}

// setReturned takes one attribute of a requeued message; false when it is none of
// those that only such a message may have.
func setReturned(c *mail.ClientFacts, name, value string) bool {
	if name == "uid" {
		if uid, err := strconv.Atoi(value); err == nil {
			c.UID = uid
		}
		return true
	}
	for _, a := range clientAttrs {
		if a.name == name {
			*a.field(c) = value
			return name != "rewrite_context" // which others have too
		}
	}
	return false
}

// isRequeued tells by owner and mode whether a file in the maildrop is a message
// that came back from the queue. Only a server that runs as its owner believes it.
func isRequeued(uid int, mode os.FileMode) bool {
	return uid == os.Geteuid() && mode.Perm() == requeued
}
