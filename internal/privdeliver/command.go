package privdeliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"postroad/internal/sys"
)

// command runs a program with the message as its input, within a time limit that
// holds for the whole process group.
func command(r *Request, content io.Reader) Result {
	if len(r.Argv) == 0 {
		return Result{Class: Temporary, Text: "no command"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.Argv[0], r.Argv[1:]...)
	cmd.Env, cmd.Dir = r.Env, r.Dir
	out := &head{max: maxOutput}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return failure(err)
	}
	if err := cmd.Start(); err != nil {
		return notRun(r, err)
	}
	// A command need not read its input to the end; a broken pipe is no failure.
	_, _ = io.WriteString(in, r.From+string(r.Prefix))
	_ = copyText(in, content, r.Size, &r.Form)
	_ = in.Close()
	return commandResult(ctx, cmd.Wait(), out.Bytes())
}

// NotRun begins the warning about a command that could not be started.
const NotRun = "execvp "

// notRun is the answer for a command that could not be started: try again.
func notRun(r *Request, err error) Result {
	out := Result{Class: Failed, Exit: tempFail}
	if info, serr := os.Stat(r.Dir); r.Dir != "" && (serr != nil || !info.IsDir()) {
		if serr == nil {
			serr = syscall.ENOTDIR
		}
		out.Warning = fmt.Sprintf("cannot change directory to %q for uid=%d gid=%d: %s", r.Dir, os.Geteuid(), os.Getegid(), sys.Reason(serr))
		return out
	}
	var failed *exec.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	if errors.Is(err, exec.ErrNotFound) {
		err = syscall.ENOENT
	}
	out.Warning = NotRun + r.Argv[0] + ": " + sys.Reason(err)
	return out
}

// TimeOut is the text for a command that took too long.
const TimeOut = "Command time limit exceeded"

// tempFail is EX_TEMPFAIL of sysexits(3).
const tempFail = 75

func commandResult(ctx context.Context, err error, output []byte) Result {
	r := Result{Output: output}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return r
	case ctx.Err() != nil:
		return Result{Class: Failed, Exit: -1, Output: output, Text: TimeOut}
	case errors.As(err, &exit):
		r.Class, r.Exit = Failed, exit.ExitCode()
		if r.Exit < 0 {
			if st, ok := exit.Sys().(syscall.WaitStatus); ok {
				r.Text = fmt.Sprintf("Command died with signal %d", st.Signal())
			}
		}
		return r
	}
	return failure(err)
}

// head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	max int
}

// Write implements io.Writer; it never fails, so that the command goes on.
func (h *head) Write(p []byte) (int, error) {
	if room := h.max - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
