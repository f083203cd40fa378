package cli

import (
	"bufio"
	"fmt"
	"strings"

	"postroad/internal/event"
)

// postlogLevels are the priorities of postlog -p.
var postlogLevels = map[string]string{
	"info": "", "warn": "warning", "warning": "warning", "error": "error", "err": "error",
	"fatal": "fatal", "crit": "fatal", "panic": "panic",
}

// maxLogLine bounds a line that postlog takes.
const maxLogLine = 64 << 10

// runPostlog is postlog(1): it writes lines to the mail log for scripts.
func runPostlog(e *Env) int {
	e.Prog = "postfix/postlog" // on the standard error, whatever the tag
	var dir, tag string
	level := ""
	g := NewGetopt(e.Args, "c:ip:t:v")
	for {
		opt, err := g.Next()
		if err != nil {
			fmt.Fprintf(e.Stderr, "%s: %v\n", e.Prog, err)
			return e.Fatalf(1, "usage: postlog [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]")
		}
		if opt == 0 {
			break
		}
		switch opt {
		case 'c':
			dir = g.Arg
		case 'p':
			severity, ok := postlogLevels[strings.ToLower(g.Arg)]
			if !ok {
				return e.Fatalf(1, "bad severity: \"%s\"", g.Arg)
			}
			level = severity
		case 't':
			tag = string(event.AppendPrintable(nil, g.Arg))
		}
	}
	if _, err := e.load(dir); err != nil {
		return e.Fatalf(1, "%v", err)
	}
	e.postlogTag(tag)
	if words := g.Args(); len(words) > 0 {
		e.diag(level, "%s", []any{strings.Join(words, " ")})
		return 0
	}
	in := bufio.NewScanner(e.Stdin)
	in.Buffer(nil, maxLogLine)
	for in.Scan() {
		e.diag(level, "%s", []any{in.Text()})
	}
	return 0
}

// postlogTag sets the name under which lines are written: -t or MAIL_LOGTAG
// stands alone.
func (e *Env) postlogTag(tag string) {
	if tag == "" {
		tag = e.Getenv("MAIL_LOGTAG")
	}
	if tag != "" {
		e.tag = tag
	}
}
