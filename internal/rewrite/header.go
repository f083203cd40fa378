package rewrite

import (
	"iter"
	"strings"

	"postroad/internal/mail"
)

// maxAddresses bounds how many addresses of one header are looked at; the rest
// of the header stays as it is.
const maxAddresses = 10240

// Spot is an address in a text and where it stands: value[Start:End], without
// the angle brackets and without comments around it.
type Spot struct {
	// Addr is the address in internal form, without a source route.
	Addr       mail.Address
	Start, End int
	// Angle tells that the address stands in angle brackets, Routed that it
	// had a source route (RFC 5321 appendix C).
	Angle, Routed bool
}

// HeaderAddresses finds the addresses in the value of a header field that is an
// address-list of RFC 5322 3.4, and in whatever people write there instead.
// Null addresses are skipped.
func HeaderAddresses(value string) iter.Seq[Spot] {
	return func(yield func(Spot) bool) {
		s := scanner{text: value}
		for range maxAddresses {
			spot, found := s.next()
			if !found || !yield(spot) {
				return
			}
		}
	}
}

// RewriteHeader replaces each address of a header value by what fn makes of it,
// and leaves all other bytes alone. An error of fn ends the work.
func RewriteHeader(value string, fn func(mail.Address) (mail.Address, error)) (string, error) {
	var out strings.Builder
	done := 0
	for spot := range HeaderAddresses(value) {
		addr, err := fn(spot.Addr)
		if err != nil {
			return value, err
		}
		if addr == spot.Addr && !spot.Routed {
			continue
		}
		out.WriteString(value[done:spot.Start])
		out.WriteString(addr.External())
		done = spot.End
	}
	if done == 0 && out.Len() == 0 {
		return value, nil
	}
	out.WriteString(value[done:])
	return out.String(), nil
}

// Path is what stands behind MAIL FROM: or RCPT TO:.
type Path struct {
	// Addr is the address in internal form, empty for "<>".
	Addr mail.Address
	// Count is the number of addresses found; Null tells that "<>" was.
	Count int
	// Angle tells that the text begins with "<" and ends with ">"; Routed that
	// a source route was dropped.
	Angle, Routed bool
}

// ParsePath reads the address of an SMTP command as leniently as Postfix does:
// with or without angle brackets, with comments, with a phrase before it.
func ParsePath(text string) Path {
	p := Path{Angle: len(text) > 1 && text[0] == '<' && text[len(text)-1] == '>'}
	for spot := range HeaderAddresses(text) {
		if p.Count++; p.Count > 1 {
			break
		}
		p.Addr, p.Routed = spot.Addr, spot.Routed
	}
	return p
}

// scanner walks over an address list.
type scanner struct {
	text string
	pos  int
	// open tells that no ">" is left, so that nobody searches again.
	open bool
}

// next returns the next address.
func (s *scanner) next() (Spot, bool) {
	start, end := -1, -1 // of what may be an address without angle brackets
	phrase := false      // there was an angle address, so bare words are no address
	for s.pos < len(s.text) {
		from := s.pos
		switch c := s.text[from]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
			continue
		case '(':
			s.skipComment()
			continue
		case '<':
			phrase = true
			if spot, ok := s.angle(); ok {
				return spot, true
			}
			continue
		case '>':
			s.pos++
			continue
		case ',', ';':
			s.pos++
			if spot, ok := s.bare(start, end); ok && !phrase {
				return spot, true
			}
			start, end, phrase = -1, -1, false
			continue
		case ':':
			// The end of the display name of a group (RFC 5322 3.4).
			s.pos++
			start, end, phrase = -1, -1, false
			continue
		default:
			s.token()
		}
		if start < 0 {
			start = from
		}
		end = s.pos
	}
	if spot, ok := s.bare(start, end); ok && !phrase {
		return spot, true
	}
	return Spot{}, false
}

// bare makes an address of words without angle brackets. A phrase that is
// still followed by an angle address is handled by the caller.
func (s *scanner) bare(start, end int) (Spot, bool) {
	if start < 0 {
		return Spot{}, false
	}
	return s.spot(start, end, false)
}

// spot parses text[start:end] as an addr-spec.
func (s *scanner) spot(start, end int, angle bool) (Spot, bool) {
	addr, routed := parseSpec(s.text[start:end])
	return Spot{Addr: addr, Start: start, End: end, Angle: angle, Routed: routed}, addr != ""
}

// angle reads "<...>"; it returns false for a null address.
func (s *scanner) angle() (Spot, bool) {
	s.pos++
	begin := s.pos
	start, end := -1, -1
	for s.pos < len(s.text) {
		from := s.pos
		switch c := s.text[from]; {
		case c == '>':
			s.pos++
			s.skipRest()
			if start < 0 {
				return Spot{}, false
			}
			return s.spot(start, end, true)
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			s.pos++
			continue
		case c == '(':
			s.skipComment()
			continue
		case c == ',' && s.unclosed():
			// "<a@b, c@d": the bracket was forgotten.
			s.pos++
			if start < 0 {
				return Spot{}, false
			}
			return s.spot(start, end, true)
		default:
			s.token()
		}
		if start < 0 {
			start = from
		}
		end = s.pos
	}
	if start < 0 || begin == len(s.text) {
		return Spot{}, false
	}
	return s.spot(start, end, true)
}

