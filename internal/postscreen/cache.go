package postscreen

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"postroad/internal/event"
	"postroad/internal/table"
)

// Bounds of the cache.
const (
	// maxClients is how many clients are remembered.
	maxClients = 1 << 20
	// maxRecord bounds a line of the file.
	maxRecord = 256
	// compactAt is how many lines beyond the clients in it the file may have.
	compactAt = 10_000
	// flushDelay is how long a record may wait for the disk.
	flushDelay = time.Second
)

// Cache remembers clients that passed, by address. It is in memory, and in a file
// that is only appended to, so that a restart does not forget: one line a record,
// of which the last one of a client counts.
type Cache struct {
	// name is postscreen_cache_map, for the log; path the file, empty for none.
	name, path string
	log        *event.Logger

	// file guards the file and failed, and is taken before mu.
	file   sync.Mutex
	failed bool

	mu      sync.Mutex
	clients map[[16]byte]stamps
	pending []byte
	// lines is how many the file has, anew tells that it must be written again;
	// timer runs while something is pending.
	lines int
	anew  bool
	timer *time.Timer
	// cleaned is when the cache was last cleaned.
	cleaned time.Time
}

// Caches are the caches of a process, one for each postscreen_cache_map.
type Caches struct {
	mu    sync.Mutex
	byMap map[string]*Cache
}

// ownSuffix is what our file has behind the name of Postfix's.
const ownSuffix = ".postroad"

// kept are the table types whose contents lie in a file of this machine.
var kept = map[string]bool{"btree": true, "hash": true, "lmdb": true, "cdb": true, "sdbm": true, "dbm": true}

// open returns the cache of a map, reading its file the first time. A cache
// without a file works, and forgets.
func (c *Caches) open(spec string, tables *table.Set, log *event.Logger) *Cache {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cache := c.byMap[spec]; cache != nil {
		return cache
	}
	if c.byMap == nil {
		c.byMap = map[string]*Cache{}
	}
	cache := &Cache{name: spec, log: log, clients: map[[16]byte]stamps{}}
	typ, path := table.SplitSpec(strings.TrimPrefix(spec, "proxy:"))
	if kept[typ] && path != "" {
		cache.path = path + ownSuffix
		cache.load(typ+":"+path, tables)
	} else {
		log.Warnf("%s: a cache of this type is kept in memory only", spec)
	}
	c.byMap[spec] = cache
	return cache
}

// Flush writes what is pending, at the end of the process.
func (c *Caches) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cache := range c.byMap {
		cache.flush()
	}
}

// load reads the file, or what Postfix remembered when there is none.
func (c *Cache) load(postfix string, tables *table.Set) {
	f, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		c.adopt(postfix, tables)
		return
	}
	if err != nil {
		c.log.Warnf("%s: %v", c.name, err)
		return
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			// A line without end was cut off by a crash; one that does not fit is
			// none of ours.
			if !errors.Is(err, io.EOF) {
				c.log.Warnf("%s: %v", c.path, err)
			}
			return
		}
		c.lines++
		if len(line) <= maxRecord {
			c.read(string(bytes.TrimRight(line, "\n")))
		}
	}
}

// read takes one line of the file.
func (c *Cache) read(line string) {
	addrText, record, ok := strings.Cut(line, " ")
	addr, err := netip.ParseAddr(addrText)
	if !ok || err != nil {
		return
	}
	if record == "" {
		delete(c.clients, addr.As16())
		return
	}
	if len(c.clients) < maxClients {
		c.clients[addr.As16()] = parseStamps(record)
	}
}

// adopt takes over the clients that Postfix has let in.
func (c *Cache) adopt(spec string, tables *table.Set) {
	typ, path := table.SplitSpec(spec)
	if _, err := os.Stat(table.IndexName(typ, path)); err != nil {
		return // there is none, which is no reason to complain
	}
	t, err := tables.Open(spec)
	if err != nil {
		c.log.Warnf("%s: %v", spec, err)
		return
	}
	list, ok := t.(table.Lister)
	if !ok {
		return
	}
	err = list.Each(func(e table.Entry) bool {
		if addr, err := netip.ParseAddr(e.Key); err == nil && len(e.Value) <= maxRecord {
			c.clients[addr.As16()] = parseStamps(e.Value)
		}
		return len(c.clients) < maxClients
	})
	if err != nil && len(c.clients) > 0 {
		c.log.Warnf("%s: %v", spec, err)
	}
	c.anew = len(c.clients) > 0
	c.flush()
}

// lookup returns what is known about a client.
func (c *Cache) lookup(addr netip.Addr) (stamps, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.clients[addr.As16()]
	return t, ok
}

// update remembers a client. When the cache is full nobody new is remembered
// until it has been cleaned.
func (c *Cache) update(addr netip.Addr, t stamps) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := addr.As16()
	if _, known := c.clients[key]; !known && len(c.clients) >= maxClients {
		return
	}
	c.clients[key] = t
	if c.path == "" {
		return
	}
	c.pending = appendRecord(c.pending, addr, t)
	c.lines++
	if c.timer == nil {
		c.timer = time.AfterFunc(flushDelay, c.flush)
	}
}

// appendRecord writes a line of the file.
func appendRecord(dst []byte, addr netip.Addr, t stamps) []byte {
	dst = append(addr.AppendTo(dst), ' ')
	return append(t.append(dst), '\n')
}

// flush writes what is pending, or everything when the file has grown too long. A
// disk that does not take it is complained of once.
func (c *Cache) flush() {
	c.file.Lock()
	defer c.file.Unlock()
	c.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	data, whole := c.pending, c.anew || c.lines > 2*len(c.clients)+compactAt
	c.pending, c.anew = nil, false
	if whole {
		data = data[:0]
		for key, t := range c.clients {
			data = appendRecord(data, netip.AddrFrom16(key).Unmap(), t)
		}
		c.lines = len(c.clients)
	}
	c.mu.Unlock()
	if c.path == "" || len(data) == 0 && !whole {
		return
	}
	var err error
	if whole {
		if err = write(c.path+".new", os.O_TRUNC, data); err == nil {
			err = os.Rename(c.path+".new", c.path)
		}
	} else {
		err = write(c.path, os.O_APPEND, data)
	}
	if err != nil && !c.failed {
		c.log.Warnf("%s: %v", c.path, err)
	}
	c.failed = err != nil
}

// write writes to a file.
func write(path string, how int, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|how, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// clean forgets clients that keep says nothing for, once in an interval however
// many servers ask, and logs how many.
func (c *Cache) clean(interval time.Duration, now time.Time, keep func(*stamps) bool) {
	c.mu.Lock()
	if !c.cleaned.IsZero() && now.Sub(c.cleaned) < interval {
		c.mu.Unlock()
		return
	}
	c.cleaned = now
	dropped := 0
	for key, t := range c.clients {
		if !keep(&t) {
			delete(c.clients, key)
			dropped++
		}
	}
	retained := len(c.clients)
	c.anew = c.anew || dropped > 0
	c.mu.Unlock()
	c.log.Emit(&event.Screening{What: "cleanup", Text: "cache " + c.name + " full cleanup: retained=" + strconv.Itoa(retained) +
		" dropped=" + strconv.Itoa(dropped) + " entries"})
	c.flush()
}
