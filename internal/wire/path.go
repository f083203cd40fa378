package wire

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"postroad/internal/mail"
)

// PathRules say how lenient ParsePath is.
type PathRules struct {
	// Strict accepts only <address> without comments and phrases.
	Strict bool
	// UTF8 accepts bytes above ASCII in the domain (RFC 6531 3.3).
	UTF8 bool
	// Numeric accepts an IP address as a domain (resolve_numeric_domain).
	Numeric bool
	// MinUser accepts an address that begins with "-".
	MinUser bool
}

// tokenKind is a lexical class of an address.
type tokenKind uint8

const (
	tokWord    tokenKind = iota // atom or quoted string
	tokSpecial                  // one of @ . : , ; < >
	tokLiteral                  // [...]
)

// token is one lexical element; comments and white space leave none.
type token struct {
	kind tokenKind
	text string
}

// ParsePath gives the internal form of the path of MAIL or RCPT. Like most
// servers it takes more than RFC 5321 4.1.2 allows: no brackets, comments, a
// phrase before the bracket. A source route is dropped (RFC 5321 appendix C).
func ParsePath(path string, rules PathRules) (mail.Address, error) {
	if strings.IndexByte(path, 0) >= 0 || rules.Strict && !strings.HasPrefix(path, "<") {
		return "", ErrBadPath
	}
	if a, ok := plainPath(path); ok {
		return checkPath(a, rules)
	}
	tokens, comments, ok := lexPath(path)
	if !ok || rules.Strict && comments {
		return "", ErrBadPath
	}
	tokens, ok = inner(tokens, rules.Strict)
	if !ok {
		return "", ErrBadPath
	}
	addr, ok := join(dropRoute(tokens))
	if !ok {
		return "", ErrBadPath
	}
	return checkPath(addr, rules)
}

// plainPath recognises the common form <local@domain>, without a copy.
func plainPath(path string) (string, bool) {
	n := len(path)
	if n < 2 || path[0] != '<' || path[n-1] != '>' {
		return "", false
	}
	addr, at := path[1:n-1], 0
	for i := 0; i < len(addr); i++ {
		switch c := addr[i]; {
		case c == '@':
			at++
		case c <= ' ', c == 0x7f, strings.IndexByte(`()<>[]:;,\"`, c) >= 0:
			return "", false
		}
	}
	return addr, at == 1 && addr[0] != '@'
}

// lexPath cuts a path into tokens.
func lexPath(s string) (tokens []token, comments, ok bool) {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case isSpace(c):
			i++
		case c == '(':
			end := closeComment(s, i)
			if end < 0 {
				return nil, false, false
			}
			comments = true
			i = end + 1
		case c == ')':
			return nil, false, false // it closes nothing
		case c == '"':
			end := closing(s, i)
			if end < 0 {
				return nil, false, false
			}
			tokens = append(tokens, token{tokWord, unescape(s[i+1 : end])})
			i = end + 1
		case c == '[':
			end := closing(s, i)
			if end < 0 {
				return nil, false, false
			}
			tokens = append(tokens, token{tokLiteral, s[i : end+1]})
			i = end + 1
		case strings.IndexByte("@.:,;<>", c) >= 0:
			tokens = append(tokens, token{tokSpecial, s[i : i+1]})
			i++
		default:
			end := i
			for end < len(s) && !isSpace(s[end]) && strings.IndexByte(`@.:,;<>()"[`, s[end]) < 0 {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			if end > len(s) {
				return nil, false, false // a "\" with nothing behind it
			}
			tokens = append(tokens, token{tokWord, unescape(s[i:end])})
			i = end
		}
	}
	return tokens, comments, true
}

// closeComment finds the end of the comment at s[i]; comments nest.
func closeComment(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// unescape removes the "\" of quoted pairs.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// inner returns the tokens between the brackets, or all when there are none.
func inner(tokens []token, strict bool) ([]token, bool) {
	open := -1
	for i, t := range tokens {
		if t.is('<') {
			open = i
			break
		}
	}
	if open < 0 {
		return trimBrackets(tokens, '>'), true
	}
	if strict && open > 0 {
		return nil, false
	}
	tokens = tokens[open+1:]
	for !strict && len(tokens) > 0 && tokens[0].is('<') {
		tokens = tokens[1:]
	}
	for i, t := range tokens {
		if !t.is('>') {
			continue
		}
		rest := trimBrackets(tokens[i:], '>')
		return tokens[:i], len(rest) == 0 && (!strict || i == len(tokens)-1)
	}
	return nil, false
}

// trimBrackets drops brackets at the end.
func trimBrackets(tokens []token, c byte) []token {
	for len(tokens) > 0 && tokens[len(tokens)-1].is(c) {
		tokens = tokens[:len(tokens)-1]
	}
	return tokens
}

func (t token) is(c byte) bool { return t.kind == tokSpecial && t.text[0] == c }

// dropRoute drops a source route "@a,@b:" (RFC 5321 4.1.2, A-d-l).
func dropRoute(tokens []token) []token {
	if len(tokens) == 0 || !tokens[0].is('@') {
		return tokens
	}
	for i, t := range tokens {
		if t.is(':') {
			return tokens[i+1:]
		}
	}
	return tokens
}

// join puts an address together. Two words in a row are not one address.
func join(tokens []token) (string, bool) {
	var b strings.Builder
	for i, t := range tokens {
		if t.is(',') || t.is(';') || t.is('<') || t.is('>') {
			return "", false
		}
		if i > 0 && t.kind != tokSpecial && tokens[i-1].kind != tokSpecial {
			return "", false
		}
		b.WriteString(t.text)
	}
	return b.String(), true
}

// checkPath looks at the address as a whole.
func checkPath(addr string, rules PathRules) (mail.Address, error) {
	if addr == "" {
		return "", nil
	}
	at := strings.LastIndexByte(addr, '@')
	if at >= 0 && !ValidDomain(addr[at+1:], rules.UTF8) && !(rules.Numeric && isAddr(addr[at+1:])) {
		return "", ErrBadPath
	}
	if rules.Strict && at == 0 || addr[0] == '-' && !rules.MinUser {
		return "", ErrBadPath
	}
	return mail.Address(addr), nil
}

// ValidDomain tells whether s is a host name or an address literal (RFC 5321
// 4.1.2, 4.1.3). One dot at the end and "_" are accepted; a bare IP address is
// not a domain. utf8Names accepts names above ASCII.
func ValidDomain(s string, utf8Names bool) bool {
	if strings.HasPrefix(s, "[") {
		return validLiteral(s)
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 255 { // RFC 5321 4.5.3.1.2
		return false
	}
	label, numeric := 0, true
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			if label == 0 || label > 63 || s[i-1] == '-' {
				return false
			}
			label = 0
			continue
		}
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		switch {
		case digit(c):
		case letter, c == '-' && label > 0, c >= 0x80 && utf8Names:
			numeric = false
		default:
			return false
		}
		label++
	}
	return !numeric && (!utf8Names || utf8.ValidString(s))
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// validLiteral checks [1.2.3.4] and [IPv6:...].
func validLiteral(s string) bool {
	if !strings.HasSuffix(s, "]") {
		return false
	}
	s = s[1 : len(s)-1]
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		a, err := netip.ParseAddr(s[5:])
		return err == nil && a.Is6() && a.Zone() == ""
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}
