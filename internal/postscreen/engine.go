package postscreen

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"postroad/internal/event"
)

// dialogue is the state of the SMTP engine.
type dialogue struct {
	// where is the command for the log, commands how many there were.
	where    string
	commands int
	esmtp    bool
	helo     string
	// sender is that of MAIL, mail tells that there was one.
	sender string
	mail   bool
	mask   mask
	// over ends the engine: the client is done.
	over bool
}

// maxCommand bounds a command, whatever line_length_limit says.
const maxCommand = 4096

// engine talks SMTP with a client and takes no mail. It ends with the connection:
// a client that passes must come again, because nobody can take over in the middle
// of a dialogue.
func (c *client) engine() {
	c.begin("tests after SMTP handshake")
	c.smtp.where = "CONNECT"
	switch {
	case c.facts.doomed:
		c.todo &^= deep
	case c.hasFailed():
		// As we are talking anyway, see what else is wrong with it.
		c.todo |= deep
	}
	// A client that did not wait for the greeting is not confused by one.
	if !c.failed.has(pregreet) && !c.send220() {
		c.hungUp()
		return
	}
	for !c.smtp.over {
		c.step()
	}
}

func (c *client) send220() bool { return c.write("220 " + c.set.Banner + "\r\n") }

// step reads and serves one command.
func (c *client) step() {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.srv.current().CommandTime)); err != nil {
		c.finish(c.hungUp)
		return
	}
	line, bare, err := c.readCommand()
	switch {
	case errors.Is(err, errTooLong):
		c.note("length_limit", "COMMAND LENGTH LIMIT", c.smtp.where)
		c.dropNow("421 " + c.set.Hostname + " Service unavailable - try again later")
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.note("time_limit", "COMMAND TIME LIMIT", c.smtp.where)
		c.dropNow("421 4.4.2 " + c.set.Hostname + " Error: timeout exceeded")
		return
	case err != nil:
		c.finish(c.hungUp)
		return
	}
	if bare && c.todo.has(bareNewline) && !c.decided.has(bareNewline) {
		c.note("bare_newline", "BARE NEWLINE", escaped(line, 100))
		if !c.misbehaved(bareNewline, "521 5.5.1 Protocol error") {
			return
		}
	}
	c.dispatch(c.edit(string(line)))
}

// finish ends the engine.
func (c *client) finish(conclude func()) {
	c.smtp.over = true
	conclude()
}

// dropNow ends the engine with a reply.
func (c *client) dropNow(reply string) { c.finish(func() { c.drop(reply) }) }

// note logs something that happened after a command.
func (c *client) note(what, words, after string) {
	c.srv.log.Emit(&event.Screening{What: what, Text: words + " from " + c.name + " after " + after})
}

// escaped shows the beginning of what a client sent.
func escaped[T string | []byte](text T, limit int) string {
	return string(event.AppendEscaped(nil, text[:min(len(text), limit)]))
}

// errTooLong is a command beyond line_length_limit.
var errTooLong = errors.New("postscreen: command too long")

// readCommand reads a line. It needs no line end to see that one is too long.
func (c *client) readCommand() (line []byte, bare bool, err error) {
	limit := min(c.set.LineLimit, maxCommand-1)
	for {
		seen := c.r.Peek()
		i := bytes.IndexByte(seen[:min(len(seen), limit)], '\n')
		if i >= 0 {
			line = seen[:i]
			if line, bare = bytes.CutSuffix(line, []byte{'\r'}); bare {
				bare = false
			} else {
				bare = true
			}
			c.r.Skip(i + 1)
			return line, bare, nil
		}
		if len(seen) > limit {
			return nil, false, errTooLong
		}
		if err := c.r.More(); err != nil {
			return nil, false, err
		}
	}
}

