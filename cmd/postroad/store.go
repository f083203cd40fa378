package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"postroad/internal/event"
	"postroad/internal/queue"
	"postroad/internal/sys"
)

// errNoStore answers while the queue cannot be opened: the spool is full,
// read-only or broken. Sessions hear 451 and stay.
var errNoStore = errors.New("the queue is not open")

// reopenPause is the time between attempts to open the queue.
const reopenPause = time.Second

// reclaimPause is the time between looks for room after a full disk.
const reclaimPause = 2 * time.Second

// storeDoor is the way to the queue for rooms that must go on without it.
type storeDoor struct{ store atomic.Pointer[queue.Store] }

// Begin starts a message, or says why it cannot.
func (d *storeDoor) Begin() (*queue.Writer, error) {
	s := d.store.Load()
	if s == nil {
		return nil, errNoStore
	}
	return s.Begin()
}

// CheckSpace tells whether a message of limit bytes would fit, and more than free
// bytes are left.
func (d *storeDoor) CheckSpace(limit, free int64) error {
	s := d.store.Load()
	if s == nil {
		return errNoStore
	}
	return s.CheckSpace(limit, free)
}

// open opens the queue and tries again until it succeeds or ctx ends.
func (d *storeDoor) open(ctx context.Context, opt queue.Options, log *event.Logger) (*queue.Store, error) {
	said := ""
	for {
		s, err := queue.Open(opt)
		if err == nil {
			d.store.Store(s)
			return s, nil
		}
		if err.Error() != said {
			said = err.Error()
			log.Errorf("%v -- refusing mail until it works", err)
		}
		if err := sys.Pause(ctx, reopenPause); err != nil {
			return nil, err
		}
	}
}

// reclaim gives a store its reserve back after a full disk, until ctx ends.
func reclaim(ctx context.Context, s *queue.Store) {
	tick := time.NewTicker(reclaimPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Reclaim()
		}
	}
}
