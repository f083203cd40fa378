package verify

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/sys"
)

// Post sends a probe. The message has no content of its own.
type Post func(ctx context.Context, sender, rcpt mail.Address) error

// Setup is what a reload replaces.
type Setup struct {
	Settings
	// From is the sender of probes, Post sends them.
	From Sender
	Post Post
	// Log speaks as verify(8).
	Log *event.Logger
}

// Cache is what is known about addresses. It is safe for concurrent use and
// outlives a reload.
type Cache struct {
	store  Store
	memory Store
	setup  atomic.Pointer[Setup]

	mu      sync.Mutex
	waiting map[string][]chan struct{}
}

// New returns a Cache. Configure must be called before it is asked.
func New(store Store) *Cache {
	return &Cache{store: store, memory: NewMemory(), waiting: map[string][]chan struct{}{}}
}

// Configure puts settings in force.
func (c *Cache) Configure(s *Setup) { c.setup.Store(s) }

// records is the store in force.
func (c *Cache) records(s *Setup) Store {
	if s.Map == "" {
		return c.memory
	}
	return c.store
}

// key is the name of a record. Postfix keeps colons out of it.
func key(addr mail.Address) string { return strings.ReplaceAll(string(addr), ":", "_") }

// maxKey bounds the length of an address that is remembered (RFC 5321 4.5.3.1.3
// allows 256).
const maxKey = 1000

// postTimeout bounds how long sending a probe may take.
const postTimeout = 30 * time.Second

// unavailable is the reason when the store cannot be read.
const unavailable = "Address verification status unavailable"

// Ask tells what is known about an address, and sends a probe when that is
// nothing or old. It waits up to wait for the result of a first probe.
func (c *Cache) Ask(ctx context.Context, addr mail.Address, wait time.Duration) (Status, string, error) {
	s := c.setup.Load()
	e, err := c.look(s, addr)
	if err != nil {
		return c.failed(addr, err)
	}
	result, first := c.listen(addr)
	defer c.leave(addr, result)
	if first { // who is not has a probe to wait for
		c.refresh(ctx, s, addr, e)
	}
	if e.status != Unknown || wait <= 0 {
		return e.status, e.text, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-result:
	case <-timer.C:
	case <-ctx.Done():
	}
	if e, err = c.look(s, addr); err != nil {
		return c.failed(addr, err)
	}
	return e.status, e.text, nil
}

// failed is the answer when the store cannot be read.
func (c *Cache) failed(addr mail.Address, err error) (Status, string, error) {
	c.setup.Load().Log.Warnf("address verification of %s: %v", addr.External(), err)
	return Deferred, unavailable, nil
}

// look reads what is known; without a record that can be used it is Unknown.
func (c *Cache) look(s *Setup, addr mail.Address) (entry, error) {
	raw, found, err := c.records(s).Get(key(addr))
	if err != nil {
		return entry{}, err
	}
	if found {
		now := time.Now()
		e, ok := parseEntry(raw)
		if !ok {
			s.Log.Warnf("bad address verify table entry: %.100s", raw)
		} else if e.probing(now) || !e.expired(&s.Settings, now) {
			return e, nil
		}
		if !s.NegativeCache {
			if err := c.records(s).Delete(key(addr)); err != nil {
				return entry{}, err
			}
		}
	}
	return entry{status: Unknown, text: inProgress}, nil
}

// refresh sends a probe when it is time.
func (c *Cache) refresh(ctx context.Context, s *Setup, addr mail.Address, e entry) {
	now := time.Now()
	if e.probing(now) || !e.stale(&s.Settings, now) || len(addr) > maxKey {
		return
	}
	// The mark comes first, so that a result that is quick is not overwritten.
	if !e.updated.IsZero() || s.NegativeCache {
		e.probed = now
		if err := c.records(s).Put(key(addr), e.String()); err != nil {
			s.Log.Warnf("address verification of %s: %v", addr.External(), err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postTimeout)
	defer cancel()
	if err := s.Post(ctx, s.From.At(now), addr); err != nil {
		s.Log.Warnf("address verification probe to %s: %v", addr.External(), err)
	}
}

// Update takes the result of a probe. Names are the addresses that it is about:
// the one that was asked for, and the one that it became.
func (c *Cache) Update(status Status, text string, names ...mail.Address) error {
	s := c.setup.Load()
	if status != Deliverable && !s.NegativeCache {
		return nil
	}
	e := entry{status: status, updated: time.Now(), text: printable(text)}
	for i, addr := range names {
		if i > 0 && addr == names[0] || len(addr) > maxKey {
			continue
		}
		if err := c.keep(s, addr, e); err != nil {
			return err
		}
		c.notify(addr)
	}
	return nil
}

// keep stores a result, unless it would hide that an address was deliverable.
func (c *Cache) keep(s *Setup, addr mail.Address, e entry) error {
	if e.status != Deliverable {
		raw, found, err := c.records(s).Get(key(addr))
		if err != nil {
			return err
		}
		if old, ok := parseEntry(raw); found && ok && old.status == Deliverable {
			return nil
		}
	}
	return c.records(s).Put(key(addr), e.String())
}

// maxText bounds the reason that is kept.
const maxText = 1000

// printable replaces what does not belong into a line.
func printable(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// listen registers for the next result; first tells that nobody else waits.
func (c *Cache) listen(addr mail.Address) (result chan struct{}, first bool) {
	result = make(chan struct{}, 1)
	k := key(addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	first = len(c.waiting[k]) == 0
	c.waiting[k] = append(c.waiting[k], result)
	return result, first
}

// leave takes a registration back.
func (c *Cache) leave(addr mail.Address, result chan struct{}) {
	k := key(addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.DeleteFunc(c.waiting[k], func(ch chan struct{}) bool { return ch == result })
	if len(list) == 0 {
		delete(c.waiting, k)
		return
	}
	c.waiting[k] = list
}

// notify wakes those who wait for a result.
func (c *Cache) notify(addr mail.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.waiting[key(addr)] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Run removes expired records from time to time, until ctx ends.
func (c *Cache) Run(ctx context.Context) {
	for {
		pause := c.setup.Load().Cleanup
		off := pause <= 0
		if off {
			pause = time.Hour // a reload may turn it on
		}
		if sys.Pause(ctx, pause) != nil {
			return
		}
		if !off {
			c.clean(c.setup.Load())
		}
	}
}

// clean removes expired records.
func (c *Cache) clean(s *Setup) {
	now, retained, dropped := time.Now(), 0, 0
	err := c.records(s).Each(func(key, value string) bool {
		if e, ok := parseEntry(value); ok && (e.probing(now) || !e.expired(&s.Settings, now)) {
			retained++
			return true
		}
		dropped++
		return c.records(s).Delete(key) == nil
	})
	if err != nil {
		s.Log.Warnf("cleanup of the address verification cache: %v", err)
		return
	}
	s.Log.Infof("cache %s full cleanup: retained=%d dropped=%d entries", cmp.Or(s.Map, "internal:verify"), retained, dropped)
}
