package table

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// maxIncludes bounds how deep "/file" items of match lists nest.
const maxIncludes = 20

// MatchList is a list like mydestination or mynetworks: the first item that
// matches decides, "!item" decides for no.
type MatchList struct {
	param   string
	items   []matchItem
	style   matchStyle
	parents bool
	utf8    bool
	warn    func(format string, args ...any)
}

// matchStyle says what the strings of a list are.
type matchStyle uint8

const (
	matchString matchStyle = 1 << iota
	matchDomain
	matchAddress
)

// matchItem is one item of a list: a table, a network, or text.
type matchItem struct {
	negate bool
	text   string
	table  Table
	net    netip.Prefix
	// broken is why the item cannot be used: when it is reached, the list has
	// no answer. badNet is the same for peers of the family of the bad network.
	broken, badNet error
}

// DomainList returns a list of domains. With parents "example.com" matches its
// subdomains too; without, ".example.com" does that.
func (s *Set) DomainList(param string, items []string, parents bool) (*MatchList, error) {
	return s.matchList(param, items, matchDomain, parents)
}

// StringList returns a list of plain strings.
func (s *Set) StringList(param string, items []string) (*MatchList, error) {
	return s.matchList(param, items, matchString, false)
}

// AddrList returns a list of addresses, networks and host names. Parents of
// host names match because mynetworks and its kin are in the default of
// parent_domain_matches_subdomains; use HostList where they are not.
func (s *Set) AddrList(param string, items []string) (*MatchList, error) {
	return s.HostList(param, items, true)
}

// HostList is AddrList with a say in parents.
func (s *Set) HostList(param string, items []string, parents bool) (*MatchList, error) {
	return s.matchList(param, items, matchDomain|matchAddress, parents)
}

func (s *Set) matchList(param string, items []string, style matchStyle, parents bool) (*MatchList, error) {
	l := &MatchList{param: param, style: style, parents: parents, utf8: s.options.UTF8, warn: s.options.warnf}
	return l, s.addItems(l, items, false, 0)
}

// addItems reads items into l.
func (s *Set) addItems(l *MatchList, items []string, negate bool, depth int) error {
	for _, item := range items {
		if strings.HasPrefix(item, "#") {
			l.warn("%s: comment at end of line is not supported: %s", l.param, strings.Join(items, " "))
			return nil
		}
		text := strings.TrimLeft(item, "!")
		not := negate != ((len(item)-len(text))%2 == 1)
		switch {
		case text == "":
			return fmt.Errorf("%s: no pattern after '!'", l.param)
		case text[0] == '/':
			if err := s.addFile(l, text, not, depth); err != nil {
				return err
			}
		case text[0] != '[' && strings.Contains(text, ":"):
			t, err := s.Open(text)
			if err != nil {
				return fmt.Errorf("%s: %w", l.param, err)
			}
			l.items = append(l.items, matchItem{negate: not, text: text, table: t})
		default:
			l.items = append(l.items, l.item(text, not))
		}
	}
	return nil
}

