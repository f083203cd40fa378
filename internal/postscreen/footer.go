package postscreen

import (
	"strings"

	"postroad/internal/event"
	"postroad/internal/postconf"
	"postroad/internal/wire"
)

// addFooter puts the lines of a template behind a reply, each with the code of the
// reply and its enhanced code. "\n" in the template parts lines; with "\c" at its
// beginning the first line goes on where the reply ends. A template that cannot
// be expanded changes nothing.
func addFooter(reply, template string, value func(name string) (string, bool), log *event.Logger) string {
	start := strings.LastIndex(reply, "\r\n") + 2
	if start == 1 {
		start = 0
	}
	if len(reply) < start+4 {
		return reply
	}
	head := reply[start : start+3]
	code := wire.EnhancedCode(reply[start+4:])
	if code != "" {
		code += " "
	}
	out := reply
	lines := strings.Split(template, `\n`)
	marked := false
	for i, line := range lines {
		text, err := postconf.ExpandOnce(strings.TrimPrefix(line, `\c`), value)
		if err != nil {
			log.Warnf("reject footer: %v", err)
			return reply
		}
		if i == 0 && strings.HasPrefix(line, `\c`) {
			out += text
			continue
		}
		if !marked {
			out, marked = out[:start+3]+"-"+out[start+4:], true
		}
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		out += "\r\n" + head + sep + code + text
	}
	return out
}

// unescape reads a text with the escapes of the C language.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if at := strings.IndexByte("abfnrtv", s[i]); at >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v"[at])
			continue
		}
		n, digits := 0, 0
		for digits < 3 && i+digits < len(s) && s[i+digits] >= '0' && s[i+digits] <= '7' {
			n = n<<3 | int(s[i+digits]-'0')
			digits++
		}
		if digits == 0 {
			b.WriteByte(s[i])
			continue
		}
		b.WriteByte(byte(n))
		i += digits - 1
	}
	return b.String()
}
