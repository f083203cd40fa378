package table

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// errTooLarge is the cause when a file would not fit its format.
var errTooLarge = errors.New("the table is too large for its type of file")

// cdbSlot is a slot of a hash table.
type cdbSlot struct{ hash, at uint32 }

// writeCDB makes a cdb file.
func writeCDB(path string, entries []Entry, o WriteOptions) error {
	return replaceFile(path, o, func(w io.Writer) error { return encodeCDB(w, entries) })
}

// encodeCDB writes a cdb file: records in the order of the entries.
func encodeCDB(to io.Writer, entries []Entry) error {
	counts := [cdbTables]uint32{}
	end := uint64(cdbHead)
	for _, e := range entries {
		counts[cdbHash(e.Key, !e.Bare)%cdbTables]++
		key, value := storedSize(e)
		end += 8 + uint64(key) + uint64(value)
	}
	if end+16*uint64(len(entries)) > math.MaxUint32 {
		return errTooLarge
	}
	w := bufio.NewWriterSize(to, 1<<16)
	at := uint32(end)
	for _, n := range counts {
		putPair(w, at, 2*n)
		at += 16 * n
	}
	slots := cdbRecords(w, entries, counts[:])
	for n, list := range slots {
		writeSlots(w, list, 2*counts[n])
	}
	return w.Flush()
}

// cdbRecords writes the records and returns the slots for each table.
func cdbRecords(w *bufio.Writer, entries []Entry, counts []uint32) [][]cdbSlot {
	slots := make([][]cdbSlot, cdbTables)
	for n, count := range counts {
		slots[n] = make([]cdbSlot, 0, count)
	}
	at := uint32(cdbHead)
	for _, e := range entries {
		hash := cdbHash(e.Key, !e.Bare)
		slots[hash%cdbTables] = append(slots[hash%cdbTables], cdbSlot{hash, at})
		key, value := storedSize(e)
		putPair(w, uint32(key), uint32(value))
		putStored(w, e.Key, e.Bare)
		putStored(w, e.Value, e.Bare)
		at += 8 + uint32(key) + uint32(value)
	}
	return slots
}

// writeSlots writes a hash table, half of whose slots stay empty.
func writeSlots(w *bufio.Writer, list []cdbSlot, size uint32) {
	table := make([]cdbSlot, size)
	for _, s := range list {
		i := s.hash / cdbTables % size
		for table[i].at != 0 {
			i = (i + 1) % size
		}
		table[i] = s
	}
	for _, s := range table {
		putPair(w, s.hash, s.at)
	}
}

// storedSize is the size of what is kept of an entry.
func storedSize(e Entry) (key, value int) {
	if e.Bare {
		return len(e.Key), len(e.Value)
	}
	return len(e.Key) + 1, len(e.Value) + 1
}

// putPair writes two integers, putStored text with its NUL. The error of a
// bufio.Writer stays until Flush.
func putPair(w *bufio.Writer, a, b uint32) {
	var p [8]byte
	binary.LittleEndian.PutUint32(p[:], a)
	binary.LittleEndian.PutUint32(p[4:], b)
	_, _ = w.Write(p[:])
}

func putStored(w *bufio.Writer, text string, bare bool) {
	_, _ = w.WriteString(text)
	if !bare {
		_ = w.WriteByte(0)
	}
}
