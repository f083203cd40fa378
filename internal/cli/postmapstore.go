package cli

import (
	"context"
	"fmt"
	"strings"

	"postroad/internal/table"
)

// openStore opens a memcache: table for changes.
func (m *mapTool) openStore(name string) (table.Table, table.Store, error) {
	t, err := m.open(name)
	if err != nil {
		return nil, table.Store{}, err
	}
	store, ok := table.StoreOf(t)
	if !ok {
		return nil, table.Store{}, fmt.Errorf("%s map requires O_RDONLY access mode", name)
	}
	return t, store, nil
}

// store is -i for a memcached: its entries, and those of the table behind it.
func (m *mapTool) store(name, text string) error {
	t, store, err := m.openStore(name)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }() // it answers each change
	if backup := store.Backup(); backup != "" {
		env := *m.Env
		env.Stdin = strings.NewReader(text)
		behind := *m
		behind.Env = &env
		if err := behind.build(backup); err != nil {
			return err
		}
	}
	options := table.SourceOptions{Name: "stdin", UTF8: m.utf8(), Alias: m.alias, Warn: m.Warnf}
	table.ParseSource(text, options, func(e table.Entry, _ int) {
		if err == nil {
			err = m.judge(t, store, "write error", store.Put(context.Background(), m.folded(e.Key), e.Value))
		}
	})
	return err
}

// judge takes the error of a change. The table behind the memcached counts, if there
// is one.
func (m *mapTool) judge(t table.Table, store table.Store, what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("table %s: %s: %w", t, what, err)
	if store.Backup() == "" {
		return err
	}
	m.Warnf("%v", err)
	return nil
}

// unstore is -d for a memcached. What the table behind it had counts, if there is one.
func (m *mapTool) unstore(name string, keys []string) (found bool, err error) {
	t, store, err := m.openStore(name)
	if err != nil {
		return false, err
	}
	defer func() { _ = t.Close() }() // it answers each change
	backup := store.Backup()
	if backup != "" {
		if found, err = m.removeFrom(backup, keys); err != nil {
			return false, err
		}
	}
	for _, key := range keys {
		had, err := store.Delete(context.Background(), m.folded(key))
		if err := m.judge(t, store, "delete error", err); err != nil {
			return false, err
		}
		found = found || had && backup == ""
	}
	return found, nil
}

// folded is a key as it is stored.
func (m *mapTool) folded(key string) string {
	if m.keepCase {
		return key
	}
	return table.Fold(key, m.utf8())
}
