package box

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Job is work to be done inside a box. What it returns is handed to the caller
// of Run as JSON.
type Job func(ctx context.Context, b *Box, input json.RawMessage) (any, error)

// Options say how a box is made.
type Options struct {
	// Subject is the mail server of the box.
	Subject Subject
	// Disk puts the private files on the disk below Dir instead of in memory.
	Disk bool
	// Dir is where the box has its mount points; "" is the temporary directory.
	Dir string
	// Trace, when not nil, gets what the box writes to its standard error.
	Trace io.Writer
}

const (
	roleVar = "POSTROAD_BOX_ROLE"
	workVar = "POSTROAD_BOX_WORK"
)

// order is what the outer process hands to the box.
type order struct {
	Job     string
	Subject Subject
	Input   json.RawMessage
}

// outcome is what the box hands back.
type outcome struct {
	Error  string          `json:",omitempty"`
	Result json.RawMessage `json:",omitempty"`
}

// Main plays the box's part when this process was started for a box, and then
// does not return; otherwise it returns at once. Call it first in TestMain or
// main, with every job that Run may name.
func Main(jobs map[string]Job) {
	var err error
	switch os.Getenv(roleVar) {
	case "":
		return
	case "init":
		var code int
		code, err = runInit()
		if err == nil {
			os.Exit(code)
		}
	case "run":
		err = runJob(jobs)
	default:
		err = fmt.Errorf("unknown role %q", os.Getenv(roleVar))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Run makes a box, runs the named job in it and stores its result in result
// (a pointer, or nil). The end of ctx ends the box and every process in it.
func Run(ctx context.Context, opt Options, job string, input, result any) error {
	if os.Geteuid() != 0 {
		return errors.New("a box needs root")
	}
	raw, err := json.Marshal(input)
	if err != nil {
		return err
	}
	spec, err := json.Marshal(order{Job: job, Subject: opt.Subject, Input: raw})
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(opt.Dir, "postroad-box-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	return runOuter(ctx, opt, work, spec, result)
}

// runOuter starts the first process of the box and waits for its result.
func runOuter(ctx context.Context, opt Options, work string, spec []byte, result any) error {
	pr, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	defer pr.Close()
	var trace bytes.Buffer
	var stderr io.Writer = &trace
	if opt.Trace != nil {
		stderr = io.MultiWriter(&trace, opt.Trace)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVar+"=init", workVar+"="+work)
	if opt.Disk {
		cmd.Env = append(cmd.Env, diskVar+"=1")
	}
	cmd.Stdin = bytes.NewReader(spec)
	cmd.Stdout = stderr
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{pw}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		pw.Close()
		return fmt.Errorf("start a box: %w", err)
	}
	pw.Close()
	answer, readErr := io.ReadAll(pr)
	waitErr := cmd.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("box: %w\n%s", ctx.Err(), trace.String())
	}
	var out outcome
	if readErr != nil || json.Unmarshal(answer, &out) != nil {
		return fmt.Errorf("box ended without a result (%v)\n%s", waitErr, trace.String())
	}
	if out.Error != "" {
		return fmt.Errorf("%s\n%s", out.Error, trace.String())
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(out.Result, result)
}

// runJob is the part of the runner: it completes the box, runs the job and
// writes its result to descriptor 3.
func runJob(jobs map[string]Job) error {
	out := os.NewFile(3, "result")
	spec, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var o order
	if err := json.Unmarshal(spec, &o); err != nil {
		return err
	}
	res := outcome{}
	value, err := perform(jobs, o)
	if err == nil {
		res.Result, err = json.Marshal(value)
	}
	if err != nil {
		res.Error = err.Error()
	}
	return json.NewEncoder(out).Encode(res)
}

// perform runs one job in the box that this process is in.
func perform(jobs map[string]Job, o order) (any, error) {
	job, ok := jobs[o.Job]
	if !ok {
		return nil, fmt.Errorf("no job %q", o.Job)
	}
	b := &Box{Dir: filepath.Join(os.Getenv(workVar), "box"), Subject: o.Subject}
	if err := b.open(); err != nil {
		return nil, err
	}
	return job(context.Background(), b, o.Input)
}
