package limits

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a Counters.
const (
	// maxKeys is how many keys a rule counts at a time.
	maxKeys  = 100_000
	maxRules = 1000
	// maxKey is how long a key may be; of a longer one the rest is hashed.
	maxKey = 200
	// sample is how many keys are looked at to find one to forget.
	sample = 16
)

// saveEvery is how often counters are written; a crash loses so much.
const saveEvery = 5 * time.Second

// Records keeps counters over a restart.
type Records interface {
	Put(name, value string) error
	Delete(name string) error
	Each(yield func(name, value string) bool) error
	// Sync makes what was put or deleted durable.
	Sync() error
}

// Counters are the counters of all rules. They are safe for concurrent use.
type Counters struct {
	mu    sync.Mutex
	rules map[string]map[string]*counter
	// dirty are the counters that are not written as they are.
	dirty map[id]struct{}
	// evicted counts keys that were forgotten to make room.
	evicted int
	// keys is their number over all rules.
	keys int
}

// id names a counter.
type id struct{ rule, key string }

// counter has the counts of one key of a rule.
type counter struct {
	rings []ring
	// share is how much of its limit was used after it was asked last.
	share float64
}

// New returns counters at zero.
func New() *Counters {
	return &Counters{rules: map[string]map[string]*counter{}, dirty: map[id]struct{}{}}
}

// Use is how much of one window is used.
type Use struct {
	Window
	Used int
}

// Ask tells how much is used of each window, and whether n events more have room
// in all of them. When they have, and count is set, they are counted; full is the
// window that has no room, or nil.
func (c *Counters) Ask(rule, key string, windows []Window, n int, count bool) (used []Use, full *Use) {
	key = bounded(key)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.rules[rule][key]
	if k == nil && count {
		k = c.begin(rule, key, now)
	}
	used = make([]Use, len(windows))
	if k == nil {
		// Nothing is counted, or there are too many rules.
		for i, w := range windows {
			used[i] = Use{Window: w}
			if full == nil && n > w.Max {
				full = &used[i]
			}
		}
		return used, full
	}
	rings := k.rings
	if count {
		k.fit(windows)
		rings = k.rings
	}
	k.share = 0
	for i, w := range windows {
		used[i] = Use{Window: w}
		for j := range rings {
			if rings[j].per == w.Per {
				rings[j].advance(now)
				used[i].Used = int(rings[j].sum)
			}
		}
		if full == nil && used[i].Used+n > w.Max {
			full = &used[i]
		}
		k.share = max(k.share, float64(used[i].Used)/float64(max(w.Max, 1)))
	}
	if !count || full != nil {
		return used, full
	}
	for i := range k.rings {
		k.rings[i].advance(now)
		k.rings[i].add(n)
		k.share = max(k.share, float64(used[i].Used+n)/float64(max(windows[i].Max, 1)))
	}
	c.dirty[id{rule, key}] = struct{}{}
	return used, nil
}

// fit gives a counter the rings of windows.
func (k *counter) fit(windows []Window) {
	same := len(k.rings) == len(windows)
	for i := 0; same && i < len(windows); i++ {
		same = k.rings[i].per == windows[i].Per
	}
	if same {
		return
	}
	rings := make([]ring, len(windows))
	for i, w := range windows {
		rings[i].per = w.Per
		for _, r := range k.rings {
			if r.per == w.Per {
				rings[i] = r
			}
		}
	}
	k.rings = rings
}

// begin makes a counter, in place of another when the rule is full; nil when there
// are too many rules. The lock is held.
func (c *Counters) begin(rule, key string, now time.Time) *counter {
	keys := c.rules[rule]
	if keys == nil {
		if len(c.rules) >= maxRules {
			return nil
		}
		keys = map[string]*counter{}
		c.rules[rule] = keys
	}
	if len(keys) >= maxKeys {
		c.forget(rule, c.least(keys, now))
		c.evicted++
	}
	k := &counter{}
	keys[key] = k
	c.keys++
	return k
}

// least finds, among some keys, one that counts nothing any more, or else the one
// that has used least of its limit.
func (c *Counters) least(keys map[string]*counter, now time.Time) string {
	victim, share, seen := "", 0.0, 0
	for key, k := range keys {
		if k.idle(now) {
			return key
		}
		if seen == 0 || k.share < share {
			victim, share = key, k.share
		}
		if seen++; seen == sample {
			break
		}
	}
	return victim
}

// idle tells whether nothing is counted any more.
func (k *counter) idle(now time.Time) bool {
	for i := range k.rings {
		k.rings[i].advance(now)
		if k.rings[i].sum > 0 {
			return false
		}
	}
	return true
}

// forget drops a counter. The lock is held.
func (c *Counters) forget(rule, key string) {
	if _, there := c.rules[rule][key]; !there {
		return
	}
	delete(c.rules[rule], key)
	if len(c.rules[rule]) == 0 {
		delete(c.rules, rule)
	}
	c.keys--
	// A record that stays behind because the store is broken is dropped when it is
	// read again and counts nothing.
	if len(c.dirty) < 2*maxKeys {
		c.dirty[id{rule, key}] = struct{}{}
	}
}

