package milter

import (
	"strings"

	"postroad/internal/mail"
)

// Verdict is what a filter has against a command or a message.
type Verdict uint8

const (
	// Refuse is an SMTP reply that begins with 4 or 5.
	Refuse Verdict = iota
	// Quarantine puts the message on hold; the command goes on.
	Quarantine
	// Discard accepts the message and drops it.
	Discard
	// Shutdown ends the connection of the client with 421.
	Shutdown
)

// Reply is the objection of a filter. No objection is a nil Reply.
type Reply struct {
	Verdict Verdict
	// Text is the SMTP reply of Refuse, its lines separated by CRLF, or the
	// reason of Quarantine.
	Text string
}

// Replies that are ours.
const (
	textReject      = "550 5.7.1 Command rejected"
	textTempfail    = "451 4.7.1 Service unavailable - try again later"
	textUnavailable = "550 5.5.0 Service unavailable"
	textShutdown    = "421 4.7.1 Service unavailable - try again later"
	textConfig      = "451 4.3.5 Server configuration problem - try again later"
	textConfigEnd   = "421 4.3.5 Server configuration problem - try again later"
	textQueue       = "451 4.3.0 Queue file write error"
	reasonDefault   = "default_action"
)

func refuse(text string) *Reply { return &Reply{Verdict: Refuse, Text: text} }

// Temporary tells whether a Refuse begins with 4.
func (r *Reply) Temporary() bool { return r.Verdict == Refuse && strings.HasPrefix(r.Text, "4") }

// Permanent tells whether a Refuse begins with 5.
func (r *Reply) Permanent() bool { return r.Verdict == Refuse && strings.HasPrefix(r.Text, "5") }

// Closing tells whether a Refuse also ends the connection of the client.
func (r *Reply) Closing() bool { return r.Verdict == Refuse && strings.HasPrefix(r.Text, "421") }

// Status is a Refuse as an SMTP reply of ours: the code once, the enhanced code
// taken off when it stands on every line, further lines separated by LF.
func (r *Reply) Status() mail.Status {
	lines := strings.Split(strings.TrimRight(r.Text, "\r\n"), "\r\n")
	st := mail.Status{Code: 451}
	for i, line := range lines {
		code, text := splitCode(line)
		if i == 0 && code != 0 {
			st.Code = code
		}
		lines[i] = clean(text)
	}
	if code := leadingCode(lines[0]); code != "" && sharedBy(lines, code) {
		st.Enhanced = code
		for i := range lines {
			lines[i] = strings.TrimLeft(lines[i][len(code):], " ")
		}
	}
	st.Text = strings.Join(lines, "\n")
	return st
}

// splitCode takes the reply code off a line; 0 when there is none.
func splitCode(line string) (code int, text string) {
	if len(line) < 3 {
		return 0, line
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, line
		}
		code = code*10 + int(line[i]-'0')
	}
	if len(line) == 3 {
		return code, ""
	}
	return code, line[4:]
}

// leadingCode is the enhanced status code (RFC 3463) at the front of a text.
func leadingCode(text string) string {
	word, _, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != "4" && parts[0] != "5" {
		return ""
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return ""
		}
	}
	return word
}

func sharedBy(lines []string, code string) bool {
	for _, line := range lines {
		if line != code && !strings.HasPrefix(line, code+" ") {
			return false
		}
	}
	return true
}

// clean keeps a text of a filter on its line.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}

// parseReplyCode reads the reply that a filter made up: a code that begins with 4
// or 5, a blank or a hyphen, and perhaps an enhanced code of the same kind. libmilter
// doubles every "%".
func parseReplyCode(data []byte, soft bool) (text string, ok bool) {
	text, _, _ = strings.Cut(string(data), "\x00")
	digit := func(i int) bool { return i < len(text) && text[i] >= '0' && text[i] <= '9' }
	switch {
	case len(text) < 4, text[0] != '4' && text[0] != '5', !digit(1), !digit(2),
		text[3] != ' ' && text[3] != '-',
		digit(4) && text[4] != text[0]:
		return text, false
	}
	text = unescape(text)
	if soft {
		text = soften(text)
	}
	return text, true
}

// unescape makes "%%" one "%" and drops a lone one.
func unescape(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' {
			if i++; i == len(text) {
				break
			}
		}
		out = append(out, text[i])
	}
	return string(out)
}

// soften is soft_bounce: every line that begins with 5 begins with 4.
func soften(text string) string {
	lines := strings.Split(text, "\r\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "5") {
			continue
		}
		b := []byte(line)
		b[0] = '4'
		if len(b) > 4 && b[4] == '5' {
			b[4] = '4'
		}
		lines[i] = string(b)
	}
	return strings.Join(lines, "\r\n")
}
