package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"postroad/internal/postconf"
)

// reload reads the configuration again, binds what is new, and lets the worker
// go over to it. An error leaves everything as it was and is logged.
func (m *supervisor) reload() error {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.next(); err != nil {
		m.log.Errorf("reload failed, the old configuration stays in force: %v", err)
		return err
	}
	m.log.Infof("reload -- version %s, configuration %s", m.settings.MailVersion, m.cfg.Dir)
	return nil
}

// next does the work of reload; the caller holds the lock.
func (m *supervisor) next() error {
	cfg, s, err := load(m.opt.Dir, m.log.Warnf)
	if err != nil {
		return err
	}
	if s.QueueDirectory != m.settings.QueueDirectory {
		return fmt.Errorf("queue_directory changed from %s to %s; stop and start instead", m.settings.QueueDirectory, s.QueueDirectory)
	}
	all, err := endpoints(cfg, m.p.Serves)
	if err != nil {
		return err
	}
	set, fresh, err := bind(m.sockets, all)
	if err != nil {
		return err
	}
	owner, err := LookupOwner(&s)
	if err != nil {
		fresh.close()
		return err
	}
	plan, err := m.spawner.prepare(cfg, &s, owner, m.log)
	if err != nil {
		fresh.close()
		return err
	}
	oldCfg, oldSettings := m.cfg, m.settings
	// The worker may ask for files of the new configuration meanwhile.
	m.cfg, m.settings = cfg, s
	if err := m.handOver(fresh); err != nil {
		m.cfg, m.settings = oldCfg, oldSettings
		fresh.close()
		plan.drop()
		return err
	}
	m.spawner.adopt(plan)
	m.sockets.closeExcept(set)
	m.sockets = set
	changeLog(m.file, &s, nil, m.log.Warnf)
	m.p.warnUnserved(cfg, m.log)
	return nil
}

// handOver gives the worker its new sockets and waits until it serves the new
// generation.
func (m *supervisor) handOver(fresh sockets) error {
	w := m.worker
	if err := w.ch.sendSockets(fresh); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), reloadTimeout)
	defer cancel()
	// Files are handed out meanwhile, which needs the lock.
	m.mu.Unlock()
	_, err := w.ch.ask(ctx, &packet{Kind: kindReload})
	m.mu.Lock()
	return err
}

// openFor opens a file for the worker, if the configuration names it. A
// symbolic link is followed, because certificates are kept that way, but only
// a regular file is given out.
func (m *supervisor) openFor(path string) (*os.File, error) {
	m.mu.Lock()
	cfg := m.cfg
	m.mu.Unlock()
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return nil, errors.New("not an absolute path")
	}
	if !names(words(cfg), path) {
		return nil, errors.New("the configuration does not name this file")
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errors.New("not a regular file")
	}
	return f, nil
}

// words are the items of every value that is set in main.cf or master.cf.
func words(cfg *postconf.Config) []string {
	var all []string
	add := func(v *postconf.View, name, written string) {
		value, err := v.Value(name)
		if err != nil {
			value = written
		}
		items := postconf.SplitList(value)
		all = append(all, items...)
		if name == "tls_server_sni_maps" {
			all = append(all, keyTables(items)...)
		}
	}
	main := cfg.View(nil)
	for _, name := range cfg.Main.Names() {
		if s, ok := cfg.Main.Lookup(name); ok {
			add(main, name, s.Value)
		}
	}
	for _, svc := range cfg.Active() {
		view := cfg.View(svc)
		for _, o := range svc.Overrides {
			add(view, o.Name, o.Value)
		}
	}
	return all
}

// maxKeyTable bounds a table of certificates.
const maxKeyTable = 1 << 20

// keyTables are the words of the text files among tables whose values name files
// of keys. A file that others than its owner, who is root or this user, may write
// says nothing: it would else choose what is read with our rights.
func keyTables(specs []string) []string {
	var all []string
	for _, spec := range specs {
		_, path, _ := strings.Cut(spec, ":")
		if !filepath.IsAbs(path) {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err != nil {
			continue // whoever looks a name up says so
		}
		st, err := f.Stat()
		if err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o022 == 0 && ownedByUs(st) {
			if text, err := io.ReadAll(io.LimitReader(f, maxKeyTable)); err == nil {
				all = append(all, strings.FieldsFunc(string(text), isSeparator)...)
			}
		}
		f.Close()
	}
	return all
}

func ownedByUs(st os.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && (sys.Uid == 0 || int(sys.Uid) == os.Geteuid())
}

// names tells whether one of the words of the configuration is the path, alone,
// as the value of an inline table, or behind table types ("hash:/path", "proxy:mysql:/path", or several in
// "pipemap:{hash:/path, hash:/other}"), or the text file that the path is the
// index of.
func names(words []string, path string) bool {
	for _, word := range words {
		for _, w := range strings.FieldsFunc(word, isSeparator) {
			if at := strings.LastIndex(w, ":/"); at >= 0 {
				w = w[at+1:]
			}
			if _, value, ok := strings.Cut(w, "=/"); w == path || ok && "/"+value == path {
				return true
			}
			for _, suffix := range []string{".db", ".lmdb", ".cdb"} {
				if w+suffix == path {
					return true
				}
			}
		}
	}
	return false
}

// isSeparator tells what parts the members of a word in braces.
func isSeparator(r rune) bool { return strings.ContainsRune("{}, \t\r\n", r) }
