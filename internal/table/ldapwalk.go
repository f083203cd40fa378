package table

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// ldapWalk is one lookup: a search, and those that its results lead to.
type ldapWalk struct {
	t        *ldapTable
	ctx      context.Context
	c        *remoteConn
	key      string
	answer   *queryAnswer
	searches int
}

// maxLDAPSearches bounds the searches of one lookup.
const maxLDAPSearches = 100_000

// lookup does the first search. What it returns is an error of the conversation
// or of the directory; an answer that cannot be given for another reason is in
// w.answer.
func (w *ldapWalk) lookup() error {
	s := w.t.search
	s.base = w.t.spec.query(0, w.key, quoteDN)
	s.filter = w.t.spec.query(1, w.key, quoteFilter)
	found, err := w.run(&s)
	if noSuchObject(err) && w.t.variable {
		return nil
	}
	if noSuchObject(err) {
		return fmt.Errorf("search base '%s' not found: %w", s.base, err)
	}
	if err != nil {
		return err
	}
	return w.entries(found, 1)
}

// noSuchObject tells whether the directory does not have the base of a search.
func noSuchObject(err error) bool {
	var result *ldapError
	return errors.As(err, &result) && result.code == ldap.LDAPResultNoSuchObject
}

// run does a search.
func (w *ldapWalk) run(s *ldapSearch) ([][]ldapAttr, error) {
	if w.searches++; w.searches > maxLDAPSearches {
		return nil, fmt.Errorf("more than %d searches for one lookup", maxLDAPSearches)
	}
	found, err := w.c.search(s)
	if w.t.servers.chase {
		return w.follow(s, found, err)
	}
	return found.entries, err
}

// entries adds the results in the entries that a search found. Whether an entry
// counts as terminal or as a leaf is kept from one entry to the next when the
// next has no attribute that tells, as in Postfix.
func (w *ldapWalk) entries(entries [][]ldapAttr, depth int) error {
	t := w.t
	if limit := t.search.sizeLimit; limit > 0 && len(entries) > limit {
		return fmt.Errorf("the directory returns more than size_limit = %d entries", limit)
	}
	terminal, leaf := false, true
	special := t.terminal + t.leaf + t.plain
	for _, entry := range entries {
		if hasValues(entry, t.search.attributes[:t.terminal]) {
			terminal = true
		}
		if !terminal && t.leaf > 0 && hasValues(entry, t.search.attributes[special:]) {
			leaf = false
		}
		for _, attr := range entry {
			i := t.attribute(attr.name)
			var err error
			switch {
			case i < 0 || len(attr.values) == 0:
			case terminal && i >= t.terminal || i < special && !leaf && i < t.terminal+t.leaf:
				// The entry has attributes that count more.
			case i < special:
				w.add(attr.values)
			case depth >= t.recursion:
				err = fmt.Errorf("recursion limit exceeded for special attribute %s", printable(attr.name, 100))
			default:
				err = w.references(attr.values, depth)
			}
			if err != nil || w.answer.err != nil {
				return err
			}
		}
	}
	return nil
}

// hasValues tells whether an entry has one of the attributes.
func hasValues(entry []ldapAttr, names []string) bool {
	for _, name := range names {
		for _, attr := range entry {
			if strings.EqualFold(attr.name, name) && len(attr.values) > 0 {
				return true
			}
		}
	}
	return false
}

// attribute is the place of an attribute, or of one that it is a subtype of, in
// the list of those that were asked for; -1 when it is not there.
func (t *ldapTable) attribute(name string) int {
	for i, wanted := range t.search.attributes {
		if subtype(wanted, name) > 0 {
			return i
		}
	}
	return -1
}

// subtype compares attribute descriptions: 1 when b is a or a with options, -1
// when a is b with options, 0 for others.
func subtype(a, b string) int {
	switch {
	case len(b) >= len(a) && strings.EqualFold(a, b[:len(a)]) && (len(a) == len(b) || b[len(a)] == ';'):
		return 1
	case len(a) > len(b) && strings.EqualFold(b, a[:len(b)]) && a[len(b)] == ';':
		return -1
	}
	return 0
}

// add appends the values of an ordinary attribute to the answer.
func (w *ldapWalk) add(values []string) {
	for _, value := range values {
		value, _, _ = strings.Cut(value, "\x00") // where Postfix's C text ends
		if !w.answer.add(value) {
			return
		}
	}
}