// addFile reads the items of a "/file" item. A file that cannot be read is an
// item without an answer.
func (s *Set) addFile(l *MatchList, path string, negate bool, depth int) error {
	text, _, err := s.options.readText(path)
	if err == nil && depth >= maxIncludes {
		err = fmt.Errorf("files include each other more than %d deep", maxIncludes)
	}
	if err != nil {
		err = fmt.Errorf("open file %s: %w", path, Reason(err))
		l.warn("%s: %v", l.param, err)
		l.items = append(l.items, matchItem{negate: negate, text: path, broken: err})
		return nil
	}
	r := lineReader{rest: text}
	for line, ok := r.next(); ok; line, ok = r.next() {
		if err := s.addItems(l, splitBraced(line.text), negate, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// item makes an item of text that is neither a file nor a table.
func (l *MatchList) item(text string, negate bool) matchItem {
	m := matchItem{negate: negate, text: Fold(text, l.utf8)}
	if l.style&matchAddress == 0 {
		return m
	}
	plain := m.text
	bracketed := strings.HasPrefix(plain, "[")
	if !bracketed && strings.Trim(plain, "0123456789./") != "" {
		return m // a host name
	}
	if !bracketed && !strings.Contains(plain, "/") && strings.Count(plain, ".") != 3 {
		return m
	}
	net, err := parseNet(plain)
	if err != nil {
		l.warn("%s: %v", l.param, err)
		m.badNet = err
		return m
	}
	m.net = net
	return m
}

// Match tells whether s is in the list: a domain, a string or an address as
// text, as the list was made for.
func (l *MatchList) Match(ctx context.Context, s string) (bool, error) {
	if l == nil || len(l.items) == 0 {
		return false, nil
	}
	if l.style&matchAddress != 0 {
		if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			return l.MatchHost(ctx, "", addr)
		}
	}
	return l.match(ctx, Fold(s, l.utf8), netip.Addr{}, "")
}

// MatchHost tells whether a host is in the list, by name or by address; either
// may be missing.
func (l *MatchList) MatchHost(ctx context.Context, name string, addr netip.Addr) (bool, error) {
	if l == nil || len(l.items) == 0 {
		return false, nil
	}
	text := ""
	if addr.IsValid() {
		addr = addr.Unmap().WithZone("")
		text = addr.String()
	}
	return l.match(ctx, Fold(name, l.utf8), addr, text)
}

// match walks the items; an error has been logged when it returns.
func (l *MatchList) match(ctx context.Context, name string, addr netip.Addr, addrText string) (bool, error) {
	for i := range l.items {
		item := &l.items[i]
		key := name
		found, err := l.matchName(ctx, item, name)
		if !found && err == nil && addr.IsValid() {
			key = addrText
			found, err = matchAddr(ctx, item, addr, addrText)
		}
		if err != nil {
			if item.table != nil {
				l.warn("%v", asLookupError(item.table, key, err))
				l.warn("%s: %s: table lookup problem", l.param, item.table)
			}
			return false, fmt.Errorf("%s: %s: %w", l.param, item.text, err)
		}
		if found {
			if !item.negate {
				tell(ctx, l.param, Hit{Key: key, Table: item.text, Found: true})
			}
			return !item.negate, nil
		}
	}
	return false, nil
}

// matchName compares a folded name to an item.
func (l *MatchList) matchName(ctx context.Context, item *matchItem, name string) (bool, error) {
	switch {
	case item.broken != nil:
		return false, item.broken
	case name == "":
		return false, nil
	case item.table != nil && l.style&matchDomain != 0:
		return l.matchParents(ctx, item.table, name)
	case item.table != nil:
		_, ok, err := item.table.Lookup(ctx, name)
		return ok, err
	case item.text == name:
		return true, nil
	case l.style&matchDomain == 0 || len(name) <= len(item.text) || !strings.HasSuffix(name, item.text):
		return false, nil
	case l.parents:
		return name[len(name)-len(item.text)-1] == '.', nil
	}
	return item.text[0] == '.', nil
}

// matchParents looks for a domain or its parents in a table; pattern tables
// see the whole domain only.
func (l *MatchList) matchParents(ctx context.Context, t Table, name string) (bool, error) {
	for key := name; key != ""; key = parent(key, !l.parents) {
		if _, ok, err := t.Lookup(ctx, key); ok || err != nil {
			return ok, err
		}
		if t.Kind() != Fixed {
			break
		}
	}
	return false, nil
}

// matchAddr compares an address to an item.
func matchAddr(ctx context.Context, item *matchItem, addr netip.Addr, text string) (bool, error) {
	switch {
	case item.badNet != nil && addr.Is6() == strings.Contains(item.text, ":"):
		return false, item.badNet
	case item.table != nil:
		_, ok, err := item.table.Lookup(ctx, text)
		return ok, err
	case item.net.IsValid():
		return item.net.Contains(addr), nil
	}
	return item.text == text, nil
}
