package milter

import (
	"errors"
	"time"
)

// happening is an event as it is reported to one filter.
type happening struct {
	cmd byte
	// unwanted is the bit by which a filter says that it does not want to see
	// the event, unanswered the one by which it says that it will not answer.
	unwanted, unanswered uint32
	stage                stage
	parts                [][]byte
}

// asks are the macro lists of the events of one stage, evaluated once for all
// filters that do not have a list of their own.
type asks struct {
	cfg    *Config
	values Macros
	common [macroStages][]string
	done   [macroStages]bool
}

// macros are names and values for a filter at a stage.
func (a *asks) macros(f *filter, s stage) []string {
	if len(f.macros[s]) > 0 {
		return a.cfg.evaluate(f.macros[s], a.values)
	}
	if !a.done[s] {
		a.common[s], a.done[s] = a.cfg.evaluate(a.cfg.macros[s], a.values), true
	}
	return a.common[s]
}

// exchange reports an event and returns what the filter has against it. in takes
// the requests of the end of a message; it is nil for every other event.
func (f *filter) exchange(h *happening, macros []string, in *inbox) *Reply {
	if f.conn == nil || f.standing != nil {
		f.log.Warnf("milter8_event: attempt to send event %s to milter %s after error",
			nameOf(commandNames, h.cmd, "(unknown MTA event)"), f.svc.name)
		return f.standing
	}
	if h.unwanted&f.foreign != 0 {
		return nil
	}
	if f.skipped != 0 {
		if f.skipped == h.cmd {
			return nil
		}
		f.skipped = 0
	}
	// Macros go out even when the event does not: they stay in force.
	if !f.sendMacros(h.cmd, macros) {
		return f.standing
	}
	if h.unwanted&f.events != 0 {
		return nil
	}
	if !f.send(h.cmd, h.parts...) {
		return f.standing
	}
	if h.unanswered&f.events != 0 {
		return nil
	}
	end := time.Now().Add(maxPatience * f.patience)
	for range maxReplies {
		if time.Now().After(end) {
			f.fail("no answer to event %s after %v", nameOf(commandNames, h.cmd, "(unknown MTA event)"), maxPatience*f.patience)
			return f.standing
		}
		cmd, data, ok := f.receive(h.cmd)
		if !ok {
			return f.standing
		}
		if in != nil && in.closes(cmd) {
			in.closeBody()
		}
		if act := decisions[cmd]; act != nil {
			if reply, done := f.decide(act, h.cmd, cmd, data); done {
				return reply
			}
			continue
		}
		if in == nil || requests[cmd] == nil && cmd != replyBody {
			f.fail("unexpected filter response %s after event %s", nameOf(replyNames, cmd, "(unknown filter reply)"),
				nameOf(commandNames, h.cmd, "(unknown MTA event)"))
			return f.standing
		}
		if !f.take(in, cmd, data) {
			return f.standing
		}
	}
	f.fail("more than %d replies to event %s", maxReplies, nameOf(commandNames, h.cmd, "(unknown MTA event)"))
	return f.standing
}

// sendMacros sends the macros of an event, also when there are none.
func (f *filter) sendMacros(cmd byte, macros []string) bool {
	parts := make([][]byte, 1, len(macros)+1)
	parts[0] = []byte{cmd}
	for _, s := range macros {
		parts = append(parts, terminated(s))
	}
	return f.send(cmdMacro, parts...)
}

// terminated is a string of the protocol: without NUL in it, and one behind.
func terminated(s string) []byte {
	b := make([]byte, 0, len(s)+1)
	for i := range len(s) {
		if s[i] == 0 {
			break
		}
		b = append(b, s[i])
	}
	return append(b, 0)
}

// decision is what a filter says about an event, other than a request for edits.
type decision struct {
	// do returns the objection, and whether this was the last packet.
	do func(f *filter, early bool, event byte, data []byte) (reply *Reply, done bool)
	// hasData tells that something may follow the code.
	hasData bool
}

