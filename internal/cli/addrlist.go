package cli

import (
	"strings"

	"postroad/internal/mail"
)

// addrToken is a piece of an address list: a word, or one special character.
type addrToken struct {
	// text is the word in internal form (without quotes), or the special.
	text string
	word bool
	// glued tells that no white space or comment came before.
	glued bool
}

// parseAddresses reads an address list as sendmail takes it on the command line
// and in To, Cc and Bcc (RFC 5322 3.4): "a@b, Some Body <c@d>, group: e@f;".
// Words that nothing connects are addresses of their own: "a b" is two.
func parseAddresses(s string) []mail.Address {
	tokens := addrTokens(s)
	var all, pending []mail.Address
	for i := 0; i < len(tokens); {
		t := tokens[i]
		switch {
		case !t.word && t.text == "<":
			end := closingAngle(tokens, i)
			if end < 0 {
				i++
				continue
			}
			// The words before are a display name.
			pending = append(pending[:0], mail.Address(joinTokens(tokens[i+1:end])))
			i = end + 1
		case !t.word && t.text == ":":
			// The words before are the name of a group.
			pending = pending[:0]
			i++
		case !t.word && (t.text == "," || t.text == ";" || t.text == ">"):
			all = append(all, pending...)
			pending = pending[:0]
			i++
		default:
			var a mail.Address
			a, i = addressAt(tokens, i)
			pending = append(pending, a)
		}
	}
	return append(all, pending...)
}

// closingAngle finds the ">" for the "<" at i, or -1.
func closingAngle(tokens []addrToken, i int) int {
	for j := i + 1; j < len(tokens); j++ {
		if !tokens[j].word && tokens[j].text == ">" {
			return j
		}
	}
	return -1
}

// joinTokens is what stands between angle brackets.
func joinTokens(tokens []addrToken) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.text)
	}
	return b.String()
}

// addressAt reads the address that begins at token i: words joined by "@" and
// ".". It returns the index behind it.
func addressAt(tokens []addrToken, i int) (mail.Address, int) {
	var b strings.Builder
	joined := true
	for ; i < len(tokens); i++ {
		t := tokens[i]
		if t.word {
			if !joined {
				break
			}
			b.WriteString(t.text)
			joined = false
			continue
		}
		if t.text != "@" && t.text != "." && !(t.glued && strings.Contains("!%:", t.text) && t.text != ":") {
			break
		}
		b.WriteString(t.text)
		joined = true
	}
	return mail.Address(b.String()), i
}

// addrTokens splits a list into words and specials and drops comments.
func addrTokens(s string) []addrToken {
	var tokens []addrToken
	glued := false
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			glued = false
			i++
			continue
		case c == '(':
			i = skipComment(s, i)
			glued = false
			continue
		case c == '"':
			text, next := quotedWord(s, i)
			tokens = append(tokens, addrToken{text, true, glued})
			i = next
		case c == '[':
			end := strings.IndexByte(s[i:], ']')
			if end < 0 {
				end = len(s) - i - 1
			}
			tokens = append(tokens, addrToken{s[i : i+end+1], true, glued})
			i += end + 1
		case strings.IndexByte("@.,;:<>", c) >= 0:
			tokens = append(tokens, addrToken{string(c), false, glued})
			i++
		default:
			end := i
			for end < len(s) && strings.IndexByte("@.,;:<>()[\" \t\r\n", s[end]) < 0 {
				end++
			}
			if end == i {
				end++
			}
			tokens = append(tokens, addrToken{unescape(s[i:end]), true, glued})
			i = end
		}
		glued = true
	}
	return tokens
}

// skipComment returns the index behind the comment at i (RFC 5322 3.2.2).
func skipComment(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// quotedWord reads the quoted string at i without its quotes (RFC 5322 3.2.4).
func quotedWord(s string, i int) (string, int) {
	var b strings.Builder
	for i++; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i + 1
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), len(s)
}

// unescape removes backslashes from a word.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	text, _ := quotedWord("\""+s, 0)
	return text
}
