package queue

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"postroad/internal/mail"
)

// List calls f for every message, until f returns an error. It reads each kind
// of record once, side by side in the order of ids, so that its cost is that of
// reading and its memory does not grow with the queue.
func (s *Store) List(f func(*Summary) error) error {
	snap := s.db.NewSnapshot()
	defer func() { _ = snap.Close() }()
	l := &lister{}
	defer l.close()
	for _, kind := range []byte{kindJob, kindDone, kindHold, kindFlags} {
		it, err := snap.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
		if err != nil {
			return fmt.Errorf("queue: %w", err)
		}
		it.First()
		l.its = append(l.its, it)
	}
	it, err := snap.NewIter(&pebble.IterOptions{LowerBound: []byte{kindEnvelope}, UpperBound: []byte{kindEnvelope + 1}})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	defer func() { _ = it.Close() }()
	for it.First(); it.Valid(); it.Next() {
		id := it.Key()[1:]
		env, _, err := decodeEnvelope(mail.QueueID(id), it.Value())
		if err != nil {
			s.opt.Warn("envelope of %s: %v", id, err)
			continue
		}
		sum := &Summary{Envelope: env}
		if err := l.collect(sum, id); err != nil {
			return err
		}
		if err := f(sum); err != nil {
			return err
		}
	}
	return it.Error()
}

// lister walks the records that belong to messages.
type lister struct {
	its []*pebble.Iterator
}

func (l *lister) close() {
	for _, it := range l.its {
		_ = it.Close()
	}
}

// collect adds the records of one message.
func (l *lister) collect(sum *Summary, id []byte) error {
	for _, it := range l.its {
		for ; it.Valid(); it.Next() {
			owner := it.Key()[1:]
			if zero := bytes.IndexByte(owner, 0); zero >= 0 {
				owner = owner[:zero]
			}
			c := bytes.Compare(owner, id)
			if c > 0 {
				break
			}
			if c < 0 {
				continue
			}
			if err := sum.add(it.Key(), it.Value()); err != nil {
				return err
			}
		}
		if err := it.Error(); err != nil {
			return fmt.Errorf("queue: %w", err)
		}
	}
	sum.Incoming = !sum.covered()
	return nil
}

// add takes one record into the summary.
func (sum *Summary) add(k, v []byte) error {
	switch k[0] {
	case kindJob:
		j, err := readJob(k, v)
		if err != nil {
			return err
		}
		sum.Jobs = append(sum.Jobs, j)
	case kindDone:
		d := &dec{b: v}
		for _, n := range decodeNumbers(d) {
			if sum.Done == nil {
				sum.Done = map[int32]bool{}
			}
			sum.Done[n] = true
		}
		return d.err
	case kindHold:
		sum.Held = true
	case kindFlags:
		d := &dec{b: v}
		d.flags(&sum.Flags.Warned, &sum.Flags.Expire)
		return d.err
	}
	return nil
}

// covered tells whether every recipient is done or in a job; if not, the others
// are found through the arrival mark (invariant 4).
func (sum *Summary) covered() bool {
	n := len(sum.Done)
	for _, j := range sum.Jobs {
		for i := range j.Waiting {
			n += len(j.Waiting[i].Recipients)
		}
	}
	return n >= len(sum.Envelope.Recipients)
}
