package cleanup

import "postroad/internal/mail"

// fault is a set of reasons to refuse a message.
type fault uint16

const (
	faultDefer      fault = 1 << iota // a check or an expansion asks to come later
	faultBad                          // the caller broke the protocol
	faultSize                         // message_size_limit
	faultHops                         // hopcount_limit
	faultContent                      // a header or body check
	faultWrite                        // the queue or a table does not answer
	faultFull                         // the disk is full
	faultRecipients                   // there are none
)

// answers are the replies by fault; the first fault that is set counts.
var answers = []struct {
	fault  fault
	status mail.Status
	// reasoned tells that a reason of a check or an expansion replaces the text.
	reasoned bool
}{
	{faultDefer, mail.Status{Code: 451, Enhanced: "4.7.1", Text: "Error: service unavailable"}, true},
	{faultBad, mail.Status{Code: 451, Enhanced: "4.3.0", Text: "Error: internal error"}, false},
	{faultSize, mail.Status{Code: 552, Enhanced: "5.3.4", Text: "Error: message file too big"}, false},
	{faultHops, mail.Status{Code: 554, Enhanced: "5.4.0", Text: "Error: too many hops"}, false},
	{faultContent, mail.Status{Code: 550, Enhanced: "5.7.1", Text: "Error: message content rejected"}, true},
	{faultFull, mail.Status{Code: 452, Enhanced: "4.3.1", Text: "Error: insufficient system storage"}, false},
	{faultWrite, mail.Status{Code: 451, Enhanced: "4.3.0", Text: "Error: queue file write error"}, false},
	{faultRecipients, mail.Status{Code: 550, Enhanced: "5.1.0", Text: "Error: no recipients specified"}, false},
}

// answer is the reply for the faults of a message.
func (m *Message) answer() mail.Status {
	if m.filters.refusal != nil {
		return *m.filters.refusal
	}
	for _, row := range answers {
		if m.faults&row.fault == 0 {
			continue
		}
		status := row.status
		if row.reasoned && m.reason != "" {
			status.Enhanced, status.Text = splitDSN(m.reason, status.Enhanced)
		}
		return status
	}
	return mail.Status{Code: 250, Enhanced: "2.0.0", Text: "Ok: queued as " + string(m.ID())}
}

// splitDSN takes an enhanced status code of RFC 3463 off the front of text.
func splitDSN(text, otherwise string) (enhanced, rest string) {
	n := dsnLen(text)
	if n == 0 {
		return otherwise, text
	}
	enhanced, rest = text[:n], text[n:]
	for rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
		rest = rest[1:]
	}
	return enhanced, rest
}

// dsnLen is the length of the status code at the front of s, or 0.
func dsnLen(s string) int {
	if len(s) < 5 || (s[0] != '2' && s[0] != '4' && s[0] != '5') || s[1] != '.' {
		return 0
	}
	i := 2
	for part := range 2 {
		start := i
		for i < len(s) && i-start < 3 && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		if i == start || part == 0 && (i >= len(s) || s[i] != '.') {
			return 0
		}
		if part == 0 {
			i++
		}
	}
	if i < len(s) && s[i] != ' ' && s[i] != '\t' {
		return 0
	}
	return i
}
