package master

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"postroad/internal/event"
)

// Owner is the account that the worker runs as.
type Owner struct{ UID, GID, SetgidGroup int }

// LookupOwner resolves mail_owner and setgid_group. The owner must not be root.
func LookupOwner(s *Settings) (*Owner, error) {
	u, err := user.Lookup(s.MailOwner)
	if err != nil {
		return nil, fmt.Errorf("mail_owner: unknown user name value: \"%s\"", s.MailOwner)
	}
	g, err := user.LookupGroup(s.SetgidGroup)
	if err != nil {
		return nil, fmt.Errorf("setgid_group: unknown group name: \"%s\"", s.SetgidGroup)
	}
	o := new(Owner)
	for _, n := range []struct {
		to   *int
		text string
	}{{&o.UID, u.Uid}, {&o.GID, u.Gid}, {&o.SetgidGroup, g.Gid}} {
		if *n.to, err = strconv.Atoi(n.text); err != nil {
			return nil, err
		}
	}
	if o.UID == 0 {
		return nil, fmt.Errorf("mail_owner: user \"%s\" has privileged user ID", s.MailOwner)
	}
	return o, nil
}

// dir is one directory below the queue directory.
type dir struct {
	name string
	mode os.FileMode
	// owned tells that mail_owner owns it, group that setgid_group does.
	owned, group bool
}

// queueDirs are the directories of Postfix's spool that we use.
func queueDirs(extra []string) []dir {
	dirs := []dir{
		{"pid", 0o755, false, false},
		{"private", 0o700, true, false},
		{"public", 0o710, true, true},
		{"maildrop", 0o730, true, true},
	}
	for _, name := range extra {
		dirs = append(dirs, dir{name, 0o700, true, false})
	}
	return dirs
}

// makeDirs creates the missing directories. owner is nil when everything
// belongs to the caller. Existing directories are left as they are.
func makeDirs(s *Settings, extra []string, owner *Owner) error {
	if err := os.MkdirAll(s.QueueDirectory, 0o755); err != nil {
		return err
	}
	for _, d := range queueDirs(extra) {
		uid, gid := -1, -1
		if owner != nil && d.owned {
			uid = owner.UID
		}
		if owner != nil && d.group {
			gid = owner.SetgidGroup
		}
		if err := makeDir(filepath.Join(s.QueueDirectory, d.name), d.mode, uid, gid); err != nil {
			return err
		}
	}
	uid := -1
	if owner != nil {
		uid = owner.UID
	}
	if err := os.MkdirAll(filepath.Dir(s.DataDirectory), 0o755); err != nil {
		return err
	}
	return makeDir(s.DataDirectory, 0o700, uid, -1)
}

// makeDir creates one directory and sets its owner; -1 leaves an id alone.
func makeDir(path string, mode os.FileMode, uid, gid int) error {
	err := os.Mkdir(path, 0o700)
	if os.IsExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	// Mkdir obeys the umask, chmod does not; chown first, because it clears bits.
	if uid >= 0 || gid >= 0 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// MakeDirs creates the missing directories of the configuration: what "postfix
// check" and "postfix start" do first.
func (p *Program) MakeDirs(s *Settings) error {
	var owner *Owner
	if os.Geteuid() == 0 {
		var err error
		if owner, err = LookupOwner(s); err != nil {
			return err
		}
	}
	return makeDirs(s, p.QueueDirs, owner)
}

// logOptions says where the settings want the mail log. open, when not nil,
// opens the log file for a process that may not do it itself.
func logOptions(s *Settings, open func() (*os.File, error)) (event.LogOptions, error) {
	if f := s.AddressFormat; f != "external" && f != "internal" {
		return event.LogOptions{}, fmt.Errorf("invalid parameter setting \"info_log_address_format = %s\"", f)
	}
	return event.LogOptions{
		Internal: s.AddressFormat == "internal",
		File:     s.MaillogFile, Mode: s.LogMode(), Facility: s.SyslogFacility, Hostname: s.Myhostname, Open: open,
	}, event.CheckLogFile(s.MaillogFile, s.MaillogFilePrefixes)
}

// openLog opens the mail log.
func openLog(s *Settings, m *event.Metrics, open func() (*os.File, error)) (*event.Log, error) {
	opt, err := logOptions(s, open)
	if err != nil {
		return nil, err
	}
	opt.Metrics = m
	return event.OpenLog(opt)
}

// changeLog goes over to the log of new settings; a file is opened again, which
// is what a rotation needs. Without success the old log stays.
func changeLog(log *event.Log, s *Settings, open func() (*os.File, error), warn func(string, ...any)) {
	opt, err := logOptions(s, open)
	if err == nil {
		err = log.Change(opt)
	}
	if err != nil {
		warn("cannot change the mail log: %v", err)
	}
}
