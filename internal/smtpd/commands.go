package smtpd

import (
	"strings"
	"unicode/utf8"

	"postroad/internal/event"
	"postroad/internal/wire"
)

// command is a row of the command table.
type command struct {
	name string
	run  func(s *session, args string)
	// beforeTLS commands are served when TLS is required and not there yet.
	beforeTLS bool
	// junk commands count as errors when there are too many of them.
	junk bool
	// last commands end a group: nothing may be pipelined behind them (RFC 2920 3.1).
	last bool
	// uncounted commands begin the session anew: a success is not in the counts.
	uncounted bool
}

// commands is the table, in the order of the disconnect line.
var commands = [unknownCommand]command{
	{name: "HELO", run: (*session).cmdHelo, beforeTLS: true, junk: true, last: true},
	{name: "EHLO", run: (*session).cmdEhlo, beforeTLS: true, junk: true, last: true},
	{name: "XCLIENT", run: (*session).cmdXclient, beforeTLS: true, uncounted: true},
	{name: "XFORWARD", run: (*session).cmdXforward},
	{name: "STARTTLS", run: (*session).cmdStartTLS, beforeTLS: true},
	{name: "AUTH", run: (*session).cmdAuth},
	{name: "MAIL", run: (*session).cmdMail},
	{name: "RCPT", run: (*session).cmdRcpt},
	{name: "DATA", run: (*session).cmdData, last: true},
	{name: "BDAT", run: (*session).cmdBdat},
	{name: "RSET", run: (*session).cmdRset, junk: true},
	{name: "NOOP", run: (*session).cmdNoop, beforeTLS: true, junk: true, last: true},
	{name: "VRFY", run: (*session).cmdVrfy, junk: true, last: true},
	{name: "ETRN", run: (*session).cmdEtrn, junk: true},
	{name: "QUIT", run: (*session).cmdQuit, beforeTLS: true},
	{name: "HELP", run: (*session).cmdHelp, beforeTLS: true, junk: true},
}

// unknownCommand is the number of rows, and the place of unknown commands in the
// counts.
const unknownCommand = 16

// counts are the commands of a session by row, and one for unknown ones.
type counts struct {
	ok, total [unknownCommand + 1]uint32
}

// list is what the disconnect line shows.
func (c *counts) list() []event.CommandCount {
	out := make([]event.CommandCount, 0, 8)
	for i, total := range c.total {
		if total == 0 {
			continue
		}
		name := "unknown"
		if i < unknownCommand {
			name = strings.ToLower(commands[i].name)
		}
		out = append(out, event.CommandCount{Name: name, OK: int(c.ok[i]), Total: int(total)})
	}
	return out
}

// find returns the place of a verb in the table, or unknownCommand.
func find(verb []byte) int {
	for i := range commands {
		if equalFold(verb, commands[i].name) {
			return i
		}
	}
	return unknownCommand
}

// equalFold compares a word of a client with one in upper case.
func equalFold(word []byte, upper string) bool {
	if len(word) != len(upper) {
		return false
	}
	for i, c := range word {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}

// dispatch serves one command line.
func (s *session) dispatch(line []byte) {
	verb, args := wire.Verb(line)
	s.code = 0
	if s.srv.proxy != nil {
		s.line = string(line)
	}
	switch {
	case s.set.UTF8 && !utf8.Valid(line):
		s.reply(500, "5.5.2", "Error: bad UTF-8 syntax")
		s.errors++
		return
	case len(verb) == 0:
		s.reply(500, "5.5.2", "Error: bad syntax")
		s.errors++
		return
	case s.isNoop(verb):
		s.reply(250, "2.0.0", "Ok")
		s.countJunk()
		return
	}
	index := find(verb)
	s.counts.total[index]++
	if s.allowed(index, verb, line) {
		commands[index].run(s, string(args))
	}
	s.account(index)
}

// allowed tells whether a command may run now; if not it has replied.
func (s *session) allowed(index int, verb, line []byte) bool {
	if index == unknownCommand {
		s.where = "UNKNOWN"
		if s.forbidden(verb) {
			s.log.Warnf("non-SMTP command from %s: %s", s.client(), line[:min(len(line), 100)])
			s.reply(221, "2.7.0", "Error: I can break rules, too. Goodbye.")
			s.flags.hangup, s.flags.failed = true, true
			return false
		}
	}
	if s.flags.denied && (index == unknownCommand || commands[index].name != "QUIT") {
		s.reply(503, "5.7.0", "Error: access denied for "+s.client())
		return false
	}
	if index == unknownCommand {
		if !s.filterUnknown(line) {
			s.reply(500, "5.5.2", "Error: command not recognized")
		}
		return false
	}
	row := &commands[index]
	if s.srv.DemandsTLS() && s.peer.TLS == nil && !row.beforeTLS {
		s.reply(530, "5.7.0", "Must issue a STARTTLS command first")
		return false
	}
	s.where = row.name
	return !(row.last || !s.peer.ESMTP) || !s.outOfTurn(row.name)
}

// account counts a command that was served or refused.
func (s *session) account(index int) {
	row := command{}
	if index < unknownCommand {
		row = commands[index]
	}
	switch {
	case s.code >= 400 || s.flags.failed:
		s.errors++
	case !row.uncounted:
		s.counts.ok[index]++
	}
	s.flags.failed = false
	if row.junk {
		s.countJunk()
	}
}

// countJunk counts a command that does not bring mail nearer.
func (s *session) countJunk() {
	if s.junk > s.set.JunkLimit {
		s.errors++
	}
	s.junk++
}

// outOfTurn tells whether the client has sent more before it could know the
// answer to this command (RFC 2920 3.1). It comes before the command is served.
func (s *session) outOfTurn(name string) bool {
	if s.flags.pipelined || !s.r.Pending() {
		return false
	}
	s.flags.pipelined = true
	s.log.Emit(&event.Pipelining{After: name, Client: s.client(), Text: string(s.r.Peek()[:min(s.r.Buffered(), 100)])})
	if !s.set.ForbidPipelining {
		return false
	}
	s.reply(554, "5.5.0", "Error: SMTP protocol synchronization")
	s.flags.hangup = true
	return true
}

// isNoop tells whether smtpd_noop_commands has a word.
func (s *session) isNoop(verb []byte) bool {
	for _, word := range s.set.Noop {
		if strings.EqualFold(word, string(verb)) {
			return true
		}
	}
	return false
}

// forbidden tells whether an unknown command is one of another protocol, or the
// beginning of a header.
func (s *session) forbidden(verb []byte) bool {
	word := string(verb)
	for _, f := range s.set.Forbidden {
		if strings.EqualFold(f, word) {
			return true
		}
	}
	// RFC 5322 2.2: the name of a field, then a colon.
	if i := strings.IndexByte(word, ':'); i > 0 && !strings.ContainsFunc(word[:i], func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return true
	}
	return s.srv.Lists.Forbidden != nil && s.srv.Lists.Forbidden(word)
}
