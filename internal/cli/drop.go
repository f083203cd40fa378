package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"postroad/internal/control"
	"postroad/internal/mail"
	"postroad/internal/maildrop"
)

// drop is a submission on its way to the maildrop.
type drop interface {
	// ID is its name, which becomes public in a trace header.
	ID() mail.QueueID
	// Begin writes the envelope, Write the content with LF line ends; recipients may
	// follow the content.
	Begin(e *maildrop.Envelope) error
	io.Writer
	AddRecipient(r maildrop.Recipient) error
	// Commit makes it durable and wakes pickup. Abort drops it; it does nothing
	// after Commit.
	Commit() error
	Abort()
}

// openDrop begins a submission: in the maildrop itself where the caller may write
// there, and else through the set-gid postdrop.
func (e *Env) openDrop(c *config) (drop, error) {
	w, err := maildrop.New(c.settings.QueueDirectory)
	if errors.Is(err, os.ErrPermission) {
		return e.startPostdrop(c)
	}
	if err != nil {
		return nil, err
	}
	return &fileDrop{Writer: w, env: e, c: c, out: c.limited(w)}, nil
}

// fileDrop writes to the maildrop itself.
type fileDrop struct {
	*maildrop.Writer
	env *Env
	c   *config
	out io.Writer
}

// ID implements drop.
func (d *fileDrop) ID() mail.QueueID { return mail.QueueID(d.Name()) }

// Write implements drop.
func (d *fileDrop) Write(p []byte) (int, error) {
	n, err := d.out.Write(p)
	if errors.Is(err, errTooBig) {
		d.env.as("postdrop").Warnf("uid=%d: %v", d.env.UID, err)
		return n, &dropError{status: dropSize}
	}
	return n, err
}

// Commit implements drop.
func (d *fileDrop) Commit() error {
	if err := d.Writer.Commit(); err != nil {
		return err
	}
	pokePickup(d.c)
	return nil
}

// pokePickup tells a running server about the message. One that does not run
// finds it at its start.
func pokePickup(c *config) {
	ctx, cancel := context.WithTimeout(context.Background(), pokeTimeout)
	defer cancel()
	_ = control.NewClient(c.settings.QueueDirectory).Pickup(ctx)
}

// pipeDrop sends records to postdrop(1).
type pipeDrop struct {
	*maildrop.Encoder
	id      mail.QueueID
	command string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	ended   bool
}

// startPostdrop runs postdrop and waits until it has made its file.
func (e *Env) startPostdrop(c *config) (*pipeDrop, error) {
	d := &pipeDrop{command: setgidPath(c, "postdrop")}
	d.cmd = exec.Command(d.command, "-r")
	d.cmd.Env = append(append([]string(nil), e.Environ...), "MAIL_CONFIG="+c.dir)
	d.cmd.Stderr = e.Stderr
	in, err := d.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("unable to execute %s -r: %w", d.command, err)
	}
	d.in, d.out = in, bufio.NewReader(out)
	id, err := readAttribute(d.out, "queue_id")
	if err != nil {
		d.Abort()
		return nil, d.failed()
	}
	d.id = mail.QueueID(id)
	return d, nil
}

// readAttribute reads attributes, names and values ended by NUL, up to the one of that
// name.
func readAttribute(r *bufio.Reader, name string) (string, error) {
	for {
		got, err := r.ReadString(0)
		if err != nil {
			return "", err
		}
		if len(got) == 1 {
			continue // the end of a list
		}
		value, err := r.ReadString(0)
		if err != nil {
			return "", err
		}
		if got[:len(got)-1] == name {
			return value[:len(value)-1], nil
		}
	}
}

// ID implements drop.
func (d *pipeDrop) ID() mail.QueueID { return d.id }

// Begin implements drop. postdrop notes the time itself.
func (d *pipeDrop) Begin(e *maildrop.Envelope) (err error) {
	piped := *e
	piped.Queued = time.Time{}
	d.Encoder, err = maildrop.NewEncoder(d.in, &piped)
	return err
}

// Commit implements drop.
func (d *pipeDrop) Commit() error {
	if d.ended {
		return d.failed()
	}
	d.ended = true
	// A postdrop that has failed reads on to the end: what it answers counts.
	_ = d.Encoder.Close()
	_ = d.in.Close()
	status, err := readAttribute(d.out, "status")
	why := ""
	if err == nil {
		why, err = readAttribute(d.out, "reason")
	}
	_, _ = io.Copy(io.Discard, d.out)
	waitErr := d.cmd.Wait()
	if err != nil {
		if waitErr != nil {
			return fmt.Errorf("command \"%s -r\": %w", d.command, waitErr)
		}
		return d.failed()
	}
	n, err := strconv.Atoi(status)
	if err != nil {
		return d.failed()
	}
	if dropStatus(n) != dropOK {
		return &dropError{status: dropStatus(n), reason: why}
	}
	return nil
}

// Abort implements drop. What postdrop has had so far ends behind a whole record,
// which tells it to drop the message in silence.
func (d *pipeDrop) Abort() {
	if d.ended {
		return
	}
	d.ended = true
	if d.Encoder != nil {
		_ = d.Encoder.Flush()
	}
	_ = d.in.Close()
	_, _ = io.Copy(io.Discard, d.out)
	_ = d.cmd.Wait()
}

// failed is the error of a postdrop that does not answer.
func (d *pipeDrop) failed() error {
	return fmt.Errorf("command \"%s -r\" did not report success", d.command)
}
