package table

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"postroad/internal/sys"
)

// memcacheDigests has the values of key_digest.
var memcacheDigests = map[string]func() hash.Hash{
	"md5":        md5.New,
	"sha1":       sha1.New,
	"sha224":     sha256.New224,
	"sha256":     sha256.New,
	"sha384":     sha512.New384,
	"sha512":     sha512.New,
	"sha512-224": sha512.New512_224,
	"sha512-256": sha512.New512_256,
	"sha3-224":   func() hash.Hash { return sha3.New224() },
	"sha3-256":   func() hash.Hash { return sha3.New256() },
	"sha3-384":   func() hash.Hash { return sha3.New384() },
	"sha3-512":   func() hash.Hash { return sha3.New512() },
}

// memcacheTable is memcache:file: a memcached server, and behind it an optional
// table that has everything.
type memcacheTable struct {
	name   string
	server *remote
	spec   *querySpec
	// digest replaces the key by its hash; nil leaves it as it is.
	digest func() hash.Hash
	// maxLine and maxData bound a reply.
	maxLine, maxData int
	tries            int
	pause            time.Duration
	flags, ttl       int
	// backup may be nil; backupSpec is its name.
	backup     Table
	backupSpec string
	warn       func(format string, args ...any)
}

// openMemcache opens memcache:file. The server is not asked before the first
// lookup.
func openMemcache(name string, o *Options) (Table, error) {
	c, err := openClientConfig(name, o)
	if err != nil {
		return nil, err
	}
	m := &memcacheTable{name: "memcache:" + name, warn: o.warnf}
	timeout := time.Duration(c.number("timeout", 2, 0)) * time.Second
	if timeout == 0 {
		timeout = remoteTimeout
	}
	m.ttl = c.number("ttl", 3600, 0)
	m.flags = c.number("flags", 0, 0)
	m.pause = time.Duration(c.number("retry_pause", 1, 1)) * time.Second
	m.tries = c.number("max_try", 2, 1)
	m.maxLine = c.number("line_size_limit", 1024, 1)
	m.maxData = c.number("data_size_limit", 10240, 1)
	if digest := c.text("key_digest", ""); digest != "" {
		if m.digest = memcacheDigests[strings.ToLower(digest)]; m.digest == nil {
			c.fail("open %s: key digest %s is not available", name, digest)
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	if m.server, err = newRemote(c.text("memcache", "inet:localhost:11211"), timeout, o); err != nil {
		return nil, err
	}
	if m.spec, err = newQuerySpec(m.name, c.only("domain"), o, c.text("key_format", "%s")); err != nil {
		return nil, err
	}
	if m.backupSpec = c.text("backup", ""); m.backupSpec != "" {
		m.backup, err = o.openInner(m.backupSpec)
	}
	return m, err
}

// only hides all settings but one, for code that reads settings which the type
// does not have.
func (c *clientConfig) only(name string) *clientConfig {
	get := func(setting string) (string, bool) {
		if setting != name {
			return "", false
		}
		return c.get(setting)
	}
	return &clientConfig{name: c.name, get: get}
}

// openInner opens a table that belongs to another one.
func (o *Options) openInner(spec string) (Table, error) {
	inner := *o
	if inner.depth++; inner.depth > maxTableDepth {
		return nil, fmt.Errorf("%s: tables name each other more than %d deep", spec, maxTableDepth)
	}
	return Open(spec, inner)
}

// Lookup implements Table. What the server does not have, or cannot say, is
// looked up in the backup, whose answer counts then, and which goes into the
// server.
func (m *memcacheTable) Lookup(ctx context.Context, key string) (string, bool, error) {
	wire, ok, err := m.key(ctx, key)
	if !ok || err != nil {
		return "", false, err
	}
	value, ok, err := m.get(ctx, wire)
	if ok || m.backup == nil {
		return value, ok, err
	}
	alive := err == nil
	value, ok, err = m.backup.Lookup(ctx, key)
	if ok && err == nil && alive {
		m.set(ctx, wire, value)
	}
	return value, ok, err
}

// key makes the key of the server; ok is false for one that it cannot have.
func (m *memcacheTable) key(ctx context.Context, key string) (wire string, ok bool, err error) {
	if ok, err := m.spec.asks(ctx, key); !ok || err != nil {
		return "", false, err
	}
	wire = m.spec.query(0, key, plainText)
	if m.digest != nil {
		h := m.digest()
		io.WriteString(h, wire)
		wire = hex.EncodeToString(h.Sum(nil))
	}
	return wire, wire != "" && !strings.ContainsAny(wire, asciiSpace), nil
}

// get asks the server.
func (m *memcacheTable) get(ctx context.Context, wire string) (value string, ok bool, err error) {
	err = m.try(ctx, func(c *remoteConn) error {
		c.buf = append(append(append(c.buf[:0], "get "...), wire...), "\r\n"...)
		if _, err := c.Write(c.buf); err != nil {
			return err
		}
		value, ok, err = m.readValue(c, wire)
		return err
	})
	if err != nil {
		return "", false, err
	}
	return value, ok, nil
}

// set stores an answer of the backup. That it fails is no problem of the lookup.
func (m *memcacheTable) set(ctx context.Context, wire, value string) {
	if err := m.put(ctx, wire, value); err != nil {
		m.warn("database %s: update failed: %v", m.name, err)
	}
}

// put stores a value, unless it is too long.
func (m *memcacheTable) put(ctx context.Context, wire, value string) error {
	if len(value) > m.maxData {
		m.warn("database %s: data for key %s is too long (data_size_limit=%d) -- not stored", m.name, wire, m.maxData)
		return nil
	}
	_, err := m.order(ctx, fmt.Appendf(nil, "set %s %d %d %d\r\n%s\r\n", wire, m.flags, m.ttl, len(value), value), "STORED")
	return err
}

// order has the server do something, and returns which of the replies it gave.
func (m *memcacheTable) order(ctx context.Context, request []byte, replies ...string) (reply string, err error) {
	err = m.try(ctx, func(c *remoteConn) error {
		if _, err := c.Write(request); err != nil {
			return err
		}
		line, err := m.readLine(c)
		if err == nil && !slices.Contains(replies, line) {
			err = unexpectedReply(line)
		}
		reply = line
		return err
	})
	return reply, err
}

// Store is a server that postmap changes, key by key.
type Store struct{ m *memcacheTable }

// StoreOf returns the server behind a table, where it is of a type that has one.
func StoreOf(t Table) (Store, bool) {
	if f, ok := t.(*folding); ok {
		t = f.inner
	}
	m, ok := t.(*memcacheTable)
	return Store{m}, ok
}

// Backup is the name of the table that is to be changed too, empty for none.
func (s Store) Backup() string { return s.m.backupSpec }

// Put stores a value.
func (s Store) Put(ctx context.Context, key, value string) error {
	wire, ok, err := s.m.key(ctx, key)
	if !ok || err != nil {
		return err
	}
	return s.m.put(ctx, wire, value)
}

// Delete removes a key and tells whether it was there.
func (s Store) Delete(ctx context.Context, key string) (bool, error) {
	wire, ok, err := s.m.key(ctx, key)
	if !ok || err != nil {
		return false, err
	}
	reply, err := s.m.order(ctx, fmt.Appendf(nil, "delete %s\r\n", wire), "DELETED", "NOT_FOUND")
	return reply == "DELETED", err
}

// try does talk up to max_try times. A server that accepts no connection is not
// tried again.
func (m *memcacheTable) try(ctx context.Context, talk func(*remoteConn) error) error {
	for n := 1; ; n++ {
		err := m.server.do(ctx, talk)
		var connect *connectError
		if err == nil || n >= m.tries || ctx.Err() != nil || errors.As(err, &connect) {
			return err
		}
		if err := sys.Pause(ctx, m.pause); err != nil {
			return err
		}
	}
}

// unexpectedReply is the error for a reply that makes no sense.
func unexpectedReply(line string) error {
	return fmt.Errorf("unexpected memcache server reply: %q", clip(line, 100))
}

// readLine reads a line and drops its end.
func (m *memcacheTable) readLine(c *remoteConn) (string, error) {
	line, err := c.readLine(m.maxLine)
	return strings.TrimSuffix(line, "\r"), err
}

// readValue reads the reply to a get: "END", or "VALUE key flags size" with a
// block of data and "END".
func (m *memcacheTable) readValue(c *remoteConn, wire string) (string, bool, error) {
	line, err := m.readLine(c)
	if err != nil {
		return "", false, err
	}
	if line == "END" {
		return "", false, nil
	}
	size, ok := memcacheSize(line, wire)
	if !ok || size > m.maxData {
		return "", false, unexpectedReply(line)
	}
	block := make([]byte, size+2)
	if _, err := io.ReadFull(c.r, block); err != nil {
		return "", false, fmt.Errorf("receiving memcache server reply: %w", err)
	}
	value, ok := strings.CutSuffix(string(block), "\r\n")
	if !ok {
		return "", false, unexpectedReply(value)
	}
	if line, err = m.readLine(c); err != nil {
		return "", false, err
	}
	if line != "END" {
		return "", false, unexpectedReply(line)
	}
	if strings.IndexByte(value, 0) >= 0 {
		return "", false, errRemoteNUL
	}
	return value, true, nil
}

// memcacheSize reads "VALUE key flags size", with the key that was asked for.
func memcacheSize(line, wire string) (size int, ok bool) {
	rest, ours := strings.CutPrefix(line, "VALUE "+wire+" ")
	words := strings.Fields(rest)
	if !ours || len(words) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(words[1], 10, 31)
	return int(n), err == nil
}

// Each lists the backup; the server cannot list what it has.
func (m *memcacheTable) Each(fn func(Entry) bool) error {
	l, ok := m.backup.(Lister)
	if !ok {
		return errNoSequence
	}
	return l.Each(fn)
}

// Kind implements Table. It is fixed with every key_format: Postfix hands parts
// of an address to such a table too.
func (m *memcacheTable) Kind() Kind { return Fixed }

// String implements Table.
func (m *memcacheTable) String() string { return m.name }

// Close implements Table.
func (m *memcacheTable) Close() error {
	errs := []error{m.server.close(), m.spec.close()}
	if m.backup != nil {
		errs = append(errs, m.backup.Close())
	}
	return errors.Join(errs...)
}
