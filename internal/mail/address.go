package mail

import "strings"

// Address is a mail address in internal form: no angle brackets, and a local
// part without quotes. The empty Address is the null sender of RFC 5321 4.5.5.
type Address string

// Split returns the local part and the domain around the last "@". The domain
// is empty when there is none.
func (a Address) Split() (local, domain string) {
	at := strings.LastIndexByte(string(a), '@')
	if at < 0 {
		return string(a), ""
	}
	return string(a[:at]), string(a[at+1:])
}

// Local returns the part before the last "@".
func (a Address) Local() string { local, _ := a.Split(); return local }

// Domain returns the part after the last "@", or nothing.
func (a Address) Domain() string { _, domain := a.Split(); return domain }

// HasDomain tells whether the address has an "@" with something behind it.
func (a Address) HasDomain() bool { return a.Domain() != "" }

// External returns the address in RFC 5321 4.1.2 form: the local part is quoted
// when it is not a dot-string.
func (a Address) External() string {
	local, domain := a.Split()
	if isDotString(local) {
		return string(a)
	}
	if !strings.Contains(string(a), "@") {
		return quoteLocal(local)
	}
	return quoteLocal(local) + "@" + domain
}

// Fold returns the address in lower case, the form in which tables and
// duplicate filters compare it.
func (a Address) Fold() Address { return Address(strings.ToLower(string(a))) }

// isDotString tells whether s is a dot-string of RFC 5321 4.1.2; bytes above
// ASCII count as atom text (RFC 6531 3.3).
func isDotString(s string) bool {
	if s == "" {
		return true
	}
	dot := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '.' {
			if dot {
				return false
			}
			dot = true
			continue
		}
		if !isAtomByte(c) {
			return false
		}
		dot = false
	}
	return !dot
}

// isAtomByte tells whether c is atom text of RFC 5322 3.2.3.
func isAtomByte(c byte) bool {
	if c >= 0x80 {
		return true
	}
	if c <= ' ' || c == 0x7f {
		return false
	}
	return strings.IndexByte(`()<>[]:;@\,."`, c) < 0
}

// quoteLocal writes a local part as a quoted-string (RFC 5321 4.1.2).
func quoteLocal(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 4)
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' || s[i] == '\r' || s[i] == '\n' {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}
