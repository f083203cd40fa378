package smtpd

import (
	"strings"
	"unicode/utf8"

	"postroad/internal/event"
	"postroad/internal/tlsmgr"
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
	// ends tells that nothing may be pipelined behind the command (RFC 2920 3.1).
	ends bool
}

// commands is the table, in the order of the disconnect line.
func commands() []command {
	return []command{
		{"HELO", (*session).cmdHelo, true, false, true},
		{"EHLO", (*session).cmdEhlo, true, false, true},
		{"XCLIENT", (*session).cmdXclient, true, false, true},
		{"XFORWARD", (*session).cmdXforward, true, false, true},
		{"STARTTLS", (*session).cmdStartTLS, true, false, true},
		{"AUTH", (*session).cmdAuth, false, false, true},
		{"MAIL", (*session).cmdMail, false, false, false},
		{"RCPT", (*session).cmdRcpt, false, false, false},
		{"DATA", (*session).cmdData, false, false, true},
		{"BDAT", (*session).cmdBdat, false, false, false},
		{"RSET", (*session).cmdRset, false, true, false},
		{"NOOP", (*session).cmdNoop, true, true, true},
		{"VRFY", (*session).cmdVrfy, false, true, true},
		{"ETRN", (*session).cmdEtrn, false, true, true},
		{"QUIT", (*session).cmdQuit, true, false, true},
		{"HELP", (*session).cmdHelp, true, true, true},
	}
}

// counts are the commands of a session by row, and one for unknown ones.
type counts struct {
	ok, total [17]int
}

// list is what the disconnect line shows.
func (c *counts) list() []event.CommandCount {
	var out []event.CommandCount
	for i, row := range commands() {
		if c.total[i] > 0 {
			out = append(out, event.CommandCount{Name: strings.ToLower(row.name), OK: c.ok[i], Total: c.total[i]})
		}
	}
	if last := len(c.total) - 1; c.total[last] > 0 {
		out = append(out, event.CommandCount{Name: "unknown", OK: c.ok[last], Total: c.total[last]})
	}
	return out
}

// find returns the row of a verb; index is that of unknown commands otherwise.
func find(verb string) (row command, index int, ok bool) {
	for i, c := range commands() {
		if strings.EqualFold(c.name, verb) {
			return c, i, true
		}
	}
	return command{}, len(counts{}.total) - 1, false
}

// dispatch serves one command line.
func (s *session) dispatch(line []byte) {
	verb, args := wire.Verb(line)
	row, index, known := find(string(verb))
	if s.denied != "" && !s.polite(line) {
		s.counts.total[index]++
		return
	}
	s.code = 0
	s.where = strings.ToUpper(string(verb))
	if !known {
		s.where = "UNKNOWN"
		s.unknown(line, string(verb))
	} else {
		s.where = row.name
		s.serve(row, string(args))
	}
	s.counts.total[index]++
	switch {
	case s.code >= 400:
		s.errors++
	case !known && s.flags.hangup: // a forbidden command is no success
	default:
		s.counts.ok[index]++
		if row.junk {
			if s.junk++; s.junk > s.set.JunkLimit {
				s.errors++
			}
		}
	}
}

// polite serves what a client may say that was turned away at the greeting.
func (s *session) polite(line []byte) bool {
	verb, _ := wire.Verb(line)
	if strings.EqualFold(string(verb), "QUIT") {
		return true
	}
	s.reply(503, "5.7.0", "Error: access denied for "+s.client())
	s.errors++
	return false
}

// serve runs a known command when its time is right.
func (s *session) serve(row command, args string) {
	if row.ends && row.name != "DATA" && s.outOfTurn(row.name) {
		return
	}
	if s.srv.TLS != nil && s.srv.TLS.Level >= tlsmgr.LevelEncrypt && s.peer.TLS == nil && !row.beforeTLS {
		s.reply(530, "5.7.0", "Must issue a STARTTLS command first")
		return
	}
	row.run(s, args)
}

// outOfTurn ends the session of a client that has sent more before it could know
// the answer (RFC 2920 3.1). It comes before the command is served.
func (s *session) outOfTurn(name string) bool {
	if s.r.Buffered() == 0 {
		return false
	}
	switch name {
	case "QUIT", "NOOP", "VRFY", "ETRN", "HELP":
		return false // common clients pipeline these at the end
	}
	s.flags.pipelined = true
	s.log.Emit(event.Notice{Text: "improper command pipelining after " + name + " from " + s.client() + ": " + escape(s.r.Peek())})
	if !s.set.ForbidPipelining {
		return false
	}
	s.reply(554, "5.5.0", "Error: SMTP protocol synchronization")
	s.flags.hangup = true
	return true
}

// escape shows the beginning of what a client sent.
func escape(p []byte) string {
	p = p[:min(len(p), 100)]
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(string(p))
}

// unknown answers a command that is none.
func (s *session) unknown(line []byte, verb string) {
	upper := strings.ToUpper(verb)
	for _, word := range s.set.Noop {
		if strings.EqualFold(word, verb) {
			s.reply(250, "2.0.0", "Ok")
			return
		}
	}
	if s.forbidden(upper, line) {
		s.log.Warnf("non-SMTP command from %s: %s", s.client(), string(line[:min(len(line), 100)]))
		s.reply(221, "2.7.0", "Error: I can break rules, too. Goodbye.")
		s.flags.hangup = true
		s.errors++
		return
	}
	switch {
	case !utf8.Valid(line) && s.set.UTF8:
		s.reply(500, "5.5.2", "Error: bad UTF-8 syntax")
	case verb == "":
		s.reply(500, "5.5.2", "Error: bad syntax")
	default:
		s.reply(500, "5.5.2", "Error: command not recognized")
	}
}

// forbidden tells whether a line is that of another protocol.
func (s *session) forbidden(verb string, line []byte) bool {
	for _, word := range s.set.Forbidden {
		if strings.EqualFold(word, verb) {
			return true
		}
	}
	if s.srv.Lists.Forbidden != nil && s.srv.Lists.Forbidden(string(line)) {
		return true
	}
	// A header field: a name, a colon, something behind it.
	i := strings.IndexByte(string(line), ':')
	return i > 0 && !strings.ContainsAny(string(line[:i]), " \t")
}
