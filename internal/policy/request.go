package policy

import (
	"strconv"
	"unicode/utf8"
)

// Request is a request under construction. It may be used again after Reset.
type Request struct{ b []byte }

// Reset begins a new request.
func (r *Request) Reset() { r.b = r.b[:0] }

// Add adds an attribute.
func (r *Request) Add(name, value string) {
	r.b = append(append(r.b, name...), '=')
	r.b = appendValue(r.b, value)
	r.b = append(r.b, '\n')
}

// AddInt adds an attribute with a number.
func (r *Request) AddInt(name string, value int64) {
	r.b = append(append(r.b, name...), '=')
	r.b = strconv.AppendInt(r.b, value, 10)
	r.b = append(r.b, '\n')
}

// Bytes is the request with the empty line at its end.
func (r *Request) Bytes() []byte { return append(r.b, '\n') }

// appendValue appends text without control characters and bad UTF-8.
func appendValue(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				c = '?'
			}
			dst = append(dst, c)
			i++
			continue
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if n == 1 {
			dst = append(dst, '?')
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}
