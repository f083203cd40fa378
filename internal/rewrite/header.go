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
	// had a source route (RFC 5322 4.4).
	Angle, Routed bool
	// Joined tells that there should be a comma before the address.
	Joined bool
}

// HeaderAddresses finds the addresses in the value of a header field that is an
// address-list of RFC 5322 3.4, and in whatever people write there instead:
// as in Postfix, words without a comma between them are addresses of their own,
// and a colon ends the name of a group only when a semicolon follows. Null
// addresses are skipped.
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

// edit replaces text[start:end].
type edit struct {
	start, end int
	text       string
}

// RewriteHeader replaces each address of a header value by what fn makes of it,
// and leaves all other bytes alone, except that it adds missing commas to a
// value that it changes. An error of fn ends the work.
func RewriteHeader(value string, fn func(mail.Address) (mail.Address, error)) (string, error) {
	var edits []edit
	changed := false
	for spot := range HeaderAddresses(value) {
		addr, err := fn(spot.Addr)
		if err != nil {
			return value, err
		}
		if spot.Joined && !spot.Angle {
			edits = append(edits, edit{spot.Start, spot.Start, ","})
		}
		if addr != spot.Addr || spot.Routed {
			edits = append(edits, edit{spot.Start, spot.End, addr.External()})
			changed = true
		}
	}
	if !changed {
		return value, nil
	}
	var out strings.Builder
	done := 0
	for _, e := range edits {
		keep := value[done:e.start]
		done = e.end
		if e.text != "," {
			out.WriteString(keep)
			out.WriteString(e.text)
			continue
		}
		// The comma goes before the white space, which may be a folded line.
		text := strings.TrimRight(keep, " \t\r\n")
		space := keep[len(text):]
		if space == "" {
			space = " "
		}
		out.WriteString(text)
		out.WriteByte(',')
		out.WriteString(space)
	}
	out.WriteString(value[done:])
	return out.String(), nil
}

// Path is what stands behind MAIL FROM: or RCPT TO:.
type Path struct {
	// Addr is the address in internal form, empty for "<>".
	Addr mail.Address
	// Count is the number of addresses found, 0 for "<>"; it stops at 2.
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

// span is a piece of the text.
type span struct{ start, end int }

// scanner walks over an address list.
type scanner struct {
	text string
	pos  int
	// ready are the bare addresses of a mailbox that has ended.
	ready []span
	// closing is where the next ">" is, or beyond the text; semicolon is where
	// the last ";" is, or -1, once it is known.
	closing   int
	known     bool
	semicolon int
	// joined tells that an address was found since the last comma.
	joined bool
}

// next returns the next address.
func (s *scanner) next() (Spot, bool) {
	for {
		for len(s.ready) > 0 {
			w := s.ready[0]
			s.ready = s.ready[1:]
			if spot, ok := s.spot(w.start, w.end, false); ok {
				return spot, true
			}
		}
		if s.pos >= len(s.text) {
			return Spot{}, false
		}
		if spot, ok := s.mailbox(); ok {
			return spot, true
		}
	}
}

// mailbox reads up to the next separator. The words before an angle address are
// a display name; without one they are addresses.
func (s *scanner) mailbox() (Spot, bool) {
	var words []span
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == ',' || c == ';':
			if len(words) > 0 {
				s.ready = words
				return Spot{}, false
			}
			s.pos++
			s.joined = false
		case c == ':' && s.group():
			s.pos++
			words, s.joined = words[:0], false
		case c == '<':
			return s.angle()
		case c == '>' || c == ')':
			s.pos++
		default:
			words = s.word(words)
		}
	}
	s.ready = words
	return Spot{}, false
}

// word reads one token and adds it to the words, or to the last word when an
// operator joins the two.
func (s *scanner) word(words []span) []span {
	from := s.pos
	switch s.text[from] {
	case ' ', '\t', '\r', '\n':
		s.pos++
		return words
	case '(':
		s.skipComment()
		return words
	}
	s.token()
	if n := len(words); n > 0 && (isOperator(s.text[words[n-1].end-1]) || isOperator(s.text[from])) {
		words[n-1].end = s.pos
		return words
	}
	return append(words, span{from, s.pos})
}

