package privdeliver

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"postroad/internal/sys"
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
	// Named says that an alias or the user named the file Path.
	Named bool
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
	// Form is how a command gets the message.
	Form Form
	// Owner and Group are whose mailbox file it is, when that is not the process:
	// 0 for the process's own.
	Owner, Group int
}

// Result is what came of a request.
type Result struct {
	// Class is how it ended, Text why; Code is the RFC 3463 code of a failure
	// with a mailbox, Warning a remark for the log.
	Class               Class
	Text, Code, Warning string
	// Output is the beginning of what a command printed or a file holds.
	Output []byte
	// UID is the owner of the file that was read.
	UID int
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
	case errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		r.Class = Quota
	}
	return r
}

// read returns the beginning of a regular file that not everybody can write.
func read(r *Request) Result {
	f, openErr := os.OpenFile(r.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	stat := func() (os.FileInfo, error) { return os.Stat(r.Path) }
	if openErr == nil {
		defer func() { _ = f.Close() }()
		stat = f.Stat
	}
	info, err := stat()
	if err != nil {
		return failure(err)
	}
	owner := 0
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	if openErr != nil {
		out := failure(openErr)
		out.UID, out.Text = owner, "cannot open file "+r.Path+": "+sys.Reason(openErr)
		return out
	}
	if !info.Mode().IsRegular() {
		return Result{Class: Permission, UID: owner, Text: "file " + r.Path + " is not a regular file"}
	}
	if info.Mode().Perm()&0o002 != 0 {
		return Result{Class: Permission, UID: owner, Text: "file " + r.Path + " is world writable"}
	}
	out, err := io.ReadAll(io.LimitReader(f, maxOutput+1))
	if err != nil {
		return failure(err)
	}
	if len(out) > maxOutput {
		return Result{Class: Permission, UID: owner, Text: "file " + r.Path + " is too large"}
	}
	return Result{Output: out, UID: owner}
}
