package event

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// file is a log file; reopen follows a rotation.
type file struct {
	open func() (*os.File, error)
	f    *os.File
}

// openFile opens the log file of the options.
func openFile(opt LogOptions) (*file, error) {
	o := &file{open: opt.Open}
	if o.open == nil {
		o.open = func() (*os.File, error) { return OpenLogFile(opt.File, opt.Mode) }
	}
	return o, o.reopen()
}

// OpenLogFile opens a log file for appending, creating it with mode (0 means
// 0600) when absent.
func OpenLogFile(path string, mode os.FileMode) (*os.File, error) {
	if mode == 0 {
		mode = 0o600
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, mode)
}

func (o *file) write(lines []byte) error {
	if o.f == nil {
		if err := o.reopen(); err != nil {
			return err
		}
	}
	_, err := o.f.Write(lines)
	return err
}

func (o *file) reopen() error {
	f, err := o.open()
	if err != nil {
		return err
	}
	if o.f != nil {
		o.f.Close()
	}
	o.f = f
	return nil
}

func (o *file) close() error {
	if o.f == nil {
		return nil
	}
	return o.f.Close()
}

// stream is the standard output.
type stream struct{ w io.Writer }

func (o stream) write(lines []byte) error { _, err := o.w.Write(lines); return err }
func (o stream) reopen() error            { return nil }
func (o stream) close() error             { return nil }

// syslogTimeout bounds one datagram to syslogd; a full socket buffer means
// that syslogd hangs.
const syslogTimeout = time.Second

// syslog sends lines to syslogd over its datagram socket (RFC 3164).
type syslog struct {
	path string
	conn *net.UnixConn
}

// newSyslog returns an output that connects at the first line.
func newSyslog(path string) *syslog {
	if path == "" {
		path = "/dev/log"
	}
	return &syslog{path: path}
}

func (o *syslog) write(lines []byte) error {
	for len(lines) > 0 {
		line, rest, _ := bytes.Cut(lines, []byte{'\n'})
		if err := o.send(line); err != nil {
			return err
		}
		lines = rest
	}
	return nil
}

// send sends one line, connecting again once when syslogd was restarted.
func (o *syslog) send(line []byte) error {
	var err error
	for range 2 {
		if o.conn == nil {
			if o.conn, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: o.path, Net: "unixgram"}); err != nil {
				return err
			}
		}
		o.conn.SetWriteDeadline(time.Now().Add(syslogTimeout))
		if _, err = o.conn.Write(line); err == nil {
			return nil
		}
		o.conn.Close()
		o.conn = nil
	}
	return err
}

func (o *syslog) reopen() error { return o.close() }

func (o *syslog) close() error {
	if o.conn == nil {
		return nil
	}
	err := o.conn.Close()
	o.conn = nil
	return err
}

// facilities are the names of syslog_facility with their RFC 3164 numbers.
var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7,
	"uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

// facilityCode returns the priority bits of a facility name.
func facilityCode(name string) (int, error) {
	if name == "" {
		name = "mail"
	}
	n, ok := facilities[name]
	if !ok {
		return 0, fmt.Errorf("bad syslog facility: '%s'", name)
	}
	return n << 3, nil
}

// severityInfo is the syslog severity of a line without a severity word.
const severityInfo = 6

// severityCode is the syslog severity of a text, by the word it begins with.
func severityCode(text []byte) int {
	word, _, found := bytes.Cut(text[:min(len(text), 16)], []byte(": "))
	if !found {
		return severityInfo
	}
	switch string(word) {
	case "warning":
		return 4
	case "error":
		return 3
	case "fatal", "panic":
		return 2
	}
	return severityInfo
}
