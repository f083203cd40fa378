package dns

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

const (
	maxName  = 253
	maxLabel = 63
)

// ToASCII returns the form of a domain that is asked for in the DNS: lower
// case, no final dot, U-labels as A-labels (RFC 5890, UTS 46 non-transitional).
// ok is false when it is not a valid host or domain name.
func ToASCII(name string) (ascii string, ok bool) {
	name = strings.TrimSuffix(name, ".")
	if !isASCII(name) {
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil {
			return name, false
		}
	}
	if hasUpper(name) {
		name = strings.ToLower(name)
	}
	return name, ValidHostname(name)
}

// ValidHostname tells whether name can be a host or domain name: labels of
// letters, digits, "-" and "_", not all numeric (RFC 1123 2.1; "_" because the
// world uses it).
func ValidHostname(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	letters, label := false, 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.':
			if label == 0 || name[i-1] == '-' {
				return false
			}
			label = 0
			continue
		case c == '-':
			if label == 0 {
				return false
			}
			letters = true
		case c >= '0' && c <= '9':
		case isLetter(c) || c == '_':
			letters = true
		default:
			return false
		}
		if label++; label > maxLabel {
			return false
		}
	}
	return letters && label > 0 && name[len(name)-1] != '-'
}

// ReverseName returns the name under which the PTR records of addr are found
// (RFC 1035 3.5, RFC 3596 2.5).
func ReverseName(addr netip.Addr) string {
	const hex = "0123456789abcdef"
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		b := addr.As4()
		return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}).String() + ".in-addr.arpa"
	}
	b := addr.As16()
	out := make([]byte, 0, 72)
	for i := len(b) - 1; i >= 0; i-- {
		out = append(out, hex[b[i]&15], '.', hex[b[i]>>4], '.')
	}
	return string(append(out, "ip6.arpa"...))
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func hasUpper(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return true
		}
	}
	return false
}
