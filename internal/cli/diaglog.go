package cli

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"postroad/internal/control"
	"postroad/internal/event"
)

// LogMode says where the diagnostics of a command go beside the standard error.
// With syslog, every command but those of LogNever logs.
type LogMode uint8

const (
	// LogNever is a command that does not log.
	LogNever LogMode = iota
	// LogByServer hands its lines to the running server, which alone writes to
	// maillog_file. An ordinary user's process cannot reach it, unless it is
	// set-gid; then there are no lines, as in Postfix.
	LogByServer
	// LogAlways writes to maillog_file itself when no server takes the lines.
	LogAlways
	// LogDirect writes to maillog_file itself: what controls the server, or is it.
	LogDirect
)

// diagLog takes diagnostics.
type diagLog interface {
	event.Sink
	Flush() error
	Reopen() error
	Close() error
}

// openLog sends diagnostics to the mail log too. A log that cannot be opened, or
// that is the standard output, is done without.
func (e *Env) openLog(s *Settings) {
	prog := filepath.Base(e.Prog)
	command, _ := Find(prog)
	mode := command.Log
	if e.log != nil || mode == LogNever || s.MaillogFile == "/dev/stdout" && mode != LogByServer ||
		event.CheckLogFile(s.MaillogFile, s.MaillogFilePrefixes) != nil {
		return
	}
	e.tag = s.SyslogName + "/" + prog
	open := func() (diagLog, error) {
		bits, _ := strconv.ParseUint(s.MaillogFilePermissions, 8, 12)
		log, err := event.OpenLog(event.LogOptions{
			File: s.MaillogFile, Mode: os.FileMode(bits), Facility: s.SyslogFacility, Hostname: s.Myhostname,
		})
		if err != nil {
			return nil, err
		}
		return log, nil
	}
	if s.MaillogFile == "" || mode == LogDirect {
		if log, err := open(); err == nil {
			e.log = log
		}
		return
	}
	remote := &serverLog{client: control.NewClient(s.QueueDirectory)}
	remote.client.Timeout = logTimeout
	if mode == LogAlways {
		remote.fallback = open
	}
	e.log = remote
}

// logTimeout bounds the wait for a server that takes a line.
const logTimeout = 5 * time.Second

// serverLog hands lines to the running server.
type serverLog struct {
	client *control.Client
	// fallback opens another log for when there is no server; nil does without.
	fallback func() (diagLog, error)
	local    diagLog
}

// Write implements event.Sink.
func (l *serverLog) Write(when time.Time, tag string, pid int, e event.Event) {
	if l.local == nil {
		line := control.Line{Tag: tag, PID: pid, Text: string(e.AppendText(nil))}
		err := l.client.Log(context.Background(), line)
		if err == nil || l.fallback == nil {
			return
		}
		if l.local, err = l.fallback(); err != nil {
			l.local, l.fallback = nil, nil
			return
		}
	}
	l.local.Write(when, tag, pid, e)
}

// Flush implements diagLog.
func (l *serverLog) Flush() error {
	if l.local == nil {
		return nil
	}
	return l.local.Flush()
}

// Reopen implements diagLog.
func (l *serverLog) Reopen() error {
	if l.local == nil {
		return nil
	}
	return l.local.Reopen()
}

// Close implements diagLog.
func (l *serverLog) Close() error {
	if l.local == nil {
		return nil
	}
	return l.local.Close()
}