// isOperator tells whether c joins what stands on both sides.
func isOperator(c byte) bool {
	return c == '@' || c == '.' || c == ':' || c == '%' || c == '!'
}

// group tells whether a colon ends the display name of a group (RFC 5322 3.4).
func (s *scanner) group() bool {
	if !s.known {
		s.known, s.semicolon = true, -1
		ahead := scanner{text: s.text, pos: s.pos}
		for ahead.pos < len(ahead.text) {
			switch ahead.text[ahead.pos] {
			case ';':
				s.semicolon = ahead.pos
				ahead.pos++
			case '(':
				ahead.skipComment()
			default:
				ahead.token()
			}
		}
	}
	return s.semicolon > s.pos
}

// spot parses text[start:end] as an addr-spec.
func (s *scanner) spot(start, end int, angle bool) (Spot, bool) {
	addr, routed := parseSpec(s.text[start:end])
	if addr == "" {
		return Spot{}, false
	}
	spot := Spot{Addr: addr, Start: start, End: end, Angle: angle, Routed: routed, Joined: s.joined}
	s.joined = true
	return spot, true
}

// angle reads "<...>"; it returns false for a null address.
func (s *scanner) angle() (Spot, bool) {
	s.pos++
	start, end := -1, -1
	for s.pos < len(s.text) {
		from := s.pos
		switch c := s.text[from]; {
		case c == '>':
			s.pos++
			return s.inner(start, end)
		case c == ',' && s.open():
			return s.inner(start, end) // "<a@b, c@d": the bracket was forgotten
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			s.pos++
		case c == '(':
			s.skipComment()
		default:
			s.token()
			if start < 0 {
				start = from
			}
			end = s.pos
		}
	}
	return s.inner(start, end)
}

// inner is spot for what stands in angle brackets; start is -1 for nothing.
func (s *scanner) inner(start, end int) (Spot, bool) {
	if start < 0 {
		return Spot{}, false
	}
	return s.spot(start, end, true)
}

// open tells whether no ">" follows.
func (s *scanner) open() bool {
	if s.closing < s.pos {
		i := strings.IndexByte(s.text[s.pos:], '>')
		if i < 0 {
			i = len(s.text) + 1
		}
		s.closing = s.pos + i
	}
	return s.closing > len(s.text)
}

// token skips one quoted string, domain literal, or other byte or atom.
func (s *scanner) token() {
	switch s.text[s.pos] {
	case '"':
		s.skipTo('"')
	case '[':
		s.skipTo(']')
	default:
		s.escape()
		for s.pos < len(s.text) && !isSpecial(s.text[s.pos]) {
			s.escape()
		}
	}
}

// escape skips one byte, or two when the first is a backslash.
func (s *scanner) escape() {
	if s.text[s.pos] == '\\' {
		s.pos++
	}
	s.pos = min(s.pos+1, len(s.text))
}

// isSpecial tells whether c ends an atom.
func isSpecial(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', '(', ')', '<', '>', '[', ']', ':', ';', ',', '"':
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
// quotes, comments, white space and a source route.
func parseSpec(raw string) (addr mail.Address, routed bool) {
	if raw != "" && raw[0] == '@' {
		if i := routeEnd(raw); i > 0 {
			raw, routed = raw[i:], true
		}
	}
	if !strings.ContainsAny(raw, " \t\r\n(\"\\") {
		return mail.Address(raw), routed
	}
	var b strings.Builder
	s := scanner{text: raw}
	for s.pos < len(raw) {
		from := s.pos
		switch raw[from] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case '(':
			s.skipComment()
		default:
			s.token()
			b.WriteString(unquote(raw[from:s.pos]))
		}
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
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(s)
}
