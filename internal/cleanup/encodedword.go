package cleanup

import (
	"encoding/base64"
	"strings"
)

// maxEncodedWord bounds an encoded word (RFC 2047 2).
const maxEncodedWord = 75

// The printable characters that an encoded word may not have as they are: in a
// comment (RFC 2047 5 (2)) and in a phrase (5 (3)).
const (
	commentSpecials = " =?_()\\"
	phraseSpecials  = " =?_()<>@,;:\\\".[]#$%&'^`{|}~"
)

// encodeWords writes text in the encoded words of RFC 2047, separated by line feeds.
// Text that is mostly not ASCII is written in base64. It is empty when that cannot
// be done.
func encodeWords(text, charset, specials string) string {
	if !isToken(charset) || text == "" || specials == phraseSpecials && text[0] == '"' {
		return ""
	}
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(specials, c) < 0 }
	hard := 0
	for i := range len(text) {
		if !plain(text[i]) {
			hard++
		}
	}
	var out []string
	if len(text) >= 20 && hard >= len(text)/2 {
		room := 3 * ((maxEncodedWord - len("=??B??=") - len(charset)) / 4)
		for text != "" {
			n := min(len(text), room)
			out = append(out, "=?"+charset+"?B?"+base64.StdEncoding.EncodeToString([]byte(text[:n]))+"?=")
			text = text[n:]
		}
		return strings.Join(out, "\n")
	}
	for text != "" {
		var word string
		word, text = quoteWord(text, maxEncodedWord-len("=??Q??=")-len(charset), plain)
		out = append(out, "=?"+charset+"?Q?"+word+"?=")
	}
	return strings.Join(out, "\n")
}

// quoteWord encodes as much of text as there is room for (RFC 2047 4.2), and returns
// the rest.
func quoteWord(text string, room int, plain func(byte) bool) (word, rest string) {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, room)
	for i := range len(text) {
		c := text[i]
		need := 3
		if c == ' ' || plain(c) {
			need = 1
		}
		if len(b)+need > room {
			return string(b), text[i:]
		}
		switch {
		case c == ' ':
			b = append(b, '_')
		case need == 1:
			b = append(b, c)
		default:
			b = append(b, '=', hex[c>>4], hex[c&15])
		}
	}
	return string(b), ""
}

// isToken tells whether s can name a character set in an encoded word (RFC 2047 2).
func isToken(s string) bool {
	return s != "" && len(s) <= maxEncodedWord/2 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\"/[]?.=", r)
	})
}

// cleanName puts one space for each run of control characters and spaces.
func cleanName(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
}

// foldWords joins words with spaces into lines of less than 70 characters, as far as
// that can be.
func foldWords(words string) string {
	b := []byte(words)
	start := 0
	for i := 0; i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		end := i + 1
		for end < len(b) && b[end] != '\n' {
			end++
		}
		if end-start < 70 {
			b[i] = ' '
		} else {
			start = i + 1
		}
	}
	return strings.ReplaceAll(string(b), "\n", "\n\t")
}