// unclosed tells whether no ">" follows.
func (s *scanner) unclosed() bool {
	if !s.open {
		s.open = strings.IndexByte(s.text[s.pos:], '>') < 0
	}
	return s.open
}

// skipRest moves to the end of the mailbox after an angle address, over words
// that do not belong there, but not over another "<".
func (s *scanner) skipRest() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ',', ';', '<', ':':
			return
		case '(':
			s.skipComment()
		default:
			s.token()
		}
	}
}

// token skips one quoted string, domain literal, or other byte or atom.
func (s *scanner) token() {
	switch s.text[s.pos] {
	case '"':
		s.skipTo('"')
	case '[':
		s.skipTo(']')
	case '\\':
		s.pos = min(s.pos+2, len(s.text))
	default:
		s.pos++
		for s.pos < len(s.text) && !isSpecial(s.text[s.pos]) {
			s.pos++
		}
	}
}

// isSpecial tells whether c ends an atom.
func isSpecial(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', '(', ')', '<', '>', '[', ']', ':', ';', '\\', ',', '"':
		return true
	}
	return false
}

// skipTo skips a quoted string or domain literal; without an end it goes to the
// end of the text.
func (s *scanner) skipTo(end byte) {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '\\':
			s.pos++
		case end:
			s.pos++
			return
		}
	}
	s.pos = len(s.text)
}

// skipComment skips a comment, which may hold comments (RFC 5322 3.2.2).
func (s *scanner) skipComment() {
	level := 0
	for ; s.pos < len(s.text); s.pos++ {
		switch s.text[s.pos] {
		case '\\':
			s.pos++
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				s.pos++
				return
			}
		}
	}
	s.pos = len(s.text)
}

// parseSpec turns an addr-spec in external form into internal form: it removes
// quotes, comments and a source route. A space stays between words that no dot
// or "@" joins.
func parseSpec(raw string) (addr mail.Address, routed bool) {
	if raw != "" && raw[0] == '@' {
		if i := routeEnd(raw); i > 0 {
			raw, routed = raw[i:], true
		}
	}
	if strings.IndexAny(raw, " \t\r\n(\"\\") < 0 {
		return mail.Address(raw), routed
	}
	var b strings.Builder
	s := scanner{text: raw}
	word, gap := false, false // the last token was a word; space followed it
	for s.pos < len(raw) {
		from := s.pos
		switch c := raw[from]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			s.pos++
			gap = true
			continue
		case c == '(':
			s.skipComment()
			gap = true
			continue
		case c == '.' || c == '@':
			s.pos++
			b.WriteByte(c)
			word, gap = false, false
			continue
		case c == '"':
			s.skipTo('"')
		case c == '[':
			s.skipTo(']')
		case c == '\\':
			s.pos = min(from+2, len(raw))
		default:
			for s.pos++; s.pos < len(raw) && !isSpecial(raw[s.pos]) && raw[s.pos] != '.' && raw[s.pos] != '@'; {
				s.pos++
			}
		}
		if word && gap {
			b.WriteByte(' ')
		}
		b.WriteString(unquote(raw[from:s.pos]))
		word, gap = true, false
	}
	return mail.Address(b.String()), routed
}

// routeEnd returns the length of the source route "@a,@b:" with which raw
// begins, or 0. The address behind it must not be empty.
func routeEnd(raw string) int {
	i := strings.IndexByte(raw, ':')
	if i < 0 || strings.TrimLeft(raw[i+1:], " \t\r\n") == "" || strings.IndexByte(raw[:i], '[') >= 0 {
		return 0
	}
	return i + 1
}

// unquote removes the quotes and backslashes of one token.
func unquote(token string) string {
	if token[0] == '"' {
		token = token[1:]
		if n := len(token); n > 0 && token[n-1] == '"' && !oddBackslashes(token[:n-1]) {
			token = token[:n-1]
		}
	} else if token[0] != '\\' {
		return token
	}
	if strings.IndexByte(token, '\\') < 0 {
		return unfold(token)
	}
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		if token[i] == '\\' && i+1 < len(token) {
			i++
		}
		b = append(b, token[i])
	}
	return unfold(string(b))
}

// oddBackslashes tells whether s ends in a backslash that quotes what follows.
func oddBackslashes(s string) bool {
	n := 0
	for n < len(s) && s[len(s)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// unfold removes line breaks, which mean nothing inside a token.
func unfold(s string) string {
	if strings.IndexAny(s, "\r\n") < 0 {
		return s
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(s)
}
