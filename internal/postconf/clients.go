package postconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strings"
	"syscall"

	"postroad/internal/sys"
)

// maxClientFile bounds the size of a client configuration file.
const maxClientFile = 1 << 20

// clientFile is a file with the settings of a database table, such as the one of
// mysql:/etc/postfix/alias.cf.
type clientFile struct{ kind, path string }

// addClient remembers a client configuration file, once.
func (u *Usage) addClient(kind, path string) {
	c := clientFile{kind, path}
	if len(tableSettings(kind)) > 0 && !slices.Contains(u.clients, c) {
		u.clients = append(u.clients, c)
	}
}

// ClientFiles reads the client configuration files of the databases that the
// configuration names, and returns what postconf(1) says about them: one that is
// missing, and settings that the database does not have. One that may not be read
// is passed over, for it may hold a password; and no text that may be one is told.
func (u *Usage) ClientFiles() []Problem {
	var out []Problem
	for _, c := range u.clients {
		problems := c.examine()
		out = append(out, problems...)
		if HasFatal(problems) {
			break
		}
	}
	return out
}

// examine reads one file.
func (c *clientFile) examine() []Problem {
	opened := func(what string) []Problem {
		return []Problem{{Text: fmt.Sprintf("open \"%s\" configuration \"%s\": %s", c.kind, c.path, what)}}
	}
	f, err := os.OpenFile(c.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return opened(sys.Reason(err))
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err == nil && !st.Mode().IsRegular() {
		return opened("not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxClientFile))
	if err != nil {
		return opened(sys.Reason(err))
	}
	return c.unused(data)
}

// unused returns what is wrong with the settings in a file.
func (c *clientFile) unused(data []byte) []Problem {
	var out []Problem
	values := map[string]string{}
	var names []string
	for _, l := range logicalLines(data, func(line int, text string) {
		out = append(out, Problem{Origin: Origin{c.path, line}, Text: "logical line must not start with whitespace: \"" + stray(text) + "\""})
	}) {
		name, value, why := splitNameValue(l.text)
		if why != "" {
			return append(out, Problem{Fatal: true, Origin: Origin{c.path, l.first}, Text: why})
		}
		if _, twice := values[name]; twice {
			out = append(out, Problem{Origin: Origin{c.path, l.first}, Text: "overriding earlier entry: " + name + "=" + hidden(name, value)})
		} else {
			names = append(names, name)
		}
		values[name] = value
	}
	sort.Strings(names)
	known := tableSettings(c.kind)
	for _, name := range names {
		if !slices.Contains(known, name) {
			out = append(out, Problem{Origin: Origin{File: c.path}, Text: "unused parameter: " + name + "=" + hidden(name, values[name])})
		}
	}
	return out
}

// stray returns the beginning of a line that belongs to no setting, or dots when it
// may be a secret.
func stray(text string) string {
	name, value, why := splitNameValue(text)
	if why != "" || hidden(name, value) == dots {
		return dots
	}
	return startOf(text)
}

// dots stand for a secret.
const dots = "..."

// hidden returns a value for a message, or dots when it looks like a secret.
func hidden(name, value string) string {
	for _, word := range [...]string{"pass", "pw", "secret", "uri", "key"} {
		if strings.Contains(strings.ToLower(name), word) {
			return dots
		}
	}
	return oneLine(value)
}
