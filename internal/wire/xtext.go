package wire

import (
	"errors"
	"strings"
)

// ErrXtext means that a string is not xtext.
var ErrXtext = errors.New("wire: malformed xtext")

const hexDigits = "0123456789ABCDEF"

// EncodeXtext encodes s as xtext (RFC 3461 4).
func EncodeXtext(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = xtextPlain(s[i])
	}
	if plain {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for i := 0; i < len(s); i++ {
		if c := s[i]; xtextPlain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('+')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

// DecodeXtext decodes xtext. Hexadecimal digits of either case are accepted,
// other bytes pass as they are.
func DecodeXtext(s string) (string, error) {
	if strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", ErrXtext
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", ErrXtext
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), nil
}

func xtextPlain(c byte) bool { return c > ' ' && c < 0x7f && c != '+' && c != '=' }

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
