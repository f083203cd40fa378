package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postroad/internal/table"
)

// indexMode is the mode of an indexed file before that of its source is
// looked at.
const indexMode = 0o644

// mapBuilder collects the entries of a table.
type mapBuilder struct {
	*mapTool
	title   string
	entries []table.Entry
	byKey   map[string]int
}

// newBuilder returns a builder that begins with what the table has already.
func (m *mapTool) newBuilder(title string, old []table.Entry) *mapBuilder {
	b := &mapBuilder{mapTool: m, title: title, byKey: make(map[string]int)}
	for _, e := range old {
		b.set(e)
	}
	return b
}

// set puts an entry in, in place of one with the same key.
func (b *mapBuilder) set(e table.Entry) {
	if i, ok := b.byKey[e.Key]; ok {
		b.entries[i] = e
		return
	}
	b.byKey[e.Key] = len(b.entries)
	b.entries = append(b.entries, e)
}

// add puts an entry of the source in, minding what -r, -w or neither say about
// a key that is there already.
func (b *mapBuilder) add(e table.Entry) {
	if !b.keepCase {
		e.Key = table.Fold(e.Key, b.utf8())
	}
	e.Bare = b.bare
	if _, exists := b.byKey[e.Key]; exists && !b.replace {
		if !b.ignore {
			b.Warnf("%s: duplicate entry: \"%s\"", b.title, e.Key)
		}
		return
	}
	b.set(e)
}

// build makes or extends one table.
func (m *mapTool) build(name string) error {
	typ, path := m.split(name)
	text, source, label := "", fs.FileInfo(nil), path
	var err error
	if m.incremental {
		label = "stdin"
		var data []byte
		if data, err = io.ReadAll(m.Stdin); err != nil {
			return fmt.Errorf("read standard input: %w", table.Reason(err))
		}
		text = string(data)
		if typ == "memcache" {
			return m.store(name, text)
		}
	} else if text, source, err = m.openSource(path); err != nil {
		return err
	}
	edit := table.EditFile
	if m.incremental {
		edit = table.ExtendFile
	}
	f, err := edit(typ, path)
	if err != nil {
		return err
	}
	defer f.Close()
	var old []table.Entry
	if m.incremental {
		if old, err = f.Entries(); err != nil {
			return err
		}
	}
	b := m.newBuilder(table.Title(typ, path), old)
	options := table.SourceOptions{Name: label, UTF8: m.utf8(), Alias: m.alias, Warn: m.Warnf}
	table.ParseSource(text, options, func(e table.Entry, line int) {
		if m.files {
			var err error
			if e.Value, err = encodeFiles(e.Value); err != nil {
				m.Warnf("%s, line %d: %v: skipping this entry", label, line, err)
				return
			}
		}
		b.add(e)
	})
	if m.alias {
		b.sign()
	}
	return f.Write(b.entries, m.mode(f, source))
}

// sign adds the entries by which NIS and sendmail know an alias file.
func (b *mapBuilder) sign() {
	b.set(table.Entry{Key: "YP_LAST_MODIFIED", Value: strconv.FormatInt(time.Now().Unix(), 10), Bare: true})
	b.set(table.Entry{Key: "YP_MASTER_NAME", Value: b.settings.Hostname, Bare: true})
	b.set(table.Entry{Key: "@", Value: "@", Bare: b.bare})
}

// mode decides owner and mode of an indexed file: those of the file that it
// replaces, or else those of its source. Postfix changes to the owner of the
// source for the whole run; we need not, because the new file is made by an
// exclusive create and a rename.
func (m *mapTool) mode(f interface{ Inherited() (fs.FileInfo, bool) }, source fs.FileInfo) table.WriteOptions {
	o := table.WriteOptions{Mode: indexMode}
	owner := source
	if old, ok := f.Inherited(); ok {
		o.Mode, owner = old.Mode().Perm(), old
	} else if source != nil && !m.plainMode {
		o.Mode &= source.Mode().Perm()
	}
	if owner == nil || m.EUID != 0 || m.keepOwner && owner == source {
		return o
	}
	if st, ok := owner.Sys().(*syscall.Stat_t); ok {
		o.UID, o.GID, o.ChangeOwner = int(st.Uid), int(st.Gid), true
	}
	return o
}

// encodeFiles returns the files that a value lists, in base64.
func encodeFiles(value string) (string, error) {
	var parts []string
	for _, name := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("open %s: %w", name, table.Reason(err))
		}
		parts = append(parts, string(data))
	}
	return base64.StdEncoding.EncodeToString([]byte(strings.Join(parts, "\n"))), nil
}

// removeKeys is -d: one key from the first table that has it, or each key of
// the standard input from all tables.
func (m *mapTool) removeKeys(names []string) (int, error) {
	keys, all := []string{m.remove}, m.remove == "-"
	if all {
		keys = nil
		if err := m.eachLine(func(line string) error { keys = append(keys, line); return nil }); err != nil {
			return 1, err
		}
	}
	code := 1
	for _, name := range names {
		found, err := m.removeFrom(name, keys)
		if err != nil {
			return 1, err
		}
		if found {
			code = 0
		}
		if found && !all {
			break
		}
	}
	return code, nil
}

// removeFrom deletes keys from one table and tells whether it had one.
func (m *mapTool) removeFrom(name string, keys []string) (bool, error) {
	typ, path := m.split(name)
	if typ == "memcache" {
		return m.unstore(name, keys)
	}
	f, err := table.ExtendFile(typ, path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := f.Undeletable(); err != nil {
		return false, err
	}
	if _, ok := f.Exists(); !ok {
		return false, fmt.Errorf("open database %s: %w", table.IndexName(typ, path), table.Reason(fs.ErrNotExist))
	}
	entries, err := f.Entries()
	if err != nil {
		return false, err
	}
	gone := make(map[string]bool, len(keys))
	for _, key := range keys {
		if !m.keepCase {
			key = table.Fold(key, m.utf8())
		}
		gone[key] = true
	}
	var left []table.Entry
	for _, e := range entries {
		if !gone[e.Key] {
			left = append(left, e)
		}
	}
	if len(left) == len(entries) {
		return false, nil
	}
	return true, f.Write(left, m.mode(f, nil))
}
