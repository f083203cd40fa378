package privdeliver

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// Kind is what a request asks for.
type Kind uint8

// The kinds of requests.
const (
	// Maildir writes a file in the Maildir Path, Mbox appends to the file Path.
	Maildir Kind = iota
	Mbox
	// Command runs Argv with the message as input.
	Command
	// Read returns the beginning of the file Path, for .forward and :include:.
	Read
	// Sync makes a Maildir file durable.
	Sync
)

// Request is one thing to do as a user.
type Request struct {
	Kind Kind
	// Path is the Maildir, the mailbox file, or the file to read.
	Path string
	// Name is the name of the Maildir file; with Again it may be there already,
	// in new or cur, from an attempt that was forgotten.
	Name  string
	Again bool
	// Prefix goes before the message, with LF line ends: Return-Path and the like.
	Prefix []byte
	// From is the "From sender date" line of a mailbox file.
	From string
	// Limit bounds a mailbox file, 0 for no limit.
	Limit int64
	// Locks are the lock styles: fcntl, flock, dotlock. Attempts and Delay bound
	// the wait for them, Stale is the age at which a dot lock is ignored.
	Locks    []string
	Attempts int
	Delay    time.Duration
	Stale    time.Duration
	// Argv, Env, Dir and Timeout are for commands.
	Argv, Env []string
	Dir       string
	Timeout   time.Duration
	// Size is the length of the message.
	Size int64
	// Owner and Group are whose mailbox file it is, when that is not the process:
	// 0 for the process's own.
	Owner, Group int
}

// Result is what came of a request.
type Result struct {
	// Class is how it ended, Text why.
	Class Class
	Text  string
	// Output is the beginning of what a command printed or a file holds.
	Output []byte
	// Exit is the exit status of a command, -1 for a signal or a time-out.
	Exit int
	// Unsynced tells that a Maildir file needs a Sync before the message may be
	// forgotten.
	Unsynced bool
	// Device is the file system of an unsynced file.
	Device uint64
}

// Class sorts results.
type Class uint8

// The classes of results.
const (
	OK Class = iota
	// Temporary failures are worth another try.
	Temporary
	// Permission means that the user may not do this.
	Permission
	// Quota means that the mailbox is full.
	Quota
	// NotFound means that the file to read is not there.
	NotFound
	// Failed means that a command ended with a status.
	Failed
)

// maxOutput bounds what is kept of a command's output or of a file.
const maxOutput = 64 << 10

// Do does one request in this process. content is the message with CRLF line
// ends; it may be nil for Read and Sync.
func Do(r *Request, content io.Reader) Result {
	switch r.Kind {
	case Maildir:
		return maildir(r, content)
	case Mbox:
		return mbox(r, content)
	case Command:
		return command(r, content)
	case Read:
		return read(r)
	case Sync:
		return syncMaildir(r)
	}
	return Result{Class: Temporary, Text: "unknown request"}
}

// failure turns an error into a result.
func failure(err error) Result {
	r := Result{Class: Temporary, Text: err.Error()}
	switch {
	case errors.Is(err, os.ErrPermission):
		r.Class = Permission
	case errors.Is(err, os.ErrNotExist):
		r.Class = NotFound
	case errors.Is(err, syscall.EDQUOT):
		r.Class = Quota
	}
	return r
}

// read returns the beginning of a regular file that nobody else can write.
func read(r *Request) Result {
	f, err := os.OpenFile(r.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return failure(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return failure(err)
	}
	if !info.Mode().IsRegular() {
		return Result{Class: Permission, Text: r.Path + ": not a regular file"}
	}
	if info.Mode().Perm()&0o002 != 0 {
		return Result{Class: Permission, Text: r.Path + ": file is world writable"}
	}
	out, err := io.ReadAll(io.LimitReader(f, maxOutput+1))
	if err != nil {
		return failure(err)
	}
	if len(out) > maxOutput {
		return Result{Class: Permission, Text: r.Path + ": file is too large"}
	}
	return Result{Output: out}
}
