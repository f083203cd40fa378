package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// LogOptions say where the mail log goes.
type LogOptions struct {
	// File is maillog_file: a path, "/dev/stdout", or empty for syslog.
	File string
	// Mode is maillog_file_permissions; 0 means 0600.
	Mode os.FileMode
	// Facility is syslog_facility; empty means mail.
	Facility string
	// Socket is where syslogd listens; empty means /dev/log.
	Socket string
	// Hostname is printed in lines of a file; only its first label is used.
	Hostname string
	// Location is the time zone; nil means the local one.
	Location *time.Location
	// Metrics, when set, counts the events.
	Metrics *Metrics
	// Open, when set, opens the file at start and at every Reopen; it is for a
	// process that may not do so itself.
	Open func() (*os.File, error)
	// Stdout replaces the standard output, for tests.
	Stdout io.Writer
}

// Bounds of the log buffer: a flush starts logDelay after the first line or at
// logFull bytes; beyond logMax bytes lines are dropped.
const (
	logDelay = 50 * time.Millisecond
	logFull  = 64 << 10
	logMax   = 8 << 20
)

// Log is the Sink of production. Write appends to a buffer; one goroutine
// flushes it to the file, the standard output or syslogd.
type Log struct {
	opt      LogOptions
	host     string
	syslog   bool
	facility int

	mu     sync.Mutex
	buf    []byte
	spare  []byte
	sec    int64
	stamp  []byte
	lost   int64
	closed bool

	wake, full chan struct{}
	flush      chan chan error
	reopen     chan chan error
	done       chan struct{}
	out        output
	subs       subscribers
	lines      atomic.Int64
}

// output is a destination of log lines; only the flushing goroutine uses it.
type output interface {
	// write takes whole lines.
	write(lines []byte) error
	reopen() error
	close() error
}

// OpenLog opens the mail log and starts its writer.
func OpenLog(opt LogOptions) (*Log, error) {
	l := &Log{
		opt: opt, wake: make(chan struct{}, 1), full: make(chan struct{}, 1),
		flush: make(chan chan error), reopen: make(chan chan error), done: make(chan struct{}),
		sec: -1,
	}
	l.host, _, _ = strings.Cut(opt.Hostname, ".")
	if l.host == "" {
		l.host = "localhost"
	}
	if l.opt.Location == nil {
		l.opt.Location = time.Local
	}
	var err error
	switch opt.File {
	case "":
		l.syslog = true
		if l.facility, err = facilityCode(opt.Facility); err != nil {
			return nil, err
		}
		l.out = newSyslog(opt.Socket)
	case "/dev/stdout":
		w := opt.Stdout
		if w == nil {
			w = os.Stdout
		}
		l.out = stream{w}
	default:
		if l.out, err = openFile(opt); err != nil {
			return nil, err
		}
	}
	// goroutine: the writer; ends at Close.
	go l.run()
	return l, nil
}

// CheckLogFile tells whether maillog_file lies under one of
// maillog_file_prefixes.
func CheckLogFile(file string, prefixes []string) error {
	if file == "" {
		return nil
	}
	for _, prefix := range prefixes {
		if strings.HasPrefix(file, prefix) && (len(file) == len(prefix) ||
			strings.HasSuffix(prefix, "/") || file[len(prefix)] == '/') && filepath.Clean(file) == file {
			return nil
		}
	}
	return fmt.Errorf("maillog_file value '%s' does not match any prefix in maillog_file_prefixes", file)
}

// Write implements Sink. It never waits for the log.
func (l *Log) Write(when time.Time, tag string, pid int, e Event) {
	if c, ok := e.(Counter); ok && l.opt.Metrics != nil {
		c.Count(l.opt.Metrics)
	}
	l.mu.Lock()
	if l.closed || len(l.buf) > logMax {
		l.lost++
		l.mu.Unlock()
		if l.opt.Metrics != nil {
			l.opt.Metrics.LogLost.Inc()
		}
		return
	}
	start := len(l.buf)
	l.buf = l.appendHead(l.buf, when, e)
	l.buf = AppendInt(append(append(l.buf, tag...), '['), pid)
	l.buf = append(l.buf, "]: "...)
	text := len(l.buf)
	l.buf = append(e.AppendText(l.buf), '\n')
	var line Line
	if l.subs.any() {
		line = Line{When: when, Tag: tag, PID: pid, Text: string(l.buf[text : len(l.buf)-1]), Event: e}
	}
	full := len(l.buf) >= logFull
	l.mu.Unlock()
	if line.Tag != "" {
		l.subs.send(line)
	}
	if start == 0 {
		poke(l.wake)
	}
	if full {
		poke(l.full)
	}
}

