package table

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// cidrTable is cidr: networks in order, the first that holds the address wins.
type cidrTable struct {
	name  string
	rules []cidrRule
	// index is set when the order is all that matters: no rule is negated and
	// there is no if.
	index *cidrIndex
}

// cidrRule is one line.
type cidrRule struct {
	op     ruleOp
	negate bool
	net    netip.Prefix
	value  string
	// skip is, for an if, the rule behind its endif.
	skip int
}

// openCIDR opens cidr:path or cidr:{ {rule}, ... }.
func openCIDR(name string, o *Options) (Table, error) {
	return openRules("cidr", name, o, func(lines []logicalLine, o *Options) Table { return parseCIDR(name, lines, o) })
}

// parseCIDR makes a table of lines.
func parseCIDR(name string, lines []logicalLine, o *Options) *cidrTable {
	t := &cidrTable{name: "cidr:" + name}
	var ifs ruleStack
	for _, line := range lines {
		where := fmt.Sprintf("cidr map %s, line %d", name, line.number)
		r, err := parseCIDRRule(line.text)
		if err != nil {
			o.skipf("%s: %v: skipping this rule", where, err)
			continue
		}
		if r.op == opEndif {
			i, ok := ifs.pop()
			if !ok {
				o.skipf("%s: ENDIF without IF: skipping this rule", where)
				continue
			}
			t.rules[i].skip = len(t.rules)
			continue
		}
		if r.op == opIf {
			ifs.push(len(t.rules), line.number)
		}
		t.rules = append(t.rules, r)
	}
	for len(ifs.rules) > 0 {
		line := ifs.lines[len(ifs.lines)-1]
		i, _ := ifs.pop()
		o.skipf("cidr map %s, line %d: IF has no matching ENDIF", name, line)
		t.rules[i].skip = len(t.rules)
	}
	t.index = indexCIDR(t.rules)
	return t
}

// parseCIDRRule reads one line.
func parseCIDRRule(text string) (r cidrRule, err error) {
	switch {
	case isKeyword(text, "if"):
		r.op = opIf
		text = trimSpace(text[2:])
	case isKeyword(text, "endif"):
		if trimSpace(text[5:]) != "" {
			return r, errAfterEndif
		}
		return cidrRule{op: opEndif}, nil
	}
	if bare := strings.TrimLeft(text, "!"+asciiSpace); bare != text {
		r.negate = strings.Count(text[:len(text)-len(bare)], "!")%2 == 1
		text = bare
	}
	word, rest := splitWord(text)
	if word == "" {
		return r, errNoAddress
	}
	if r.op == opIf {
		word, rest = trimSpace(text), ""
	}
	if r.net, err = parseNet(word); err != nil {
		return r, err
	}
	if r.op == opResult && rest == "" {
		return r, errNoResult
	}
	r.value = rest
	return r, nil
}

// parseNet reads addr, addr/len, [addr], [addr]/len and [addr/len].
func parseNet(s string) (netip.Prefix, error) {
	pattern := s
	if strings.HasPrefix(s, "[") {
		inner, after, found := strings.Cut(s[1:], "]")
		if !found {
			return netip.Prefix{}, fmt.Errorf("missing ']' character after \"%s\"", s)
		}
		if after != "" && after[0] != '/' {
			return netip.Prefix{}, fmt.Errorf("garbage after \"%s]\"", s[:len(inner)+1])
		}
		pattern = inner + after
	}
	text, length, hasLength := strings.Cut(pattern, "/")
	addr, err := netip.ParseAddr(text)
	bad := err != nil || addr.Zone() != ""
	switch {
	case bad && hasLength:
		return netip.Prefix{}, fmt.Errorf("bad network value in \"%s\"", pattern)
	case bad:
		return netip.Prefix{}, fmt.Errorf("bad address pattern: \"%s\"", pattern)
	case !hasLength:
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if length == "" || strings.Trim(length, "0123456789") != "" {
		return netip.Prefix{}, fmt.Errorf("bad mask value in \"%s\"", pattern)
	}
	bits, err := strconv.ParseUint(length, 10, 8)
	if err != nil || int(bits) > addr.BitLen() {
		return netip.Prefix{}, fmt.Errorf("bad mask length in \"%s\"", pattern)
	}
	net := netip.PrefixFrom(addr, int(bits))
	if net.Masked().Addr() != addr {
		return netip.Prefix{}, fmt.Errorf("non-null host address bits in \"%s\", perhaps you should use \"%s\" instead", pattern, net.Masked())
	}
	return net, nil
}

// Lookup implements Table. A key that is no address is in no network.
func (t *cidrTable) Lookup(_ context.Context, key string) (string, bool, error) {
	addr, err := netip.ParseAddr(key)
	if err != nil || addr.Zone() != "" {
		return "", false, nil
	}
	if t.index != nil {
		i := t.index.find(addr)
		if i < 0 {
			return "", false, nil
		}
		return t.rules[i].value, true, nil
	}
	for i := 0; i < len(t.rules); i++ {
		r := &t.rules[i]
		hit := r.hit(addr)
		switch {
		case r.op == opIf && !hit:
			i = r.skip - 1
		case r.op == opResult && hit:
			return r.value, true, nil
		}
	}
	return "", false, nil
}

// hit tells whether the rule applies. A negated rule says something about
// addresses of its own family only.
func (r *cidrRule) hit(addr netip.Addr) bool {
	if r.net.Addr().BitLen() != addr.BitLen() {
		return false
	}
	return r.net.Contains(addr) != r.negate
}

// Kind implements Table.
func (t *cidrTable) Kind() Kind { return Pattern }

// String implements Table.
func (t *cidrTable) String() string { return t.name }

// Close implements Table.
func (t *cidrTable) Close() error { return nil }

// cidrIndex finds the first rule that holds an address with one map look-up
// per prefix length that occurs.
type cidrIndex struct {
	first map[netip.Prefix]int
	len4  []int
	len6  []int
}

// indexFrom is the number of rules from which an index is faster than a walk.
const indexFrom = 32

// indexCIDR makes an index, or nil when there is an if or a negated rule or
// when there are few rules.
func indexCIDR(rules []cidrRule) *cidrIndex {
	if len(rules) < indexFrom {
		return nil
	}
	x := &cidrIndex{first: make(map[netip.Prefix]int, len(rules))}
	seen := map[[2]int]bool{}
	for i, r := range rules {
		if r.op != opResult || r.negate {
			return nil
		}
		if _, ok := x.first[r.net]; !ok {
			x.first[r.net] = i
		}
		family := [2]int{r.net.Addr().BitLen(), r.net.Bits()}
		if seen[family] {
			continue
		}
		seen[family] = true
		if r.net.Addr().Is4() {
			x.len4 = append(x.len4, r.net.Bits())
		} else {
			x.len6 = append(x.len6, r.net.Bits())
		}
	}
	return x
}

// find returns the index of the first rule that holds addr, or -1.
func (x *cidrIndex) find(addr netip.Addr) int {
	lengths := x.len6
	if addr.Is4() {
		lengths = x.len4
	}
	best := math.MaxInt
	for _, bits := range lengths {
		net, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if i, ok := x.first[net]; ok && i < best {
			best = i
		}
	}
	if best == math.MaxInt {
		return -1
	}
	return best
}
