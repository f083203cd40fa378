package verify

import (
	"strings"
	"time"

	"postroad/internal/mail"
)

// Sender is the address from which probes are sent.
type Sender struct {
	// Address is the address without a time, in internal form; empty is the
	// null sender.
	Address mail.Address
	// TTL is how long one form of the address is used; 0 means for ever.
	TTL time.Duration
}

// stampDigits are the digits of the time in an address: without vowels it makes
// no words, and without small letters it survives those who change case.
const stampDigits = "0123456789BCDFGHJKLMNPQRSTVWXYZ"

// At is the address to send from at a time.
func (s Sender) At(now time.Time) mail.Address {
	if s.Address == "" || s.TTL < time.Second {
		return s.Address
	}
	local, domain := s.parts()
	return mail.Address(local + stamp(s.epoch(now)) + domain)
}

// parts splits the address before its first "@".
func (s Sender) parts() (local, domain string) {
	text := string(s.Address)
	if at := strings.IndexByte(text, '@'); at >= 0 {
		return text[:at], text[at:]
	}
	return text, ""
}

func (s Sender) epoch(now time.Time) uint64 {
	return uint64(max(now.Unix(), 0)) / uint64(s.TTL/time.Second)
}

// Is tells whether an address is ours, now or a moment ago.
func (s Sender) Is(addr mail.Address, now time.Time) bool {
	if s.Address == "" {
		return addr == ""
	}
	local, domain := s.parts()
	theirs := string(addr)
	if len(theirs) < len(local) || !strings.EqualFold(theirs[:len(local)], local) {
		return false
	}
	theirs = theirs[len(local):]
	mark := theirs
	if at := strings.IndexByte(theirs, '@'); at >= 0 {
		mark, theirs = theirs[:at], theirs[at:]
	} else {
		theirs = ""
	}
	if !strings.EqualFold(theirs, domain) {
		return false
	}
	if s.TTL < time.Second {
		return mark == ""
	}
	n, ok := parseStamp(mark)
	mine := s.epoch(now)
	return ok && n+1 >= mine && n <= mine+1
}

// stamp writes a number.
func stamp(n uint64) string {
	const base = uint64(len(stampDigits))
	if n == 0 {
		return stampDigits[:1]
	}
	var b [16]byte
	i := len(b)
	for ; n > 0; n /= base {
		i--
		b[i] = stampDigits[n%base]
	}
	return string(b[i:])
}

// parseStamp reads a number; one that is not there is 0.
func parseStamp(s string) (uint64, bool) {
	if len(s) > 12 {
		return 0, false
	}
	n := uint64(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		digit := strings.IndexByte(stampDigits, c)
		if digit < 0 {
			return 0, false
		}
		n = n*uint64(len(stampDigits)) + uint64(digit)
	}
	return n, true
}
