package queue

import (
	"strings"
	"time"

	"postroad/internal/mail"
)

// Dest is a destination: the unit by which waiting mail is indexed.
type Dest struct {
	Transport mail.Transport
	Nexthop   mail.Nexthop
}

// NewDest returns a destination in the form in which it is compared: the next hop
// in lower case, and both without the two bytes that separate keys.
func NewDest(t mail.Transport, n mail.Nexthop) Dest {
	clean := func(s string) string {
		if strings.IndexByte(s, 0) < 0 && strings.IndexByte(s, destSep) < 0 {
			return s
		}
		return strings.NewReplacer("\x00", "?", "\xff", "?").Replace(s)
	}
	return Dest{Transport: mail.Transport(clean(string(t))), Nexthop: mail.Nexthop(clean(strings.ToLower(string(n))))}
}

// Job is what waits on disk: some recipients of one message for one
// destination, and why.
type Job struct {
	ID mail.QueueID
	// No tells the jobs of one message apart; a deferred job gets a new number.
	No   uint32
	Dest Dest
	// Due is when to try again, LastTry when it was tried last.
	Due, LastTry time.Time
	Attempts     int
	Waiting      []Waiting
}

// Waiting is a group of recipients that wait for the same reason.
type Waiting struct {
	Enhanced, Text                        string
	RemoteMTA, DiagnosticType, Diagnostic string
	// Recipients are indexes into the envelope, ascending.
	Recipients []int32
}

// Recipients returns the indexes of all groups.
func (j *Job) Recipients() []int32 {
	if len(j.Waiting) == 1 {
		return j.Waiting[0].Recipients
	}
	var all []int32
	for i := range j.Waiting {
		all = append(all, j.Waiting[i].Recipients...)
	}
	return all
}

// Flags is the changeable state of a message as a whole.
type Flags struct {
	// Warned is set when the delay warning went out; Expire when postsuper -e
	// asked to give up at the next failure.
	Warned, Expire bool
}
