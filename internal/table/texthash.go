package table

import (
	"context"
	"fmt"
)

// memory is a fixed table whose entries are in a Go map.
type memory struct {
	name    string
	entries map[string]string
	// order lists the keys as they stood in the text.
	order []string
}

// Lookup implements Table.
func (m *memory) Lookup(_ context.Context, key string) (string, bool, error) {
	value, ok := m.entries[key]
	return value, ok, nil
}

// Kind implements Table.
func (m *memory) Kind() Kind { return Fixed }

// String implements Table.
func (m *memory) String() string { return m.name }

// Close implements Table.
func (m *memory) Close() error { return nil }

// Each implements Lister.
func (m *memory) Each(fn func(Entry) bool) error {
	for _, key := range m.order {
		if !fn(Entry{Key: key, Value: m.entries[key]}) {
			break
		}
	}
	return nil
}

// add enters a pair unless the key exists, and tells whether it did not.
func (m *memory) add(key, value string) bool {
	if _, exists := m.entries[key]; exists {
		return false
	}
	m.entries[key] = value
	m.order = append(m.order, key)
	return true
}

// openTexthash reads texthash:path: the text that postmap would read.
func openTexthash(name string, o *Options) (Table, error) {
	t, err := followText("texthash:"+name, o.path(name), o, func(text string, o *Options) Table {
		return textTable("texthash:"+name, name, text, o, false)
	})
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", name, Reason(err))
	}
	return t, nil
}

// textTable holds the entries of a source text in memory.
func textTable(title, name, text string, o *Options, alias bool) *memory {
	m := &memory{name: title, entries: make(map[string]string)}
	src := SourceOptions{Name: name, UTF8: o.UTF8, Alias: alias, Warn: o.skipf, Note: " -- ignoring this line"}
	ParseSource(text, src, func(e Entry, line int) {
		key := e.Key
		if !o.KeepCase {
			key = Fold(key, o.UTF8)
		}
		if !m.add(key, e.Value) {
			o.warnf("%s, line %d: duplicate entry: \"%s\"", name, line, e.Key)
		}
	})
	return m
}
