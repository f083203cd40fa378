package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"postroad/internal/maildrop"
)

// pokeTimeout bounds the wait for a server that is busy (trigger_timeout).
const pokeTimeout = 10 * time.Second

// runPostdrop is postdrop(1), the helper of sendmail that may write to the
// maildrop: it reads records from the standard input and answers with the queue
// id, a status and a reason.
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
	name, err := e.copyDrop(c)
	e.Printf("protocol\x00postdrop_protocol\x00queue_id\x00%s\x00\x00", name)
	if err != nil {
		e.Warnf("uid=%d: %v", e.UID, err)
		e.Printf("status\x001\x00reason\x00%s\x00\x00", err)
		return 1
	}
	e.Printf("status\x000\x00reason\x00\x00\x00")
	pokePickup(c)
	return 0
}

// copyDrop copies one message from the standard input to the maildrop. What
// the records claim is checked on the way; the owner of the file is the caller.
func (e *Env) copyDrop(c *config) (string, error) {
	d := maildrop.NewDecoder(bufio.NewReader(e.Stdin))
	env, err := d.Envelope()
	if err != nil {
		return "", err
	}
	env.Queued = e.now()
	if err := e.loginSender(c, env.Sender); err != nil {
		return "", err
	}
	w, err := maildrop.Create(c.settings.QueueDirectory, env)
	if err != nil {
		return "", err
	}
	defer w.Abort()
	limit := &limitWriter{w: w, left: c.settings.MessageSizeLimit}
	if c.settings.MessageSizeLimit <= 0 {
		limit.left = -1
	}
	lf := &lfWriter{w: limit}
	if err := d.Content(lf); err != nil {
		if errors.Is(err, errTooBig) {
			err = optionError("File too large")
		}
		return w.Name(), err
	}
	if err := lf.end(); err != nil {
		return w.Name(), err
	}
	extracted, err := d.Extracted(env)
	if err != nil {
		return w.Name(), err
	}
	for _, r := range extracted {
		if err := w.AddRecipient(r); err != nil {
			return w.Name(), err
		}
	}
	if len(env.Recipients)+len(extracted) == 0 {
		return w.Name(), errors.New("malformed input")
	}
	return w.Name(), w.Commit()
}

// lfWriter turns CRLF into LF; a CR that no LF follows stays.
type lfWriter struct {
	w  io.Writer
	cr bool
}

// Write implements io.Writer.
func (l *lfWriter) Write(p []byte) (int, error) {
	n := len(p)
	if l.cr && (len(p) == 0 || p[0] != '\n') {
		if _, err := l.w.Write([]byte{'\r'}); err != nil {
			return 0, err
		}
	}
	l.cr = false
	if len(p) > 0 && p[len(p)-1] == '\r' {
		l.cr, p = true, p[:len(p)-1]
	}
	_, err := l.w.Write(bytes.ReplaceAll(p, []byte("\r\n"), []byte{'\n'}))
	return n, err
}

// end writes a CR that was held back.
func (l *lfWriter) end() error {
	if !l.cr {
		return nil
	}
	l.cr = false
	_, err := l.w.Write([]byte{'\r'})
	return err
}

// dropByCommand sends a message through the set-gid postdrop command.
func (e *Env) dropByCommand(c *config, env *maildrop.Envelope, fill func(dropWriter) error) error {
	command := postdropPath(c)
	piped := *env
	piped.Queued = time.Time{}
	env = &piped
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(command, "-r")
	cmd.Env = append(append([]string(nil), e.Environ...), "MAIL_CONFIG="+c.dir)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("unable to execute %s -r: %w", command, err)
	}
	err = fillPipe(in, env, fill)
	if err != nil {
		// Without the end record postdrop removes the file.
		in.Close()
		_ = cmd.Wait()
		return err
	}
	in.Close()
	waitErr := cmd.Wait()
	io.Copy(e.Stderr, &stderr)
	fields := strings.Split(stdout.String(), "\x00")
	status, reason := "", ""
	for i := 0; i+1 < len(fields); i++ {
		switch fields[i] {
		case "status":
			status = fields[i+1]
		case "reason":
			reason = fields[i+1]
		}
	}
	switch {
	case status == "0":
		return nil
	case reason != "":
		return errors.New(reason)
	case waitErr != nil:
		return fmt.Errorf("command \"%s -r\": %w", command, waitErr)
	}
	return fmt.Errorf("command \"%s -r\" did not report success", command)
}

// postdropPath is the postdrop beside this program or, where that has none, in
// command_directory. Postfix's own will do.
func postdropPath(c *config) string {
	if exe, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(exe), "postdrop"); setgid(beside) {
			return beside
		}
	}
	dir, _ := c.View(nil).Value("command_directory")
	return filepath.Join(dir, "postdrop")
}

// setgid tells whether a program runs with the rights of its group.
func setgid(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&os.ModeSetgid != 0
}

// fillPipe writes the records of a message.
func fillPipe(in io.Writer, env *maildrop.Envelope, fill func(dropWriter) error) error {
	enc, err := maildrop.NewEncoder(in, env)
	if err != nil {
		return err
	}
	if err := fill(enc); err != nil {
		return err
	}
	if err := enc.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
