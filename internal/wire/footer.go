package wire

import "strings"

// AddFooter puts the lines of a template behind a reply, each with the code and
// the enhanced code of the reply's last line. "\n" in the template parts lines;
// with "\c" at its beginning the first line goes on where the reply ends. expand
// fills in the names of one line; when it fails the reply stays as it is. reply
// has CRLF between its lines and none at the end.
func AddFooter(reply, template string, expand func(line string) (string, error)) (string, error) {
	start := 0
	if i := strings.LastIndex(reply, "\r\n"); i >= 0 {
		start = i + 2
	}
	if len(reply) < start+4 || template == "" {
		return reply, nil
	}
	head := reply[start : start+3]
	code := EnhancedCode(reply[start+4:])
	if code != "" {
		code += " "
	}
	out := reply
	lines := strings.Split(template, `\n`)
	marked := false
	for i, line := range lines {
		line, joined := strings.CutPrefix(line, `\c`)
		joined = joined && i == 0
		if !joined {
			line = lines[i]
		}
		text, err := expand(line)
		if err != nil {
			return reply, err
		}
		if joined {
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
	return out, nil
}
