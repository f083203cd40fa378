package postscreen

import (
	"context"
	"net/netip"
	"strings"

	"postroad/internal/event"
	"postroad/internal/table"
)

// verdict is what an access list says about a client.
type verdict uint8

const (
	dunno verdict = iota
	permit
	reject
)

// accessList is postscreen_access_list.
type accessList struct {
	items    []accessItem
	networks *table.MatchList
	log      *event.Logger
}

// accessItem is a word, or a table when there is one.
type accessItem struct {
	word  string
	table table.Table
}

// newAccessList opens the tables of a list.
func newAccessList(tables *table.Set, words, networks []string, log *event.Logger) (*accessList, error) {
	l := &accessList{log: log}
	var err error
	if l.networks, err = tables.AddrList("mynetworks", networks); err != nil {
		return nil, err
	}
	for _, w := range words {
		item := accessItem{word: w}
		if strings.Contains(w, ":") {
			if item.table, err = tables.Open(w); err != nil {
				return nil, err
			}
		}
		l.items = append(l.items, item)
	}
	return l, nil
}

// eval asks the list. What goes wrong ends it without an answer, and is logged.
func (l *accessList) eval(ctx context.Context, client netip.Addr) verdict {
	v, _ := l.walk(ctx, client, "postscreen_access_list", l.items)
	return v
}

// walk asks the items in turn; final tells that what follows does not count.
func (l *accessList) walk(ctx context.Context, client netip.Addr, origin string, items []accessItem) (v verdict, final bool) {
	for _, item := range items {
		switch {
		case item.table != nil:
			value, ok, err := item.table.Lookup(ctx, client.String())
			if err != nil {
				l.log.Warnf("%s: %s: table lookup error -- ignoring the remainder of this access list", origin, item.word)
				return dunno, true
			}
			if !ok {
				continue
			}
			// A list in its own right; "dunno" in it ends it, not this one.
			if v, failed := l.walk(ctx, client, item.word, l.inner(item.word, value)); v != dunno || failed {
				return v, true
			}
		case strings.EqualFold(item.word, "reject"):
			return reject, true
		case strings.EqualFold(item.word, "permit"):
			return permit, true
		case strings.EqualFold(item.word, "permit_mynetworks"):
			ok, err := l.networks.MatchHost(ctx, "", client)
			if err != nil {
				l.log.Warnf("%s: %s: mynetworks lookup error -- ignoring the remainder of this access list", origin, item.word)
				return dunno, true
			}
			if ok {
				return permit, true
			}
		case strings.EqualFold(item.word, "dunno"):
			return dunno, false
		default:
			l.log.Warnf("%s: unknown command: %s -- ignoring the remainder of this access list", origin, item.word)
			return dunno, true
		}
	}
	return dunno, false
}

// inner reads the list that a table gave. Tables in it are not opened.
func (l *accessList) inner(origin, value string) []accessItem {
	var items []accessItem
	for _, w := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		if strings.Contains(w, ":") {
			l.log.Warnf("table %s: lookup result \"%s\" is not allowed -- ignoring remainder of access list", origin, w)
			return append(items, accessItem{word: "dunno"})
		}
		items = append(items, accessItem{word: w})
	}
	return items
}