// decisions are the packets that say what becomes of an event. early is set for
// events before a transaction, where an answer holds for the whole session.
var decisions = map[byte]*decision{
	replyProgress: {do: func(*filter, bool, byte, []byte) (*Reply, bool) { return nil, false }},
	replyContinue: {do: func(f *filter, _ bool, _ byte, _ []byte) (*Reply, bool) { return f.standing, true }},
	replyAccept: {do: func(f *filter, early bool, _ byte, _ []byte) (*Reply, bool) {
		f.state = stateAcceptMsg
		if early {
			f.disconnect()
			f.state = stateAcceptConn
		}
		return f.standing, true
	}},
	replyDiscard: {do: func(f *filter, early bool, _ byte, _ []byte) (*Reply, bool) {
		if early {
			f.log.Warnf("milter %s: DISCARD action is not allowed for connect or helo", f.svc.name)
			return f.standing, true
		}
		f.state = stateAcceptMsg
		return &Reply{Verdict: Discard}, true
	}},
	replyReject: {do: func(f *filter, early bool, _ byte, _ []byte) (*Reply, bool) {
		return f.objection(early, refuse(textReject)), true
	}},
	replyTempfail: {do: func(f *filter, early bool, _ byte, _ []byte) (*Reply, bool) {
		return f.objection(early, refuse(textTempfail)), true
	}},
	replyShutdown: {do: func(f *filter, _ bool, _ byte, _ []byte) (*Reply, bool) {
		// In the middle of a message the filter still hears how it ends.
		return f.objection(f.state != stateMessage, &Reply{Verdict: Shutdown}), true
	}},
	replyCode: {hasData: true, do: func(f *filter, early bool, _ byte, data []byte) (*Reply, bool) {
		text, ok := parseReplyCode(data, f.cfg.set.SoftBounce)
		if !ok {
			f.log.Warnf("milter %s: malformed reply: %.200s", f.svc.name, text)
			f.misled()
			return f.standing, true
		}
		return f.objection(early, refuse(text)), true
	}},
	replyQuarantine: {hasData: true, do: func(f *filter, _ bool, _ byte, data []byte) (*Reply, bool) {
		text := (&fields{rest: append(data[:len(data):len(data)], 0)}).text()
		f.standing = &Reply{Quarantine, clean(text[:min(len(text), maxReason)])}
		return nil, false
	}},
	replySkip: {do: func(f *filter, _ bool, event byte, _ []byte) (*Reply, bool) {
		f.skipped = event
		return f.standing, true
	}},
}

// objection is a refusal. One that holds for the session ends the connection.
func (f *filter) objection(persists bool, reply *Reply) *Reply {
	if persists {
		f.disconnect()
		f.state, f.standing = stateRejectConn, reply
	}
	return reply
}

// decide does what a packet says, if it is well formed.
func (f *filter) decide(act *decision, event, cmd byte, data []byte) (*Reply, bool) {
	if len(data) > 0 && !act.hasData {
		f.fail("reply %s was followed by %d data bytes", nameOf(replyNames, cmd, "unknown"), len(data))
		return f.standing, true
	}
	return act.do(f, event == cmdConnect || event == cmdHelo, event, data)
}

// inbox collects the requests of one filter at the end of a message.
type inbox struct {
	editor Editor
	edits  Edits
	size   int
	// closed tells that the new body is complete.
	closed bool
	// storage is set when a new body could not be stored; requests are ignored
	// from then on.
	storage error
}

// closes tells whether a packet ends the new body.
func (in *inbox) closes(cmd byte) bool { return in.edits.Body != nil && cmd != replyBody }

func (in *inbox) closeBody() { in.closed = true }

// discard drops everything.
func (in *inbox) discard() {
	if in.edits.Body != nil {
		in.edits.Body.Discard()
	}
	in.edits = Edits{}
}

// take takes a request; false when the filter failed with it.
func (f *filter) take(in *inbox, cmd byte, data []byte) bool {
	if cmd == replyBody {
		return f.takeBody(in, data)
	}
	e, err := parseEdit(cmd, data, f.events&leadingSpace != 0)
	var bad badRequest
	switch {
	case errors.As(err, &bad):
		f.log.Warnf("milter %s: %v", f.svc.name, bad)
		f.misled()
		return false
	case err != nil:
		f.fail("%v", err)
		return false
	}
	if in.size += e.size(); len(in.edits.List) >= maxEdits || in.size > maxEditBytes {
		f.fail("too many modification requests")
		return false
	}
	in.edits.List = append(in.edits.List, e)
	return true
}

// takeBody takes a piece of a new body. All pieces come in one row, as in Postfix.
func (f *filter) takeBody(in *inbox, data []byte) bool {
	if in.closed {
		f.log.Warnf("milter %s: body replacement requests can't currently be mixed with other requests", f.svc.name)
		f.misled()
		return false
	}
	if in.storage != nil {
		return true
	}
	if in.edits.Body == nil {
		if in.edits.Body, in.storage = in.editor.NewBody(); in.storage != nil {
			in.edits.Body = nil
			return true
		}
	}
	_, in.storage = in.edits.Body.Write(data)
	return true
}
