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
	// Internal shows addresses as they are, and not quoted as in a message
	// (info_log_address_format).
	Internal bool
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
	metrics *Metrics

	mu     sync.Mutex
	form   form
	buf    []byte
	spare  []byte
	sec    int64
	stamp  []byte
	lost   int64
	closed bool

	wake, full chan struct{}
	flush      chan chan error
	end        chan struct{}
	change     chan change
	done       chan struct{}
	out        output // of the writer alone
	last       error  // of the last drain, set before done is closed
	subs       subscribers
}

// form is how lines look and where syslogd files them.
type form struct {
	host     string
	location *time.Location
	syslog   bool
	facility int
	internal bool
}

// change is a request to the writer: another destination, or to open the same
// one again when out is nil.
type change struct {
	form  form
	out   output
	reply chan error
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
		metrics: opt.Metrics, wake: make(chan struct{}, 1), full: make(chan struct{}, 1),
		flush: make(chan chan error), end: make(chan struct{}), change: make(chan change), done: make(chan struct{}),
		sec: -1,
	}
	f, out, err := opt.open()
	if err != nil {
		return nil, err
	}
	l.form, l.out = f, out
	// goroutine: the writer; ends at Close.
	go l.run()
	return l, nil
}

// open opens the destination and decides the form of the lines.
func (opt *LogOptions) open() (form, output, error) {
	f := form{location: opt.Location, internal: opt.Internal}
	f.host, _, _ = strings.Cut(opt.Hostname, ".")
	if f.host == "" {
		f.host = "localhost"
	}
	if f.location == nil {
		f.location = time.Local
	}
	switch opt.File {
	case "":
		var err error
		f.syslog = true
		if f.facility, err = facilityCode(opt.Facility); err != nil {
			return form{}, nil, err
		}
		return f, newSyslog(opt.Socket), nil
	case "/dev/stdout":
		if opt.Stdout == nil {
			return f, stream{os.Stdout}, nil
		}
		return f, stream{opt.Stdout}, nil
	}
	out, err := openFile(*opt)
	if err != nil {
		return form{}, nil, err
	}
	return f, out, nil
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
	if c, ok := e.(Counter); ok && l.metrics != nil {
		c.Count(l.metrics)
	}
	if u, ok := e.(Unlogged); ok && !u.Logged() {
		return
	}
	l.mu.Lock()
	if l.closed || len(l.buf) > logMax {
		l.lost++
		l.mu.Unlock()
		if l.metrics != nil {
			l.metrics.LogLost.Inc()
		}
		return
	}
	start := len(l.buf)
	var text int
	l.buf, text = l.appendLine(l.buf, when, tag, pid, e)
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

// appendLine appends a whole line and returns where its text begins.
func (l *Log) appendLine(dst []byte, when time.Time, tag string, pid int, e Event) ([]byte, int) {
	priority := len(dst) + 1
	dst = l.appendHead(dst, when)
	dst = AppendInt(append(append(dst, tag...), '['), pid)
	dst = append(dst, "]: "...)
	text := len(dst)
	dst = e.AppendText(dst)
	if l.form.internal {
		dst = unquote(dst, text)
	}
	if code := severityCode(dst[text:]); l.form.syslog && code != severityInfo {
		// The severity shows in the text only. In its place: no facility has
		// severities of different widths.
		AppendInt(dst[:priority], l.form.facility|code)
	}
	return append(dst, '\n'), text
}

// appendHead appends what precedes the tag: the time and host of a file, or
// priority and time of syslog.
func (l *Log) appendHead(dst []byte, when time.Time) []byte {
	if l.form.syslog {
		dst = AppendInt(append(dst, '<'), l.form.facility|severityInfo)
		dst = append(dst, '>')
	}
	if sec := when.Unix(); sec != l.sec {
		// The syslog form pads the day with a blank, Postfix's own log with a zero.
		layout := "Jan 02 15:04:05 "
		if l.form.syslog {
			layout = "Jan _2 15:04:05 "
		}
		l.sec = sec
		l.stamp = when.In(l.form.location).AppendFormat(l.stamp[:0], layout)
	}
	dst = append(dst, l.stamp...)
	if !l.form.syslog {
		dst = append(append(dst, l.form.host...), ' ')
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
			continue
		case <-l.end:
			l.last = l.drain()
			return
		case c := <-l.change:
			c.reply <- errors.Join(l.drain(), l.changeTo(c))
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
		if l.metrics != nil {
			l.metrics.LogLost.Add(float64(n))
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
	b, _ := l.appendLine(nil, time.Now(), "postfix/postlogd", os.Getpid(), e)
	return b
}

// changeTo does what a change asks for. Lines in the old form still go to the
// old destination.
func (l *Log) changeTo(c change) error {
	if c.out == nil {
		return l.out.reopen()
	}
	l.mu.Lock()
	rest := l.buf
	l.buf, l.form, l.sec = nil, c.form, -1
	l.mu.Unlock()
	var err error
	if len(rest) > 0 {
		err = l.out.write(rest)
	}
	old := l.out
	l.out = c.out
	return errors.Join(err, old.close())
}

// Flush writes everything that was logged so far and waits for it.
func (l *Log) Flush() error {
	reply := make(chan error, 1)
	select {
	case l.flush <- reply:
		return <-reply
	case <-l.done:
		return nil
	}
}

// Reopen opens the file again under its name, after a rotation.
func (l *Log) Reopen() error { return l.ask(change{}) }

// Change goes on with another destination. When it cannot be opened, the old
// one stays. Metrics stay in any case.
func (l *Log) Change(opt LogOptions) error {
	f, out, err := opt.open()
	if err != nil {
		return err
	}
	return l.ask(change{form: f, out: out})
}

// ask hands a change to the writer and waits until it is done.
func (l *Log) ask(c change) error {
	c.reply = make(chan error, 1)
	select {
	case l.change <- c:
		return <-c.reply
	case <-l.done:
		return nil
	}
}

// closeTimeout bounds how long the end of the process waits for the log.
const closeTimeout = 3 * time.Second

// errHung says that the disk or the reader of the log does not take lines.
var errHung = errors.New("the mail log hangs")

// Close flushes the log and ends the writer. Lines written later are dropped.
func (l *Log) Close() error {
	l.mu.Lock()
	already := l.closed
	l.closed = true
	l.mu.Unlock()
	if already {
		return nil
	}
	close(l.end)
	hung := time.NewTimer(closeTimeout)
	defer hung.Stop()
	select {
	case <-l.done:
	case <-hung.C:
		l.subs.closeAll()
		return errHung
	}
	l.subs.closeAll()
	return errors.Join(l.last, l.out.close())
}
