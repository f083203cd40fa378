package mail

import "strconv"

// Status is an SMTP reply as a peer may read it, or a delivery status.
type Status struct {
	// Code is the three-digit SMTP reply code, 0 when there is none.
	Code int
	// Enhanced is the RFC 3463 code ("5.1.1"), empty when there is none.
	Enhanced string
	// Text is one line without code; further lines are separated by "\n".
	Text string
}

// String gives "code enhanced text" without the parts that are missing.
func (s Status) String() string {
	out := ""
	if s.Code != 0 {
		out = strconv.Itoa(s.Code)
	}
	for _, part := range []string{s.Enhanced, s.Text} {
		if part == "" {
			continue
		}
		if out != "" {
			out += " "
		}
		out += part
	}
	return out
}

// Temporary tells whether the status asks to try again.
func (s Status) Temporary() bool {
	if s.Code != 0 {
		return s.Code/100 == 4
	}
	return len(s.Enhanced) > 0 && s.Enhanced[0] == '4'
}

// Permanent tells whether the status is a final failure.
func (s Status) Permanent() bool {
	if s.Code != 0 {
		return s.Code/100 == 5
	}
	return len(s.Enhanced) > 0 && s.Enhanced[0] == '5'
}

// Action is what a restriction decides.
type Action uint8

const (
	// Dunno lets the next restriction decide; it is the zero value.
	Dunno Action = iota
	// Permit ends the current list.
	Permit
	// Reject refuses with Status (4xx or 5xx).
	Reject
	// Disconnect refuses with Status and closes the connection (421, 521).
	Disconnect
	// Discard accepts the message and drops it.
	Discard
	// Hangup closes the connection without a reply.
	Hangup
)

// Verdict is the outcome of access control, with the rule that gave it.
type Verdict struct {
	Action Action
	Status Status
	// Rule is the word that decided ("reject_unauth_destination"), List the
	// parameter it stands in, Index its position there from 0, and Key the
	// table key that matched.
	Rule, List string
	Index      int
	Key        string
	// Failure tells that the refusal is no judgement: something of ours is broken
	// or could not be asked.
	Failure bool
	// Cause is the error behind a temporary verdict; it is for the log only.
	Cause error
}
