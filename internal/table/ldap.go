package table

import (
	"context"
	"errors"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// ldapTable is ldap:file: searches in a directory.
type ldapTable struct {
	name    string
	spec    *querySpec
	server  *remote
	servers *ldapServers
	// search is what all searches have in common.
	search ldapSearch
	// terminal, leaf and plain are how many of search.attributes are terminal,
	// leaf-only and ordinary result attributes; the special ones follow.
	terminal, leaf, plain int
	// variable tells that the search base depends on the key, so that its
	// absence says that the key is absent.
	variable  bool
	recursion int
	warn      func(format string, args ...any)
}

// openLDAP opens ldap:file. The directory is not asked before the first lookup.
func openLDAP(name string, o *Options) (Table, error) {
	c, err := openClientConfig(name, o)
	if err != nil {
		return nil, err
	}
	c.rename("result_format", "result_filter")
	t := &ldapTable{name: "ldap:" + name, warn: o.warnf}
	t.servers = newLDAPServers(c, o)
	t.readSearch(c, o)
	filter := c.text("query_filter", "(mailacceptinggeneralid=%s)")
	if c.err == nil && !strings.Contains(strings.ReplaceAll(filter, "%%", ""), "%") {
		o.warnf("%s: Fixed query_filter %s is probably useless", t.name, filter)
	}
	if filter, err = normalFilter(filter); err == nil {
		err = checkFilter(filter)
	}
	if err != nil {
		c.fail("%s: query_filter: %w", c.name, err)
	}
	base := c.text("search_base", "")
	t.variable = strings.Contains(strings.ReplaceAll(base, "%%", ""), "%")
	if t.spec, err = newQuerySpec(t.name, c, o, base, filter); err != nil {
		return nil, err
	}
	t.search.sizeLimit = c.number("size_limit", t.spec.limit, 0)
	if c.err != nil {
		return nil, errors.Join(c.err, t.spec.close())
	}
	t.server = &remote{
		address: t.servers.list[0].address, open: t.servers.open,
		wait: t.servers.timeout, timeout: ldapLookupTime, maxIdle: ldapIdle, maxAge: ldapAge,
		slots: make(chan struct{}, maxLDAPConns),
	}
	return t, nil
}

// rename lets an old name of a setting count where the new one is absent.
func (c *clientConfig) rename(name, old string) {
	get := c.get
	c.get = func(setting string) (string, bool) {
		value, ok := get(setting)
		if !ok && setting == name {
			return get(old)
		}
		return value, ok
	}
}

// readSearch reads what is searched and how.
func (t *ldapTable) readSearch(c *clientConfig, o *Options) {
	s := &t.search
	s.timeout = t.servers.timeout
	scope := c.needed("scope", "sub")
	known := false
	if s.scope, known = ldapScopes[strings.ToLower(scope)]; !known {
		o.warnf("%s: Unrecognized value %s specified for scope; using sub", t.name, clip(scope, 100))
		s.scope = ldap.ScopeWholeSubtree
	}
	if s.derefAliases = c.number("dereference", 0, 0); s.derefAliases > ldap.DerefAlways {
		o.warnf("%s: Unrecognized value %d specified for dereference; using 0", t.name, s.derefAliases)
		s.derefAliases = ldap.NeverDerefAliases
	}
	t.recursion = c.number("recursion_limit", 1000, 1)
	s.attributes = c.list("terminal_result_attribute")
	t.terminal = len(s.attributes)
	s.attributes = append(s.attributes, c.list("leaf_result_attribute")...)
	t.leaf = len(s.attributes) - t.terminal
	if _, set := c.get("result_attribute"); set {
		s.attributes = append(s.attributes, c.list("result_attribute")...)
	} else {
		s.attributes = append(s.attributes, "maildrop")
	}
	t.plain = len(s.attributes) - t.leaf - t.terminal
	s.attributes = append(s.attributes, c.list("special_result_attribute")...)
	if c.yes("cache", false) {
		o.warnf("%s: ignoring cache", t.name)
	}
	for _, name := range []string{"cache_expiry", "cache_size"} {
		if c.number(name, -1, 0) >= 0 {
			o.warnf("%s: ignoring %s", t.name, name)
		}
	}
}

// Lookup implements Table. A directory that goes away is asked once more.
func (t *ldapTable) Lookup(ctx context.Context, key string) (string, bool, error) {
	if ok, err := t.spec.asks(ctx, key); !ok || err != nil {
		return "", false, err
	}
	ctx, cancel := context.WithTimeout(ctx, ldapLookupTime)
	defer cancel()
	var w *ldapWalk
	ask := func(c *remoteConn) error {
		w = &ldapWalk{t: t, ctx: ctx, c: c, key: key, answer: t.spec.answerTo(key)}
		return w.lookup()
	}
	err := t.server.do(ctx, ask)
	if err != nil && lost(err) {
		err = t.server.do(ctx, ask)
	}
	if err != nil {
		return "", false, err
	}
	return w.answer.result()
}

// Kind implements Table. It is fixed whatever the query has, as in Postfix.
func (t *ldapTable) Kind() Kind { return Fixed }

// String implements Table.
func (t *ldapTable) String() string { return t.name }

// Close implements Table.
func (t *ldapTable) Close() error { return errors.Join(t.server.close(), t.spec.close()) }
