package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"postroad/internal/maildrop"
	"postroad/internal/sys"
)

// pokeTimeout bounds the wait for a server that is busy (trigger_timeout).
const pokeTimeout = 10 * time.Second

// dropStatus are the numbers that postdrop(1) answers with, and what the submitter
// is told; they are those of Postfix, whose commands may stand on the other side.
type dropStatus int

const (
	dropOK    dropStatus = 0
	dropBad   dropStatus = 1
	dropWrite dropStatus = 2
	dropSize  dropStatus = 4
	dropDeny  dropStatus = 1 << 11
)

// dropTexts are the words for a status that comes without a reason.
var dropTexts = map[dropStatus]string{
	dropBad: "internal protocol error", dropWrite: "queue file write error", dropSize: "message file too big",
}

// dropError is a submission that was not taken.
type dropError struct {
	status dropStatus
	reason string
}

// Error implements error.
func (e *dropError) Error() string {
	if text := dropTexts[e.status]; text != "" {
		return text
	}
	return e.reason
}

// errTooBig says that message_size_limit is passed.
var errTooBig error = optionError("File too large")

// runPostdrop is postdrop(1), the helper of sendmail that may write to the
// maildrop: it says the queue id, reads records from the standard input, and answers
// with a status and a reason.
func runPostdrop(e *Env) int {
	var dir string
	g := NewGetopt(e.Args, "c:rv")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return e.Fatalf(1, "usage: postdrop [-c config_dir] [-v]")
		}
		if opt == 0 {
			break
		}
		if opt == 'c' {
			dir = g.Arg
		}
	}
	c, err := e.load(dir)
	if err != nil {
		return e.Fatalf(1, "%v", err)
	}
	if !c.allowed("authorized_submit_users", c.settings.SubmitUsers, e.UID) {
		return e.Fatalf(1, "User %s(%d) is not allowed to submit mail", userName(e.UID), e.UID)
	}
	w, err := maildrop.New(c.settings.QueueDirectory)
	if err != nil {
		return e.Fatalf(1, "create file in maildrop: %s", sys.Reason(err))
	}
	defer w.Abort() // does nothing after Commit
	defer removeOnSignal(w)()
	e.Printf("protocol\x00postdrop_protocol\x00queue_id\x00%s\x00\x00", w.Name())
	in := bufio.NewReader(e.Stdin)
	err = e.copyDrop(c, w, in)
	var failed *dropError
	switch {
	case errors.Is(err, maildrop.ErrEarlyEnd):
		return 0 // the submitter gave up
	case errors.Is(err, maildrop.ErrFormat):
		return e.Fatalf(1, "uid=%d: %v", e.UID, err)
	case errors.As(err, &failed):
	case err != nil:
		failed = &dropError{status: dropWrite, reason: sys.Reason(err)}
		if errors.Is(err, errTooBig) || errors.Is(err, syscall.EFBIG) {
			failed = &dropError{status: dropSize, reason: errTooBig.Error()}
		}
		e.Warnf("uid=%d: %s", e.UID, failed.reason)
	}
	if failed != nil {
		w.Abort()
		// The submitter reads the answer when it has said everything.
		_, _ = io.Copy(io.Discard, in)
		e.Printf("status\x00%d\x00reason\x00%s\x00\x00", failed.status, failed.reason)
		return 1
	}
	e.Printf("status\x000\x00reason\x00\x00\x00")
	pokePickup(c)
	return 0
}

// dropSignals end a submission.
var dropSignals = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}

// removeOnSignal removes an unfinished file when the user interrupts its command.
// The function that it returns ends that.
func removeOnSignal(w *maildrop.Writer) func() {
	caught, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(caught, dropSignals...)
	// goroutine: waits for a signal; ends with the submission.
	go func() {
		select {
		case <-caught:
			if w.Remove() {
				os.Exit(1)
			}
		case <-done:
		}
	}()
	return func() { signal.Stop(caught); close(done) }
}

// copyDrop copies one message to the maildrop. What the records claim is checked on
// the way; the owner of the file is the caller.
func (e *Env) copyDrop(c *config, w *maildrop.Writer, in io.Reader) error {
	d := maildrop.NewDecoder(in)
	env, err := d.Envelope()
	if err != nil {
		return err
	}
	env.Queued = e.now()
	if err := e.loginSender(c, env.Sender); err != nil {
		return &dropError{status: dropDeny, reason: err.Error()}
	}
	if err := w.Begin(env); err != nil {
		return err
	}
	lf := &maildrop.LineFeeds{W: c.limited(w)}
	if err := d.Content(lf); err != nil {
		return err
	}
	if err := lf.End(); err != nil {
		return err
	}
	extracted, err := d.Extracted(env)
	if err != nil {
		return err
	}
	for _, r := range extracted {
		if err := w.AddRecipient(r); err != nil {
			return err
		}
	}
	if len(env.Recipients)+len(extracted) == 0 {
		return &dropError{status: dropBad}
	}
	return w.Commit()
}

// limited is w with message_size_limit.
func (c *config) limited(w io.Writer) io.Writer {
	if c.settings.MessageSizeLimit <= 0 {
		return w
	}
	return &limitWriter{w: w, left: c.settings.MessageSizeLimit}
}

// limitWriter refuses what is beyond a number of bytes.
type limitWriter struct {
	w    io.Writer
	left int64
}

// Write implements io.Writer.
func (l *limitWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		l.left = -1
		return 0, errTooBig
	}
	l.left -= int64(len(p))
	return l.w.Write(p)
}
