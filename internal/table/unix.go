package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// userDB is unix:passwd.byname or unix:group.byname. It follows the system's
// user database as getpwnam(3) does: the file is read again when it changes,
// and when nsswitch.conf names a source beyond files (sssd, LDAP), getent(1)
// is asked for names that the file does not have.
type userDB struct {
	name     string
	database string
	file     string
	// external tells that there are other sources than the file.
	external bool
	// command is getent(1).
	command  string
	snapshot atomic.Pointer[userSnapshot]
	// slots bounds the getent processes that run at a time.
	slots chan struct{}
}

// userSnapshot is the file as it was last read.
type userSnapshot struct {
	modified time.Time
	size     int64
	lines    map[string]string
}

// Limits of getent.
const (
	maxGetent     = 8
	getentTimeout = 30 * time.Second
	// getentNotFound is getent's exit status for a name it does not know.
	getentNotFound = 2
)

// openUnix opens unix:passwd.byname and unix:group.byname.
func openUnix(name string, _ *Options) (Table, error) {
	return openUserDB(name, "/etc")
}

// openUserDB is openUnix with the files in another directory.
func openUserDB(name, dir string) (Table, error) {
	database, found := strings.CutSuffix(name, ".byname")
	if !found || database != "passwd" && database != "group" {
		return nil, fmt.Errorf("unknown table: unix:%s", name)
	}
	u := &userDB{name: "unix:" + name, database: database, file: dir + "/" + database, command: "getent", slots: make(chan struct{}, maxGetent)}
	if text, _, err := new(Options).readText(dir + "/nsswitch.conf"); err == nil {
		u.external = externalSource(text, database)
	}
	return u, nil
}

// externalSource tells whether nsswitch.conf names a source for the database
// that is not one of the local files. systemd's names are those of services.
func externalSource(text, database string) bool {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		name, sources, found := strings.Cut(line, ":")
		if !found || trimSpace(name) != database {
			continue
		}
		for _, source := range strings.Fields(sources) {
			if source[0] != '[' && source != "files" && source != "compat" && source != "systemd" {
				return true
			}
		}
	}
	return false
}

// Lookup implements Table.
func (u *userDB) Lookup(ctx context.Context, key string) (string, bool, error) {
	if strings.ContainsAny(key, ":\n\x00") {
		return "", false, nil
	}
	s, err := u.read()
	if err != nil {
		return "", false, err
	}
	if line, ok := s.lines[key]; ok || !u.external {
		return line, ok, nil
	}
	return u.getent(ctx, key)
}

// read returns the file, from memory when it has not changed.
func (u *userDB) read() (*userSnapshot, error) {
	info, err := os.Stat(u.file)
	if err != nil {
		return nil, err
	}
	old := u.snapshot.Load()
	if old != nil && old.modified.Equal(info.ModTime()) && old.size == info.Size() {
		return old, nil
	}
	text, _, err := new(Options).readText(u.file)
	if err != nil {
		return nil, err
	}
	s := &userSnapshot{modified: info.ModTime(), size: info.Size(), lines: make(map[string]string)}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		name, _, found := strings.Cut(line, ":")
		if found && name != "" && name[0] != '+' && name[0] != '-' && name[0] != '#' && s.lines[name] == "" {
			s.lines[name] = line
		}
	}
	u.snapshot.Store(s)
	return s, nil
}

// getent asks the other sources.
func (u *userDB) getent(ctx context.Context, key string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, getentTimeout)
	defer cancel()
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
	// "--" keeps a key that begins with "-" from being an option.
	out, err := exec.CommandContext(ctx, u.command, u.database, "--", key).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == getentNotFound {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("getent %s: %w", u.database, err)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	// A number is looked up as an id by getent; that is not the name asked for.
	if name, _, _ := strings.Cut(string(line), ":"); !strings.EqualFold(name, key) {
		return "", false, nil
	}
	return string(line), len(line) > 0, nil
}

// Kind implements Table.
func (u *userDB) Kind() Kind { return Fixed }

// String implements Table.
func (u *userDB) String() string { return u.name }

// Close implements Table.
func (u *userDB) Close() error { return nil }
