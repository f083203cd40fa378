package table

import (
	"errors"
	"fmt"
)

// A cdb file begins with 256 pairs of a position and a number of slots, one per
// hash table. Then come the records (size of the key, size of the value, key,
// value), and the tables, whose slots have the hash of a key and the position
// of its record. Integers have 32 bits, little endian. A key is in the table
// of the low byte of its hash, in the slot of the other bits or in one behind
// it, before the first that is empty.
const (
	cdbTables = 256
	cdbHead   = 8 * cdbTables
	// maxProbes bounds the slots that one lookup sees: tables are half empty.
	maxProbes = 1 << 16
)

// errCDB is wrapped by every complaint about the structure of a file.
var errCDB = errors.New("damaged cdb file")

// badCDB returns an error about the structure of a file.
func badCDB(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errCDB, fmt.Sprintf(format, args...))
}

// cdbFormat is cdb:.
func cdbFormat() *indexFormat {
	return &indexFormat{typ: "cdb", suffix: ".cdb", open: func(data string) (index, error) { return newCDBFile(data) }}
}

// openCDB opens cdb:path.
func openCDB(name string, o *Options) (Table, error) { return openIndexed(cdbFormat(), name, o) }

// cdbFile looks up keys in a cdb file.
type cdbFile struct {
	data string
	// end is where the records end and the tables begin.
	end int
}

// newCDBFile checks the head: a file that is not complete lacks its tables.
func newCDBFile(data string) (*cdbFile, error) {
	if len(data) < cdbHead {
		return nil, badCDB("%d bytes are too few", len(data))
	}
	f := &cdbFile{data: data, end: len(data)}
	for n := range uint32(cdbTables) {
		at, slots := f.table(n)
		if at < cdbHead || at > len(data) || slots > (len(data)-at)/8 {
			return nil, badCDB("table of %d slots at %d", slots, at)
		}
		f.end = min(f.end, at)
	}
	return f, nil
}

// table returns where a hash table is and the number of its slots.
func (f *cdbFile) table(n uint32) (at, slots int) {
	return int(le32(f.data, int(8*n))), int(le32(f.data, int(8*n+4)))
}

// cdbHash is the hash of key, with a NUL behind it when nul is set.
func cdbHash(key string, nul bool) uint32 {
	h := uint32(5381)
	for i := 0; i < len(key); i++ {
		h = h*33 ^ uint32(key[i])
	}
	if nul {
		h *= 33
	}
	return h
}

// get implements index.
func (f *cdbFile) get(key string) (string, bool, error) {
	value, ok, err := f.find(key, true)
	if ok || err != nil {
		return value, ok, err
	}
	return f.find(key, false)
}

// find returns the value of key in one of its two forms.
func (f *cdbFile) find(key string, nul bool) (string, bool, error) {
	hash := cdbHash(key, nul)
	at, slots := f.table(hash % cdbTables)
	// The head was checked when the file was opened, and may have changed.
	if slots < 0 || at < cdbHead || at > len(f.data) || slots > (len(f.data)-at)/8 {
		return "", false, badCDB("table of %d slots at %d", slots, at)
	}
	for probe := range slots {
		if probe == maxProbes {
			return "", false, badCDB("table at %d has no empty slot", at)
		}
		slot := at + (int(hash/cdbTables)+probe)%slots*8
		record := int(le32(f.data, slot+4))
		if record == 0 {
			break
		}
		if le32(f.data, slot) != hash {
			continue
		}
		stored, value, _, err := f.record(record)
		if err != nil || isKey(stored, key, nul) {
			return value, err == nil, err
		}
	}
	return "", false, nil
}

// record returns the pair at a position, and the position behind it.
func (f *cdbFile) record(at int) (key, value string, next int, err error) {
	if at < cdbHead || at > f.end-8 {
		return "", "", 0, badCDB("record at %d", at)
	}
	keySize, valueSize := int(le32(f.data, at)), int(le32(f.data, at+4))
	at += 8
	if keySize > f.end-at || valueSize > f.end-at-keySize {
		return "", "", 0, badCDB("record of %d and %d bytes at %d", keySize, valueSize, at)
	}
	next = at + keySize + valueSize
	return f.data[at : at+keySize], f.data[at+keySize : next], next, nil
}

// each implements index.
func (f *cdbFile) each(fn func(key, value string) bool) error {
	for at := cdbHead; at < f.end; {
		key, value, next, err := f.record(at)
		if err != nil || !fn(key, value) {
			return err
		}
		at = next
	}
	return nil
}
