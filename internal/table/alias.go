package table

import "strings"

// Alias files have "name: value, value" lines, which are cut into tokens as an
// address header is (RFC 822 section 3.3) and put together again with one way
// to write white space. That is what local(8) finds in the table.

// aliasOperators are the characters that are tokens of their own: those of
// RFC 822, and those that route mail.
const aliasOperators = `|%!()<>@,;:\".[]`

// aliasToken is a token: an operator, or text.
type aliasToken struct {
	// op is the operator, 0 for text.
	op byte
	// text is the text as it is, and shown the same as it is written.
	text, shown string
}

// parseAliasLine reads "name: value".
func parseAliasLine(line logicalLine, o *SourceOptions) (Entry, bool) {
	tokens := aliasTokens(line.text)
	colon := -1
	for i, t := range tokens {
		if t.op == ':' {
			colon = i
			break
		}
	}
	if colon <= 0 || colon == len(tokens)-1 || hasOp(tokens[:colon], ",") {
		o.Warn("%s, line %d: need name:value pair", o.Name, line.number)
		return Entry{}, false
	}
	if hasOp(tokens[:colon], "@%") {
		o.Warn("%s, line %d: name must be local and have no domain", o.Name, line.number)
		return Entry{}, false
	}
	return Entry{Key: joinTokens(tokens[:colon], false), Value: joinTokens(tokens[colon+1:], true)}, true
}

// hasOp tells whether one of the operators occurs.
func hasOp(tokens []aliasToken, ops string) bool {
	for _, t := range tokens {
		if t.op != 0 && strings.IndexByte(ops, t.op) >= 0 {
			return true
		}
	}
	return false
}

// joinTokens writes tokens as one text: a space between words, behind a comma
// and before "<", and nowhere else.
func joinTokens(tokens []aliasToken, shown bool) string {
	var b strings.Builder
	for i, t := range tokens {
		switch {
		case t.op != 0:
			b.WriteByte(t.op)
		case shown:
			b.WriteString(t.shown)
		default:
			b.WriteString(t.text)
		}
		if i+1 == len(tokens) {
			break
		}
		next := tokens[i+1]
		if t.op == ',' || next.op == '<' || t.op == 0 && next.op == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// aliasTokens cuts a line into tokens.
func aliasTokens(s string) []aliasToken {
	var out []aliasToken
	for i := 0; i < len(s); {
		c := s[i]
		var t aliasToken
		switch {
		case isSpace(c):
			i++
			continue
		case c == '(':
			t, i = commentToken(s, i)
		case c == '"':
			t, i = quotedToken(s, i)
		case c == '[':
			t, i = literalToken(s, i)
		case c != '\\' && strings.IndexByte(aliasOperators, c) >= 0:
			t, i = aliasToken{op: c}, i+1
		default:
			t, i = wordToken(s, i)
		}
		out = append(out, t)
	}
	return out
}

// commentToken takes a comment, which may hold others.
func commentToken(s string, i int) (aliasToken, int) {
	start, depth := i, 0
	for i < len(s) {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
		}
		i++
		if depth == 0 {
			break
		}
	}
	i = min(i, len(s))
	return aliasToken{text: s[start:i], shown: s[start:i]}, i
}

// quotedToken takes a quoted string; its end may be missing.
func quotedToken(s string, i int) (aliasToken, int) {
	var b strings.Builder
	for i++; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return aliasToken{text: b.String(), shown: quoteText(b.String())}, min(i+1, len(s))
}

// literalToken takes a domain literal; its end may be missing.
func literalToken(s string, i int) (aliasToken, int) {
	end := i + 1
	for end < len(s) && s[end] != ']' {
		if s[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(s))
	text := s[i:end] + "]"
	return aliasToken{text: text, shown: text}, min(end+1, len(s))
}

// wordToken takes an atom. A backslash makes any byte part of it; then it is
// shown as a quoted string where it has to be.
func wordToken(s string, i int) (aliasToken, int) {
	var b strings.Builder
	for ; i < len(s) && !isSpace(s[i]) && (s[i] == '\\' || strings.IndexByte(aliasOperators, s[i]) < 0); i++ {
		if s[i] == '\\' {
			if i++; i >= len(s) {
				break
			}
		}
		b.WriteByte(s[i])
	}
	t := aliasToken{text: b.String(), shown: b.String()}
	special := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(aliasOperators, r) }
	if strings.ContainsFunc(t.text, special) {
		t.shown = quoteText(t.text)
	}
	return t, i
}

// quoteText writes a quoted string.
func quoteText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "\\\r").Replace(s) + `"`
}