// appendHead appends what precedes the tag: the time and host of a file, or
// priority and time of syslog.
func (l *Log) appendHead(dst []byte, when time.Time, e Event) []byte {
	if l.syslog {
		dst = AppendInt(append(dst, '<'), l.facility|severityCode(e))
		dst = append(dst, '>')
	}
	if sec := when.Unix(); sec != l.sec {
		// The syslog form pads the day with a blank, Postfix's own log with a zero.
		layout := "Jan 02 15:04:05 "
		if l.syslog {
			layout = "Jan _2 15:04:05 "
		}
		l.sec = sec
		l.stamp = when.In(l.opt.Location).AppendFormat(l.stamp[:0], layout)
	}
	dst = append(dst, l.stamp...)
	if !l.syslog {
		dst = append(append(dst, l.host...), ' ')
	}
	return dst
}

// poke wakes the receiver of c unless a wake-up is already waiting.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run flushes the buffer until Close.
func (l *Log) run() {
	defer close(l.done)
	var due <-chan time.Time
	for {
		select {
		case <-l.wake:
			if due == nil {
				due = time.After(logDelay)
			}
			continue
		case <-due:
		case <-l.full:
		case reply := <-l.flush:
			reply <- l.drain()
			due = nil
			if l.isClosed() {
				return
			}
			continue
		case reply := <-l.reopen:
			err := l.drain()
			reply <- errors.Join(err, l.out.reopen())
			due = nil
			continue
		}
		due = nil
		// The error is told by the count of lost lines, in the log itself.
		_ = l.drain()
	}
}

// drain writes what is in the buffer. Lines that cannot be written are counted
// and reported by the next line that can.
func (l *Log) drain() error {
	l.mu.Lock()
	data, lost := l.buf, l.lost
	l.buf, l.spare, l.lost = l.spare[:0], nil, 0
	l.mu.Unlock()
	var err error
	if lost > 0 {
		notice := l.lostLine(lost)
		err = l.out.write(notice)
	}
	if err == nil && len(data) > 0 {
		err = l.out.write(data)
	}
	l.mu.Lock()
	if err != nil {
		n := int64(bytes.Count(data, []byte{'\n'}))
		l.lost += lost + n
		if l.opt.Metrics != nil {
			l.opt.Metrics.LogLost.Add(float64(n))
		}
	}
	if cap(data) <= 4*logFull {
		l.spare = data[:0]
	}
	l.mu.Unlock()
	return err
}

// lostLine is the line that says how many lines are missing.
func (l *Log) lostLine(n int64) []byte {
	e := Notice{Severity: "warning", Text: fmt.Sprintf("%d lines of the mail log were lost", n)}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := append(l.appendHead(nil, time.Now(), e), "postfix/postlogd["...)
	b = append(AppendInt(b, os.Getpid()), "]: "...)
	return append(e.AppendText(b), '\n')
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Flush writes everything that was logged so far and waits for it.
func (l *Log) Flush() error { return l.ask(l.flush) }

// Reopen opens the file again under its name, after a rotation.
func (l *Log) Reopen() error { return l.ask(l.reopen) }

// ask hands a request to the writer and waits for its answer.
func (l *Log) ask(c chan chan error) error {
	reply := make(chan error, 1)
	select {
	case c <- reply:
		return <-reply
	case <-l.done:
		return nil
	}
}

// Close flushes the log and ends the writer. Lines written later are dropped.
func (l *Log) Close() error {
	l.mu.Lock()
	already := l.closed
	l.closed = true
	l.mu.Unlock()
	if already {
		return nil
	}
	err := l.Flush()
	<-l.done
	l.subs.closeAll()
	return errors.Join(err, l.out.close())
}