// edit applies postscreen_command_filter.
func (c *client) edit(line string) string {
	t := c.srv.lists.filter
	if t == nil || c.set.UTF8 && !utf8.ValidString(line) {
		return line
	}
	value, ok, err := t.Lookup(c.ctx, strings.TrimLeft(line, " \t"))
	switch {
	case err != nil:
		c.srv.log.Warnf("%s lookup error for \"%.100s\": %v", t, line, err)
	case ok:
		c.srv.log.Infof("%s: replacing command \"%.100s\" with \"%.100s\"", c.name, line, value)
		return value
	}
	return line
}

// misbehaved takes the action for a test of the protocol that failed. False means
// that the client is done.
func (c *client) misbehaved(ch check, dropped string) bool {
	c.failed |= only(ch)
	c.passed &^= only(ch)
	c.decided |= only(ch)
	c.srv.mu.Lock()
	c.info.until[ch] = disabled
	c.srv.mu.Unlock()
	switch c.srv.rules.actions[ch] {
	case drop:
		c.dropNow(dropped)
		return false
	case enforce:
		c.enforce("550 5.5.1 Protocol error")
	case ignore:
		c.failed &^= only(ch)
		c.passed |= only(ch)
		// For a short time, so that the other results are worth something.
		c.good(ch, c.srv.rules.minTTL)
	}
	return true
}

// dispatch serves one command.
func (c *client) dispatch(line string) {
	verb, args := token(line)
	cmd := findCommand(verb)
	before := c.smtp.where
	c.smtp.where = "UNIMPLEMENTED"
	if cmd != nil {
		c.smtp.where = cmd.name
	}
	quits := cmd != nil && cmd.name == "QUIT"
	if c.facts.doomed && !quits {
		c.dropNow(c.lastReply)
		return
	}
	if cmd == nil && c.todo.has(nonSMTP) && !c.decided.has(nonSMTP) && c.foreign(verb) {
		text := string(event.AppendPrintable(nil, verb)) + " " + escaped(args, 100)
		c.note("non_smtp_command", "NON-SMTP COMMAND", before+": "+text)
		if !c.misbehaved(nonSMTP, "521 5.7.0 Error: I can break rules, too. Goodbye.") {
			return
		}
	}
	// The payload of BDAT follows without a pause.
	if (cmd == nil || cmd.name != "BDAT") && c.todo.has(pipelining) && !c.decided.has(pipelining) && c.r.Buffered() > 0 {
		text := string(event.AppendPrintable(nil, verb[:min(len(verb), 100)])) + ": " + escaped(c.r.Peek(), 100)
		c.note("pipelining", "COMMAND PIPELINING", text)
		if !c.misbehaved(pipelining, "521 5.5.1 Protocol error") {
			return
		}
	}
	if cmd != nil && cmd.name == "RCPT" {
		c.cameFar()
	}
	if c.smtp.commands++; c.smtp.commands > c.set.CommandCount && !quits {
		c.note("count_limit", "COMMAND COUNT LIMIT", before)
		c.dropNow("421 " + c.set.Hostname + " Service unavailable - try again later")
		return
	}
	c.serve(cmd, args)
}

// token cuts the next word off a line.
func token(line string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(line, " "), " ")
	return word, rest
}

// foreign tells whether a word that is no command is one of another protocol, or
// the beginning of a header.
func (c *client) foreign(verb string) bool {
	// RFC 5322 2.2: the name of a field, then a colon.
	if i := strings.IndexByte(verb, ':'); i > 0 && !strings.ContainsFunc(verb[:i], func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return true
	}
	if c.set.UTF8 && !utf8.ValidString(verb) {
		return true
	}
	ok, err := c.srv.lists.forbidden.Match(c.ctx, verb)
	return err == nil && ok
}

// cameFar passes the tests of the protocol for now: the client got as far as a
// recipient. It may fail them still.
func (c *client) cameFar() {
	for ch := pipelining; ch < checks; ch++ {
		if c.todo.has(ch) && !c.passed.has(ch) && !c.failed.has(ch) {
			c.passed |= only(ch)
			c.good(ch, c.srv.rules.ttl[ch])
		}
	}
}
