package limits

import (
	"encoding/binary"
	"time"
)

// slots is into how many pieces a period is cut; one more is kept, so that an event
// counts for its whole period wherever in a piece it falls.
const slots = 16

// ring counts the events of one period.
type ring struct {
	per time.Duration
	// last is the number of the piece that is being filled.
	last   int64
	sum    int64
	pieces [slots + 1]uint32
}

// advance forgets what is too old at a moment. A clock that is set back a little
// goes on in the same piece; one that was far ahead begins anew.
func (r *ring) advance(now time.Time) {
	at := now.UnixNano() / int64(r.per/slots)
	steps := at - r.last
	if steps > slots || steps < -slots {
		r.last, r.sum, r.pieces = at, 0, [slots + 1]uint32{}
		return
	}
	for ; steps > 0; steps-- {
		r.last++
		piece := &r.pieces[index(r.last)]
		r.sum -= int64(*piece)
		*piece = 0
	}
}

func index(piece int64) int64 {
	const n = slots + 1
	return (piece%n + n) % n
}

// add counts n events now.
func (r *ring) add(n int) {
	piece := &r.pieces[index(r.last)]
	const most = 1<<32 - 1
	n = int(min(int64(n), most-int64(*piece)))
	*piece += uint32(n)
	r.sum += int64(n)
}

// append appends the ring in the form of the store.
func (r *ring) append(b []byte) []byte {
	b = binary.AppendVarint(b, int64(r.per/time.Second))
	b = binary.AppendVarint(b, r.last)
	for i := range int64(slots + 1) {
		b = binary.AppendUvarint(b, uint64(r.pieces[index(r.last-i)]))
	}
	return b
}

// parseRing reads what append has written, and returns the rest.
func parseRing(b []byte) (r ring, rest []byte, ok bool) {
	per, n := binary.Varint(b)
	if n <= 0 || per < 1 || time.Duration(per) > maxPer/time.Second {
		return r, nil, false
	}
	b = b[n:]
	r.per = time.Duration(per) * time.Second
	if r.last, n = binary.Varint(b); n <= 0 {
		return r, nil, false
	}
	b = b[n:]
	for i := range int64(slots + 1) {
		count, n := binary.Uvarint(b)
		if n <= 0 || count > 1<<32-1 {
			return r, nil, false
		}
		b = b[n:]
		r.pieces[index(r.last-i)] = uint32(count)
		r.sum += int64(count)
	}
	return r, b, true
}
