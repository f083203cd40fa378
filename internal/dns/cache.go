package dns

import (
	"container/list"
	"net/netip"
	"time"
)

// key is a question.
type key struct {
	name  string
	qtype uint16
}

// answer is what a question gave; it is shared and never changed. err is set
// for an answer that there is nothing.
type answer struct {
	mx        []MXRecord
	addrs     []netip.Addr
	texts     []string
	authentic bool
	canonical string
	ttl       time.Duration
	expires   time.Time
	err       *Error
}

// cache holds answers, the least recently used one leaves first. The caller
// holds the lock of the Resolver.
type cache struct {
	limit   int
	entries map[key]*list.Element
	order   list.List // of *entry, front = most recent
}

type entry struct {
	key key
	ans *answer
}

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: make(map[key]*list.Element)}
}

// get returns the answer to k that is still good at now.
func (c *cache) get(k key, now time.Time) *answer {
	el := c.entries[k]
	if el == nil {
		return nil
	}
	ans := el.Value.(*entry).ans
	if !now.Before(ans.expires) {
		c.remove(el)
		return nil
	}
	c.order.MoveToFront(el)
	return ans
}

func (c *cache) put(k key, ans *answer) {
	if el := c.entries[k]; el != nil {
		el.Value.(*entry).ans = ans
		c.order.MoveToFront(el)
		return
	}
	for len(c.entries) >= c.limit {
		c.remove(c.order.Back())
	}
	c.entries[k] = c.order.PushFront(&entry{key: k, ans: ans})
}

func (c *cache) remove(el *list.Element) {
	c.order.Remove(el)
	delete(c.entries, el.Value.(*entry).key)
}
