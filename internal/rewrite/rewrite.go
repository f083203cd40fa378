package rewrite

import (
	"strings"

	"postroad/internal/mail"
)

// Context says whose names complete an incomplete address.
type Context uint8

const (
	// Local completes with $myorigin and $mydomain.
	Local Context = iota
	// Remote completes with $remote_header_rewrite_domain, or not at all.
	Remote
)

// Rewrite puts an address into user@domain form. The address is in internal
// form: its local part is what stands before the last "@" and needs no quotes.
// The address comes back as it is when there is nothing to do.
func (e *Engine) Rewrite(context Context, addr string) mail.Address {
	at := strings.LastIndexByte(addr, '@')
	if at >= 0 && plainDomain(addr[at+1:]) {
		return mail.Address(addr)
	}
	return mail.Address(e.rewrite(context, addr, at))
}

// plainDomain tells whether rewriting leaves a domain alone: it has a dot
// inside and none at the end.
func plainDomain(domain string) bool {
	n := len(domain)
	return n > 0 && domain[n-1] != '.' && (strings.IndexByte(domain, '.') >= 0 || domain[0] == '[')
}

// rewrite is Rewrite for an address with a last "@" at position at, or -1.
func (e *Engine) rewrite(context Context, addr string, at int) string {
	if addr == "" {
		return ""
	}
	if at < 0 {
		// A local part that needs quotes means what it says.
		addr = e.promote(context, addr, mail.Address(addr).External() != addr)
		at = strings.LastIndexByte(addr, '@')
	}
	if at < 0 || at == len(addr)-1 {
		return addr // "user@" stays broken, so that diagnostics show it as it is
	}
	domain := addr[at+1:]
	if e.set.AppendDotMydomain && domain[0] != '[' && strings.IndexByte(domain, '.') < 0 {
		if suffix := e.suffix(context); suffix != "" {
			return addr + "." + suffix
		}
	}
	return stripDot(addr)
}

// promote makes user@domain of an address without "@". An opaque one has no
// operators.
func (e *Engine) promote(context Context, addr string, opaque bool) string {
	if !opaque && e.set.SwapBangpath {
		if site, user, found := strings.Cut(addr, "!"); found {
			return user + "@" + site
		}
	}
	if !opaque && e.set.AllowPercentHack {
		if i := strings.LastIndexByte(addr, '%'); i >= 0 {
			return addr[:i] + "@" + addr[i+1:]
		}
	}
	if origin := e.origin(context); e.set.AppendAtMyorigin && origin != "" {
		return addr + "@" + origin
	}
	return addr
}

// origin is the domain that completes a bare local part.
func (e *Engine) origin(context Context) string {
	if context == Remote {
		return e.set.RemoteRewriteDomain
	}
	return e.set.Myorigin
}

// suffix is the domain that completes a domain without a dot.
func (e *Engine) suffix(context Context) string {
	if context == Remote {
		return e.set.RemoteRewriteDomain
	}
	return e.set.Mydomain
}

// stripDot removes one dot at the end of the domain, unless it follows another
// dot or the "@".
func stripDot(addr string) string {
	n := len(addr)
	if n < 2 || addr[n-1] != '.' || addr[n-2] == '.' || addr[n-2] == '@' || strings.IndexByte(addr, '@') < 0 {
		return addr
	}
	return addr[:n-1]
}
