package access

import (
	"net/netip"
	"strings"

	"postroad/internal/rewrite"
)

// heloScope is the subject of rules about the name of HELO.
func (c *Checker) heloScope() scope { return scope{c.req.Helo, classHelo, c.scope.bare} }

// rejectInvalidHelo refuses a HELO name that is neither a host name nor an
// address.
func rejectInvalidHelo(c *Checker, _ *rule) outcome {
	name := c.req.Helo
	switch {
	case name == "":
		return dunno
	case name[0] == '[':
		return c.invalidLiteral(name)
	}
	name = trimDot(name)
	if rewrite.ValidHostname(name) || validNumeric(name) {
		return dunno
	}
	return c.denyFor(c.heloScope(), c.e.set.InvalidHostCode, "5.5.2", "Invalid name")
}

// rejectNonFQDNHelo refuses a HELO name without a domain.
func rejectNonFQDNHelo(c *Checker, _ *rule) outcome {
	name := c.req.Helo
	switch {
	case name == "":
		return dunno
	case name[0] == '[':
		return c.invalidLiteral(name)
	}
	if qualified(name) {
		return dunno
	}
	return c.denyFor(c.heloScope(), c.e.set.NonFQDNCode, "5.5.2", "need fully-qualified hostname")
}

// invalidLiteral refuses a HELO name in brackets that is no address literal of
// RFC 5321 4.1.3.
func (c *Checker) invalidLiteral(name string) outcome {
	if rewrite.ValidLiteral(name) {
		return dunno
	}
	return c.denyFor(c.heloScope(), c.e.set.InvalidHostCode, "5.5.2", "invalid ip address")
}

// trimDot removes one dot from the end of a name, unless it follows a dot.
func trimDot(name string) string {
	if n := len(name); n > 1 && name[n-1] == '.' && name[n-2] != '.' {
		return name[:n-1]
	}
	return name
}

// qualified tells whether a name is a host name with a dot inside.
func qualified(name string) bool {
	name = trimDot(name)
	return strings.IndexByte(name, '.') >= 0 && rewrite.ValidHostname(name)
}

// validNumeric tells whether a name is an address without brackets.
func validNumeric(name string) bool {
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Zone() == ""
}
