package queue

import (
	"encoding/binary"
	"time"

	"postroad/internal/mail"
)

// Key kinds. A key is its kind, then the fields below; ids contain no zero byte.
const (
	kindEnvelope = 'E' // id -> envelope
	kindBody     = 'B' // id -> content, when it is small
	kindArrival  = 'A' // micros, id -> nothing: recipients without a job exist
	kindJob      = 'S' // id, 0, number -> job
	kindDue      = 'J' // destination, sep, micros, id, 0, number -> time of the last try
	kindDone     = 'D' // id, 0, micros -> recipient numbers
	kindAge      = 'X' // micros of arrival, id -> nothing: has waited at least once
	kindHold     = 'H' // id -> nothing
	kindFlags    = 'G' // id -> flags
	kindMark     = 'M' // "ids" -> highest queue id number reserved
	kindFact     = 'V' // room, 0, name -> what the room remembers
)

// destSep ends a destination in a key; it cannot occur in UTF-8 text.
const destSep = 0xff

func idKey(kind byte, id mail.QueueID) []byte {
	k := make([]byte, 0, 1+len(id))
	return append(append(k, kind), id...)
}

func timeKey(kind byte, when time.Time, id mail.QueueID) []byte {
	k := make([]byte, 0, 9+len(id))
	k = append(k, kind)
	k = binary.BigEndian.AppendUint64(k, micros(when))
	return append(k, id...)
}

// splitTimeKey reads a key of timeKey; ok is false when it is too short.
func splitTimeKey(k []byte) (when time.Time, id mail.QueueID, ok bool) {
	if len(k) < 10 {
		return time.Time{}, "", false
	}
	return fromMicros(binary.BigEndian.Uint64(k[1:9])), mail.QueueID(k[9:]), true
}

func jobKey(id mail.QueueID, no uint32) []byte {
	k := make([]byte, 0, 6+len(id))
	k = append(append(append(k, kindJob), id...), 0)
	return binary.BigEndian.AppendUint32(k, no)
}

func doneKey(id mail.QueueID, no uint64) []byte {
	k := make([]byte, 0, 10+len(id))
	k = append(append(append(k, kindDone), id...), 0)
	return binary.BigEndian.AppendUint64(k, no)
}

// idPrefix is the prefix of the job or done keys of one message, and idEnd the
// first key behind them.
func idPrefix(kind byte, id mail.QueueID) []byte {
	k := make([]byte, 0, 2+len(id))
	return append(append(append(k, kind), id...), 0)
}

func idEnd(kind byte, id mail.QueueID) []byte {
	k := make([]byte, 0, 2+len(id))
	return append(append(append(k, kind), id...), 1)
}

// destPrefix is the common part of the index keys of one destination.
func destPrefix(d Dest) []byte {
	k := make([]byte, 0, 3+len(d.Transport)+len(d.Nexthop))
	k = append(k, kindDue)
	k = append(k, d.Transport...)
	k = append(k, 0)
	k = append(k, d.Nexthop...)
	return append(k, destSep)
}

// destEnd is the first key behind those of one destination.
func destEnd(d Dest) []byte {
	k := destPrefix(d)
	return append(k[:len(k)-1], destSep, destSep, destSep, destSep, destSep, destSep, destSep, destSep, destSep, destSep)
}

func dueKey(d Dest, due time.Time, id mail.QueueID, no uint32) []byte {
	k := destPrefix(d)
	k = binary.BigEndian.AppendUint64(k, micros(due))
	k = append(append(k, id...), 0)
	return binary.BigEndian.AppendUint32(k, no)
}

// splitDueKey reads a key of dueKey.
func splitDueKey(k []byte) (d Dest, due time.Time, id mail.QueueID, no uint32, ok bool) {
	sep := -1
	zero := -1
	for i := 1; i < len(k); i++ {
		if k[i] == 0 && zero < 0 {
			zero = i
		}
		if k[i] == destSep {
			sep = i
			break
		}
	}
	if sep < 0 || zero < 0 || zero > sep || len(k) < sep+1+8+1+5 {
		return Dest{}, time.Time{}, "", 0, false
	}
	d = Dest{Transport: mail.Transport(k[1:zero]), Nexthop: mail.Nexthop(k[zero+1 : sep])}
	rest := k[sep+1:]
	due = fromMicros(binary.BigEndian.Uint64(rest[:8]))
	rest = rest[8:]
	id = mail.QueueID(rest[:len(rest)-5])
	return d, due, id, binary.BigEndian.Uint32(rest[len(rest)-4:]), true
}

// micros orders times in keys; times before 1970 count as 0.
func micros(t time.Time) uint64 {
	if n := t.UnixMicro(); n > 0 {
		return uint64(n)
	}
	return 0
}

func fromMicros(n uint64) time.Time { return time.UnixMicro(int64(n)) }