// bounded is a key of bounded length.
func bounded(key string) string {
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return strings.ToValidUTF8(key[:maxKey], "") + "#" + hex.EncodeToString(sum[:16])
}

// Len is how many keys are counted, and how many were forgotten to make room.
func (c *Counters) Len() (keys, evicted int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys, c.evicted
}

// Entry is one counter, for a list.
type Entry struct {
	Rule, Key string
	// Used has the counts by period, without limits: those are the rules' affair.
	Used []Use
	// State is the counter in the form of the store.
	State []byte
}

// List returns the counters of a rule, or of all, and of one key or all, in order.
func (c *Counters) List(rule, key string) []Entry {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Entry
	c.each(rule, key, func(rule, key string, k *counter) {
		if k.idle(now) {
			return
		}
		e := Entry{Rule: rule, Key: key, State: k.state()}
		for i := range k.rings {
			k.rings[i].advance(now)
			e.Used = append(e.Used, Use{Window: Window{Per: k.rings[i].per}, Used: int(k.rings[i].sum)})
		}
		out = append(out, e)
	})
	slices.SortFunc(out, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Rule, b.Rule), strings.Compare(a.Key, b.Key))
	})
	return out
}

// each calls f for the counters that are meant. The lock is held.
func (c *Counters) each(rule, key string, f func(rule, key string, k *counter)) {
	for name, keys := range c.rules {
		if rule != "" && name != rule {
			continue
		}
		for found, k := range keys {
			if key == "" || found == bounded(key) {
				f(name, found, k)
			}
		}
	}
}

// Reset forgets the counters of a rule, or of all, and of one key or all; it
// returns their number.
func (c *Counters) Reset(rule, key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	c.each(rule, key, func(rule, key string, _ *counter) {
		n++
		c.forget(rule, key)
	})
	return n
}

// state is the counter in the form of the store.
func (k *counter) state() []byte {
	var b []byte
	for i := range k.rings {
		b = k.rings[i].append(b)
	}
	return b
}

// Restore adds what a counter had in another process. State that cannot be read is
// left out.
func (c *Counters) Restore(rule, key string, state []byte) {
	now := time.Now()
	var rings []ring
	for len(state) > 0 && len(rings) < maxWindows {
		r, rest, ok := parseRing(state)
		if !ok {
			return
		}
		r.advance(now)
		rings, state = append(rings, r), rest
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.rules[rule][key]
	if k == nil {
		if k = c.begin(rule, key, now); k == nil {
			return
		}
	}
	for _, old := range rings {
		i := slices.IndexFunc(k.rings, func(r ring) bool { return r.per == old.per })
		if i < 0 {
			k.rings = append(k.rings, old)
			continue
		}
		k.rings[i].advance(now)
		k.rings[i].add(int(old.sum))
	}
}

// Load takes over what an earlier process has written.
func (c *Counters) Load(from Records) error {
	return from.Each(func(name, value string) bool {
		if rule, key, ok := strings.Cut(name, "\x00"); ok {
			c.Restore(rule, key, []byte(value))
		}
		return true
	})
}

// Save writes what has changed.
func (c *Counters) Save(to Records) error {
	now := time.Now()
	c.mu.Lock()
	states := make(map[id][]byte, len(c.dirty))
	for i := range c.dirty {
		states[i] = nil
		if k := c.rules[i.rule][i.key]; k != nil && !k.idle(now) {
			states[i] = k.state()
		}
	}
	c.dirty = map[id]struct{}{}
	c.mu.Unlock()
	for i, state := range states {
		name := i.rule + "\x00" + i.key
		err := error(nil)
		if state == nil {
			err = to.Delete(name)
		} else {
			err = to.Put(name, string(state))
		}
		if err != nil {
			c.again(states)
			return err
		}
	}
	if len(states) == 0 {
		return nil
	}
	if err := to.Sync(); err != nil {
		c.again(states)
		return err
	}
	return nil
}

// again marks counters that could not be written.
func (c *Counters) again(states map[id][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range states {
		if c.rules[i.rule][i.key] != nil || len(c.dirty) < maxKeys {
			c.dirty[i] = struct{}{}
		}
	}
}

// prune forgets the counters that count nothing any more.
func (c *Counters) prune() {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.each("", "", func(rule, key string, k *counter) {
		if k.idle(now) {
			c.forget(rule, key)
		}
	})
}

// pruneEvery is how often the counters that count nothing are forgotten.
const pruneEvery = 10 * time.Minute

// Run writes the counters now and then, and a last time when ctx ends. warn hears,
// once in a row, that they could not be written.
func (c *Counters) Run(ctx context.Context, to Records, warn func(error)) {
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	failed := false
	write := func() {
		err := c.Save(to)
		if err != nil && !failed {
			warn(err)
		}
		failed = err != nil
	}
	for {
		select {
		case <-save.C:
			write()
		case <-prune.C:
			c.prune()
		case <-ctx.Done():
			write()
			return
		}
	}
}
