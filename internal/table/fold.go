package table

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// errNotUTF8 is the cause when a value is not UTF-8 although it must be.
var errNotUTF8 = errors.New("malformed UTF-8 or invalid codepoint")

// Fold returns s in the form in which fixed tables and match lists compare it:
// lower case, beyond ASCII only when utf8 is set.
func Fold(s string, utf8 bool) string {
	upper := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x80 && utf8 {
			return foldUnicode(s)
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	if !upper {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// foldUnicode is apart because its frame is large: Fold is called deep in sessions.
//
//go:noinline
func foldUnicode(s string) string { return cases.Fold().String(s) }

// folding puts invariant 3 in front of a fixed table, so that no table type
// has to think of it.
type folding struct {
	inner    Table
	keepCase bool
	utf8     bool
}

// Lookup folds the key and asks the inner table. A key that is not UTF-8 is in
// no table of UTF-8 keys.
func (f *folding) Lookup(ctx context.Context, key string) (string, bool, error) {
	if f.utf8 && !utf8.ValidString(key) {
		return "", false, nil
	}
	if !f.keepCase {
		key = Fold(key, f.utf8)
	}
	value, ok, err := f.inner.Lookup(ctx, key)
	if ok && f.utf8 && !utf8.ValidString(value) {
		return "", false, &LookupError{Table: f.String(), Key: key, Err: errNotUTF8}
	}
	return value, ok, err
}

// Kind implements Table.
func (f *folding) Kind() Kind { return Fixed }

// String implements Table.
func (f *folding) String() string { return f.inner.String() }

// Close implements Table.
func (f *folding) Close() error { return f.inner.Close() }

// Each implements Lister when the inner table does.
func (f *folding) Each(fn func(Entry) bool) error {
	l, ok := f.inner.(Lister)
	if !ok {
		return errNoSequence
	}
	return l.Each(fn)
}

// errNoSequence is the answer of tables that cannot be listed.
var errNoSequence = errors.New("sequence operation is not supported")

// asciiSpace is what isspace(3) accepts in the C locale.
const asciiSpace = " \t\n\v\f\r"

// isSpace tells whether c is white space in the C locale.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// trimSpace removes white space of the C locale from both ends.
func trimSpace(s string) string { return strings.Trim(s, asciiSpace) }
