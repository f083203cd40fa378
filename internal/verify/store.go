package verify

import (
	"errors"
	"sync"
)

// Store keeps records by address. A record that it loses is found out anew.
type Store interface {
	Get(key string) (value string, found bool, err error)
	Put(key, value string) error
	Delete(key string) error
	// Each calls yield for every record until it returns false. Records may be
	// deleted meanwhile.
	Each(yield func(key, value string) bool) error
}

// maxMemory bounds the records of a store in memory.
const maxMemory = 100_000

// errMemory says that a store in memory is full.
var errMemory = errors.New("too many addresses in memory")

// memory is a store that ends with the process.
type memory struct {
	mu      sync.Mutex
	records map[string]string
}

// NewMemory returns a store in memory.
func NewMemory() Store { return &memory{records: map[string]string{}} }

// Get implements Store.
func (m *memory) Get(key string) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, found := m.records[key]
	return value, found, nil
}

// Put implements Store.
func (m *memory) Put(key, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.records[key]; !known && len(m.records) >= maxMemory {
		return errMemory
	}
	m.records[key] = value
	return nil
}

// Delete implements Store.
func (m *memory) Delete(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, key)
	return nil
}

// Each implements Store.
func (m *memory) Each(yield func(key, value string) bool) error {
	m.mu.Lock()
	all := make(map[string]string, len(m.records))
	for k, v := range m.records {
		all[k] = v
	}
	m.mu.Unlock()
	for k, v := range all {
		if !yield(k, v) {
			break
		}
	}
	return nil
}