// references follows the values of a special attribute: DNs and LDAP URLs.
func (w *ldapWalk) references(values []string, depth int) error {
	for _, value := range values {
		s := w.t.search
		s.base, s.scope, s.filter = value, ldap.ScopeBaseObject, "(objectClass=*)"
		if isLDAPURL(value) {
			u, err := parseLDAPURL(value)
			if err != nil {
				return err
			}
			s.base, s.scope = u.dn, u.scope
			if u.filter != "" {
				s.filter = u.filter
			}
			if s.attributes = w.t.wanted(u.attributes); len(s.attributes) == 0 {
				continue
			}
		}
		found, err := w.run(&s)
		if noSuchObject(err) {
			w.t.warn("%s: DN %s not found, skipping", w.t.name, printable(value, 200))
			continue
		}
		if err == nil {
			err = w.entries(found, depth+1)
		}
		if err != nil || w.answer.err != nil {
			return err
		}
	}
	return nil
}

// wanted returns the attributes of a URL that the table asks for too; a URL
// without attributes has all.
func (t *ldapTable) wanted(attributes []string) []string {
	if len(attributes) == 0 {
		return t.search.attributes
	}
	var both []string
	for _, theirs := range attributes {
		for _, ours := range t.search.attributes {
			switch subtype(theirs, ours) {
			case 1:
				both = append(both, ours)
			case -1:
				both = append(both, theirs)
			}
		}
	}
	return both
}

// maxReferrals bounds the servers that one search may be sent on to, one after
// the other.
const maxReferrals = 5

// follow sends a search on to the servers that an answer names, as an anonymous
// client, and adds what they have.
func (w *ldapWalk) follow(s *ldapSearch, found ldapFound, err error) ([][]ldapAttr, error) {
	var result *ldapError
	if errors.As(err, &result) && result.code == ldap.LDAPResultReferral {
		// RFC 4511 section 4.1.10: each of them has the whole answer.
		return w.refer(s, result.referrals, 1)
	}
	if err != nil {
		return nil, err
	}
	entries := found.entries
	for _, ref := range found.references {
		more, err := w.refer(s, []string{ref}, 1)
		if err != nil && !noSuchObject(err) {
			return nil, err
		}
		entries = append(entries, more...)
	}
	return entries, nil
}

// refer does a search at the first place that answers.
func (w *ldapWalk) refer(s *ldapSearch, places []string, hop int) ([][]ldapAttr, error) {
	if w.searches++; hop > maxReferrals || w.searches > maxLDAPSearches {
		return nil, errors.New("too many referrals")
	}
	err := errors.New("a referral names no place")
	for _, place := range places {
		var found ldapFound
		var u *ldapURL
		if u, err = parseLDAPURL(place); err != nil {
			continue
		}
		moved := *s
		if u.dn != "" {
			moved.base = u.dn
		}
		if u.hasScope {
			moved.scope = u.scope
		}
		if u.filter != "" {
			moved.filter = u.filter
		}
		if found, err = w.searchAt(u, &moved); err == nil {
			return w.gather(&moved, found, hop)
		}
		var result *ldapError
		if errors.As(err, &result) && result.code == ldap.LDAPResultReferral {
			return w.refer(&moved, result.referrals, hop+1)
		}
	}
	return nil, fmt.Errorf("referral: %w", err)
}

// gather adds what the references in an answer lead to.
func (w *ldapWalk) gather(s *ldapSearch, found ldapFound, hop int) ([][]ldapAttr, error) {
	entries := found.entries
	for _, ref := range found.references {
		more, err := w.refer(s, []string{ref}, hop+1)
		if err != nil && !noSuchObject(err) {
			return nil, err
		}
		entries = append(entries, more...)
	}
	return entries, nil
}

// searchAt does a search at another server.
func (w *ldapWalk) searchAt(u *ldapURL, s *ldapSearch) (ldapFound, error) {
	ctx, cancel := context.WithTimeout(w.ctx, s.timeout+time.Second)
	defer cancel()
	c, err := w.t.servers.referred().openOne(ctx, u)
	if err != nil {
		return ldapFound{}, err
	}
	defer c.Close()
	return c.search(s)
}

// referred returns how to be an anonymous client of a server that another one
// named.
func (s *ldapServers) referred() *ldapServers {
	other := *s
	other.bind, other.dn, other.secret, other.mechanism = ldapBindSimple, "", "", ""
	return &other
}
