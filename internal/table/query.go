package table

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// queryTemplate is a text with %-escapes, cut into its parts: an escape, and the plain
// text behind it. The first part has no escape.
type queryTemplate []templatePart

// templatePart is one escape and the text behind it.
type templatePart struct {
	// escape is one of s u d S U D 1-9, or 0.
	escape byte
	text   string
}

// need is what a key or a result must have, as bits.
type need uint8

const (
	needKeyDomain need = 1 << iota
	needKeyUser
	needValueDomain
	needValueUser
)

// querySpec is what all tables have in common that make a query from a key: which
// keys are asked at all, how the query is made, and how the answer is put together.
type querySpec struct {
	// spec is "type:name", for messages.
	spec    string
	queries []queryTemplate
	format  queryTemplate
	needs   need
	// labels is how many labels the domain of a key must have.
	labels int
	limit  int
	// domains is nil when keys of all domains are asked; set has its tables.
	domains *MatchList
	set     *Set
	warn    func(format string, args ...any)
}

// maxTableDepth bounds how deep tables nest in the domain lists of tables.
const maxTableDepth = 5

// newQuerySpec reads result_format, expansion_limit and domain, and compiles the
// query templates that the type has.
func newQuerySpec(spec string, c *clientConfig, o *Options, queries ...string) (*querySpec, error) {
	q := &querySpec{spec: spec, warn: o.warnf}
	for _, text := range queries {
		q.queries = append(q.queries, q.compile(c, "query", text))
	}
	q.format = q.compile(c, "result", c.needed("result_format", "%s"))
	q.limit = c.number("expansion_limit", 0, 0)
	if c.err != nil {
		return nil, c.err
	}
	items := splitBraced(c.text("domain", ""))
	if len(items) == 0 {
		return q, nil
	}
	inner := *o
	if inner.depth++; inner.depth > maxTableDepth {
		return nil, fmt.Errorf("%s: domain: tables name each other more than %d deep", spec, maxTableDepth)
	}
	var err error
	q.set = NewSet(inner)
	q.domains, err = q.set.StringList(spec+": domain", items)
	return q, err
}

// compile cuts a template into its parts and notes what keys and results must have
// for it.
func (q *querySpec) compile(c *clientConfig, what, text string) queryTemplate {
	var t queryTemplate
	part := templatePart{}
	rest := text
	for {
		plain, after, found := strings.Cut(rest, "%")
		part.text += plain
		if !found {
			return append(t, part)
		}
		if strings.HasPrefix(after, "%") {
			part.text += "%"
			rest = after[1:]
			continue
		}
		if after == "" || !strings.Contains("sudSUD123456789", after[:1]) {
			c.fail("%s: Invalid %s template: %s", c.name, what, text)
			return nil
		}
		t = append(t, part)
		part = templatePart{escape: after[0]}
		q.note(after[0], what == "query")
		rest = after[1:]
	}
}

// note records what an escape demands.
func (q *querySpec) note(escape byte, query bool) {
	switch {
	case '1' <= escape && escape <= '9':
		q.labels = max(q.labels, int(escape-'0'))
		q.needs |= needKeyDomain
	case escape == 'D', escape == 'd' && query:
		q.needs |= needKeyDomain
	case escape == 'U', escape == 'u' && query:
		q.needs |= needKeyUser
	case escape == 'd':
		q.needs |= needValueDomain
	case escape == 'u':
		q.needs |= needValueUser
	}
}

// contains tells whether the text between the escapes has a character.
func (t queryTemplate) contains(c byte) bool {
	return slices.ContainsFunc(t, func(part templatePart) bool { return strings.IndexByte(part.text, c) >= 0 })
}

// addrParts are the two sides of the last "@" of an address; without "@" user is all
// of it.
type addrParts struct {
	user, domain string
	at           bool
}

// splitAddr splits a key or a result.
func splitAddr(s string) addrParts {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return addrParts{user: s}
	}
	return addrParts{user: s[:i], domain: s[i+1:], at: true}
}

// lacks tells whether the parts do not meet a demand.
func (p addrParts) lacks(needs, domain, user need) bool {
	return needs&domain != 0 && p.domain == "" || needs&user != 0 && p.at && p.user == ""
}

