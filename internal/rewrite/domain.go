package rewrite

import (
	"net/netip"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxDomain = 255
	maxLabel  = 63
)

// validDomain tells whether mail can go to a domain: a host name that is not
// all digits, or an address literal.
func validDomain(domain string, utf8ok bool) bool {
	if domain == "" {
		return false
	}
	if domain[0] == '[' {
		return ValidLiteral(domain)
	}
	for i := 0; i < len(domain); i++ {
		if domain[i] >= utf8.RuneSelf {
			return utf8ok && validUnicode(domain)
		}
	}
	return ValidHostname(domain)
}

// validUnicode checks an internationalised domain name by its ASCII form
// (RFC 5891).
func validUnicode(domain string) bool {
	if !utf8.ValidString(domain) {
		return false
	}
	ascii, err := idna.New(idna.MapForLookup(), idna.BidiRule()).ToASCII(domain)
	return err == nil && ValidHostname(ascii)
}

// ValidHostname checks the syntax of RFC 1123 2.1, and lets underscores pass as
// Postfix does.
func ValidHostname(name string) bool {
	if name == "" || len(name) > maxDomain {
		return false
	}
	label, numeric := 0, true
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if label == 0 || name[i-1] == '-' {
				return false
			}
			label = 0
			continue
		case c >= '0' && c <= '9':
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			numeric = false
		case c == '-':
			numeric = false
			if label == 0 {
				return false
			}
		default:
			return false
		}
		if label++; label > maxLabel {
			return false
		}
	}
	return label > 0 && name[len(name)-1] != '-' && !numeric
}

// ValidLiteral tells whether s is an address literal of RFC 5321 4.1.3, with its
// brackets.
func ValidLiteral(s string) bool {
	_, ok := literalAddr(s)
	return ok
}

// validAddress tells whether a domain is an address without brackets.
func validAddress(domain string) bool {
	addr, err := netip.ParseAddr(domain)
	return err == nil && addr.Zone() == ""
}
