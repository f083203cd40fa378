package table

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// quoteDN is the quoter of search_base (RFC 4514 section 2.4): the characters
// that end or change a value are written as \XX wherever they stand, and so is
// white space, which counts at the ends only.
func quoteDN(b *strings.Builder, s string) { quoteHex(b, s, " \t\"#+,;<>\\\x00") }

// quoteFilter is the quoter of query_filter (RFC 4515 section 3). Beyond ASCII
// \XX means the same as the byte itself, and the library that reads the filter
// would refuse U+FFFD.
func quoteFilter(b *strings.Builder, s string) {
	start := 0
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			quoteHex(b, s[start:i], filterSpecial)
			quoteHex(b, s[i:i+1], s[i:i+1])
			start = i + 1
		}
	}
	quoteHex(b, s[start:], filterSpecial)
}

// filterSpecial has the characters that mean something in a filter.
const filterSpecial = "*()\\\x00"

// quoteHex appends s with \XX for the characters in special.
func quoteHex(b *strings.Builder, s, special string) {
	const digits = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; strings.IndexByte(special, c) >= 0 {
			b.Write([]byte{'\\', digits[c>>4], digits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
}

// maxFilterDepth bounds how deep the parentheses of a filter nest.
const maxFilterDepth = 50

// errFilter is the cause when a filter makes no sense.
var errFilter = errors.New("bad search filter")

// filterReader brings a filter into the strict form of RFC 4515: with
// parentheses around it, without white space between its parts, and without the
// escapes of LDAPv2.
type filterReader struct {
	rest string
	out  strings.Builder
}

// normalFilter returns the strict form of a filter, or of the template of one:
// %-escapes stay as they are.
func normalFilter(text string) (string, error) {
	text = trimSpace(text)
	if !strings.HasPrefix(text, "(") {
		text = "(" + text + ")"
	}
	f := filterReader{rest: text}
	if err := f.filter(0); err != nil {
		return "", fmt.Errorf("%w: %s", err, clip(text, 200))
	}
	if f.space(); f.rest != "" {
		return "", fmt.Errorf("%w: %s", errFilter, clip(text, 200))
	}
	return f.out.String(), nil
}

// space skips white space.
func (f *filterReader) space() { f.rest = strings.TrimLeft(f.rest, asciiSpace) }

// accept takes c when it is next.
func (f *filterReader) accept(c byte) bool {
	f.space()
	if f.rest == "" || f.rest[0] != c {
		return false
	}
	f.rest = f.rest[1:]
	f.out.WriteByte(c)
	return true
}

// filter reads "(" ... ")".
func (f *filterReader) filter(depth int) error {
	if depth > maxFilterDepth || !f.accept('(') {
		return errFilter
	}
	switch {
	case f.accept('&') || f.accept('|'):
		for !f.accept(')') {
			if err := f.filter(depth + 1); err != nil {
				return err
			}
		}
		return nil
	case f.accept('!'):
		if err := f.filter(depth + 1); err != nil {
			return err
		}
	default:
		if err := f.item(); err != nil {
			return err
		}
	}
	if !f.accept(')') {
		return errFilter
	}
	return nil
}

// item reads "attribute=value" and its kin, up to the ")".
func (f *filterReader) item() error {
	end := strings.IndexByte(f.rest, '=')
	if end < 1 {
		return errFilter
	}
	name := strings.TrimRight(f.rest[:end], "<>~")
	if name == "" || strings.IndexFunc(name, notDescription) >= 0 {
		return errFilter
	}
	f.out.WriteString(f.rest[:end+1])
	f.rest = f.rest[end+1:]
	for f.rest != "" {
		c := f.rest[0]
		switch {
		case c == ')':
			return nil
		case c == '(':
			return errFilter
		case c != '\\':
			f.out.WriteByte(c)
			f.rest = f.rest[1:]
		case len(f.rest) >= 3 && hexValue(f.rest[1]) >= 0 && hexValue(f.rest[2]) >= 0:
			f.out.WriteString(f.rest[:3])
			f.rest = f.rest[3:]
		case len(f.rest) >= 2 && strings.IndexByte("*()\\", f.rest[1]) >= 0:
			quoteFilter(&f.out, f.rest[1:2])
			f.rest = f.rest[2:]
		default:
			return errFilter
		}
	}
	return errFilter
}

// notDescription tells whether a character cannot be part of an attribute
// description or a matching rule. "%" is for templates.
func notDescription(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-.;:%_", r)
}

// checkFilter tells at once what a query_filter that cannot work would say at
// every lookup.
func checkFilter(template string) error {
	plain := strings.NewReplacer("%%", "", "%", "").Replace(template)
	if _, err := ldap.CompileFilter(plain); err != nil {
		return fmt.Errorf("%w: %s: %v", errFilter, clip(template, 200), err)
	}
	return nil
}