// label returns the nth label of a domain from its end, counted from 1; empty labels
// do not count.
func label(domain string, n int) string {
	for domain != "" {
		i := strings.LastIndexByte(domain, '.')
		if last := domain[i+1:]; last != "" {
			if n--; n == 0 {
				return last
			}
		}
		domain = domain[:max(i, 0)]
	}
	return ""
}

// asks tells whether the key is to be asked at all: it is not when it lacks a part
// that a template needs, when its domain is not in the domain list, and when it
// cannot be in any database because it is not text.
func (q *querySpec) asks(ctx context.Context, key string) (bool, error) {
	if key == "" || !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return false, nil
	}
	parts := splitAddr(key)
	if q.domains != nil {
		if !parts.at || parts.user == "" || parts.domain == "" {
			return false, nil
		}
		if ok, err := q.domains.Match(ctx, parts.domain); !ok || err != nil {
			return false, err
		}
	}
	if parts.lacks(q.needs, needKeyDomain, needKeyUser) {
		return false, nil
	}
	return q.labels == 0 || label(parts.domain, q.labels) != "", nil
}

// quoter appends s to b, made harmless for the database.
type quoter func(b *strings.Builder, s string)

// plainText is the quoter of results.
func plainText(b *strings.Builder, s string) { b.WriteString(s) }

// query returns the nth query for a key that asks accepted.
func (q *querySpec) query(n int, key string, quote quoter) string {
	var b strings.Builder
	b.Grow(len(key) + 64)
	q.queries[n].expand(&b, key, key, quote)
	return b.String()
}

// expand appends the template, filled. In a query value is the key.
func (t queryTemplate) expand(b *strings.Builder, value, key string, quote quoter) {
	for _, part := range t {
		switch part.escape {
		case 0:
		case 's':
			quote(b, value)
		case 'u':
			quote(b, splitAddr(value).user)
		case 'd':
			quote(b, splitAddr(value).domain)
		case 'S':
			quote(b, key)
		case 'U':
			quote(b, splitAddr(key).user)
		case 'D':
			quote(b, splitAddr(key).domain)
		default:
			quote(b, label(splitAddr(key).domain, int(part.escape-'0')))
		}
		b.WriteString(part.text)
	}
}

// maxAnswer bounds the text that one lookup may return: a mailing list of a hundred
// thousand members fits, a database gone mad does not.
const maxAnswer = 16 << 20

// queryAnswer puts the results of one lookup together.
type queryAnswer struct {
	spec  *querySpec
	key   string
	text  strings.Builder
	count int
	// err ends the lookup: it is why there is no answer.
	err error
}

// answerTo begins the answer for a key.
func (q *querySpec) answerTo(key string) *queryAnswer { return &queryAnswer{spec: q, key: key} }

// restart forgets what was added.
func (a *queryAnswer) restart() {
	a.text.Reset()
	a.count, a.err = 0, nil
}

// add formats one result and appends it. It returns false when the lookup has
// failed, so that no more need be read.
func (a *queryAnswer) add(value string) bool {
	q := a.spec
	if a.err != nil {
		return false
	}
	value, _, _ = strings.Cut(value, "\x00") // where Postfix's C text ends
	if value == "" {
		q.warn("table \"%s\": empty lookup result for: \"%s\" -- ignored", q.spec, clip(a.key, 100))
		return true
	}
	if splitAddr(value).lacks(q.needs, needValueDomain, needValueUser) {
		return true
	}
	if a.count++; q.limit > 0 && a.count > q.limit {
		a.err = fmt.Errorf("expansion limit of %d exceeded", q.limit)
		return false
	}
	if a.text.Len() > 0 {
		a.text.WriteByte(',')
	}
	q.format.expand(&a.text, value, a.key, plainText)
	if a.text.Len() > maxAnswer {
		a.err = fmt.Errorf("the result is larger than %d bytes", maxAnswer)
		return false
	}
	return true
}

// result is what Table.Lookup returns.
func (a *queryAnswer) result() (string, bool, error) {
	if a.err != nil {
		return "", false, a.err
	}
	return a.text.String(), a.text.Len() > 0, nil
}

// close closes the tables of the domain list.
func (q *querySpec) close() error {
	if q.set == nil {
		return nil
	}
	return q.set.Close()
}
