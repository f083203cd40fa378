package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postroad/internal/mail"
)

// errStop ends a scan early without being an error.
var errStop = errors.New("stop")

// scan calls f for each key from lower up to, not including, upper. The slices
// are valid during the call only.
func (s *Store) scan(lower, upper []byte, f func(k, v []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			_ = it.Close()
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// Message reads an envelope and gives access to its content.
func (s *Store) Message(id mail.QueueID) (*mail.Envelope, mail.Content, error) {
	v, closer, err := s.db.Get(idKey(kindEnvelope, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil, ErrNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("envelope of %s: %w", id, err)
	}
	defer func() { _ = closer.Close() }()
	env, inline, err := decodeEnvelope(id, v)
	if err != nil {
		return nil, nil, fmt.Errorf("envelope of %s: %w", id, err)
	}
	return env, &stored{s: s, id: id, size: env.Size, inline: inline}, nil
}

// Done returns the recipients of a message that need nothing any more.
func (s *Store) Done(id mail.QueueID) ([]int32, error) {
	var all []int32
	err := s.scan(idPrefix(kindDone, id), idEnd(kindDone, id), func(_, v []byte) error {
		d := &dec{b: v}
		all = append(all, decodeNumbers(d)...)
		return d.err
	})
	return all, err
}

// Jobs returns the waiting jobs of a message.
func (s *Store) Jobs(id mail.QueueID) ([]*Job, error) {
	var jobs []*Job
	err := s.scan(idPrefix(kindJob, id), idEnd(kindJob, id), func(k, v []byte) error {
		j, err := readJob(k, v)
		if err != nil {
			return err
		}
		jobs = append(jobs, j)
		return nil
	})
	return jobs, err
}

func readJob(k, v []byte) (*Job, error) {
	if len(k) < 7 {
		return nil, errRecord
	}
	id := mail.QueueID(k[1 : len(k)-5])
	n := k[len(k)-4:]
	no := uint32(n[0])<<24 | uint32(n[1])<<16 | uint32(n[2])<<8 | uint32(n[3])
	j, err := decodeJob(id, no, v)
	if err != nil {
		return nil, fmt.Errorf("job %d of %s: %w", no, id, err)
	}
	return j, nil
}

// Arrivals calls f for messages with an arrival mark behind after, oldest
// first, until f returns false. Pass the zero Arrival to start.
func (s *Store) Arrivals(after Arrival, f func(Arrival) bool) error {
	lower := []byte{kindArrival}
	if after.ID != "" {
		lower = append(timeKey(kindArrival, after.When, after.ID), 0)
	}
	return s.scan(lower, []byte{kindArrival + 1}, timeScan(f))
}

// Aged calls f for messages that have waited and arrived at from or later,
// oldest first, until f returns false.
func (s *Store) Aged(from time.Time, f func(Arrival) bool) error {
	return s.scan(timeKey(kindAge, from, ""), []byte{kindAge + 1}, timeScan(f))
}

func timeScan(f func(Arrival) bool) func(k, _ []byte) error {
	return func(k, _ []byte) error {
		when, id, ok := splitTimeKey(k)
		if !ok {
			return errRecord
		}
		if !f(Arrival{When: when, ID: id}) {
			return errStop
		}
		return nil
	}
}

// Arrival is a message by the time it arrived.
type Arrival struct {
	When time.Time
	ID   mail.QueueID
}

// Due is a waiting job as the index knows it.
type Due struct {
	When, LastTry time.Time
	ID            mail.QueueID
	No            uint32
}

// Destinations calls f for each destination that has waiting jobs, with the
// time of the earliest. It costs one seek per destination, however many
// messages wait there.
func (s *Store) Destinations(f func(Dest, time.Time) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindDue}, UpperBound: []byte{kindDue + 1}})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	for valid := it.First(); valid; {
		d, due, _, _, ok := splitDueKey(it.Key())
		if !ok {
			_ = it.Close()
			return errRecord
		}
		if err := f(d, due); err != nil {
			_ = it.Close()
			return err
		}
		valid = it.SeekGE(destEnd(d))
	}
	return it.Close()
}

// Waiting calls f for the jobs of a destination in order of their due time,
// until f returns false.
func (s *Store) Waiting(d Dest, f func(Due) bool) error {
	return s.scan(destPrefix(d), destEnd(d), func(k, v []byte) error {
		_, due, id, no, ok := splitDueKey(k)
		if !ok || len(v) != 8 {
			return errRecord
		}
		if !f(Due{When: due, LastTry: fromMicros(binary.BigEndian.Uint64(v)), ID: id, No: no}) {
			return errStop
		}
		return nil
	})
}

// Job reads one waiting job; ErrNotFound when it was taken meanwhile.
func (s *Store) Job(id mail.QueueID, no uint32) (*Job, error) {
	k := jobKey(id, no)
	v, closer, err := s.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("job %d of %s: %w", no, id, err)
	}
	defer func() { _ = closer.Close() }()
	return readJob(k, v)
}

// Held tells whether a message is on hold.
func (s *Store) Held(id mail.QueueID) (bool, error) {
	_, closer, err := s.db.Get(idKey(kindHold, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("hold of %s: %w", id, err)
	}
	return true, closer.Close()
}

// Summary is one message as a listing shows it.
type Summary struct {
	Envelope *mail.Envelope
	Jobs     []*Job
	Done     map[int32]bool
	Held     bool
	// Incoming tells that recipients without a job exist.
	Incoming bool
	Flags    Flags
}

// Summary returns one message as a listing shows it.
func (s *Store) Summary(id mail.QueueID) (*Summary, error) {
	env, _, err := s.Message(id)
	if err != nil {
		return nil, err
	}
	return s.summary(env)
}

func (s *Store) summary(env *mail.Envelope) (*Summary, error) {
	sum := &Summary{Envelope: env}
	var err error
	if sum.Jobs, err = s.Jobs(env.ID); err != nil {
		return nil, err
	}
	done, err := s.Done(env.ID)
	if err != nil {
		return nil, err
	}
	if len(done) > 0 {
		sum.Done = make(map[int32]bool, len(done))
		for _, i := range done {
			sum.Done[i] = true
		}
	}
	if sum.Held, err = s.Held(env.ID); err != nil {
		return nil, err
	}
	if sum.Flags, err = s.ReadFlags(env.ID); err != nil {
		return nil, err
	}
	_, closer, err := s.db.Get(timeKey(kindArrival, env.Arrived, env.ID))
	if err == nil {
		sum.Incoming = true
		err = closer.Close()
	} else if errors.Is(err, pebble.ErrNotFound) {
		err = nil
	}
	return sum, err
}

// ReadContent returns the whole content, for commands that show it.
func ReadContent(c mail.Content) ([]byte, error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

// Tally counts the messages of the store. Fresh ones have recipients that were
// never tried; a held message counts as held only.
type Tally struct{ Messages, Held, Fresh int }

// Count counts messages by their keys alone; it reads no message.
func (s *Store) Count() (t Tally, err error) {
	for _, row := range []struct {
		kind byte
		n    *int
	}{{kindEnvelope, &t.Messages}, {kindHold, &t.Held}, {kindArrival, &t.Fresh}} {
		err := s.scan([]byte{row.kind}, []byte{row.kind + 1}, func(_, _ []byte) error {
			*row.n++
			return nil
		})
		if err != nil {
			return Tally{}, err
		}
	}
	return t, nil
}
