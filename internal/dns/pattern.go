package dns

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Pattern matches the addresses with which lists in the DNS answer: four fields
// parted by dots, each a number or a choice such as [2;4..6].
type Pattern struct{ fields [4][]span }

// span is a range of values of one field.
type span struct{ low, high uint8 }

// ParsePattern reads a pattern.
func ParsePattern(text string) (*Pattern, error) {
	p := &Pattern{}
	rest := text
	for i := range p.fields {
		field := rest
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, fmt.Errorf("missing ']' in \"%s\"", text)
			}
			field, rest = rest[:end+1], rest[end+1:]
		} else if dot := strings.IndexByte(rest, '.'); dot >= 0 {
			field, rest = rest[:dot], rest[dot:]
		} else {
			rest = ""
		}
		var err error
		if p.fields[i], err = parseField(field); err != nil {
			return nil, fmt.Errorf("%w in \"%s\"", err, text)
		}
		if i == len(p.fields)-1 {
			break
		}
		after, ok := strings.CutPrefix(rest, ".")
		if !ok {
			return nil, fmt.Errorf("need four fields in \"%s\"", text)
		}
		rest = after
	}
	if rest != "" {
		return nil, fmt.Errorf("garbage after the fourth field in \"%s\"", text)
	}
	return p, nil
}

// parseField reads one field.
func parseField(field string) ([]span, error) {
	inner, choice := strings.CutPrefix(field, "[")
	if !choice {
		n, err := octet(field)
		return []span{{n, n}}, err
	}
	var spans []span
	for item := range strings.SplitSeq(strings.TrimSuffix(inner, "]"), ";") {
		from, to, ranged := strings.Cut(item, "..")
		low, err := octet(from)
		if err != nil {
			return nil, err
		}
		high := low
		if ranged {
			if high, err = octet(to); err != nil {
				return nil, err
			}
		}
		if low > high {
			return nil, fmt.Errorf("bad range \"%s\"", item)
		}
		spans = append(spans, span{low, high})
	}
	return spans, nil
}

func octet(s string) (uint8, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || s[0] == '+' {
		return 0, fmt.Errorf("bad number \"%s\"", s)
	}
	return uint8(n), nil
}

// Match tells whether an address fits.
func (p *Pattern) Match(addr netip.Addr) bool {
	if !addr.Is4() {
		return false
	}
	for i, n := range addr.As4() {
		found := false
		for _, s := range p.fields[i] {
			found = found || s.low <= n && n <= s.high
		}
		if !found {
			return false
		}
	}
	return true
}
