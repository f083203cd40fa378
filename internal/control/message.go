package control

import (
	"strings"
	"time"

	"postroad/internal/mail"
)

// Op is what a request asks for.
type Op string

// The operations. Status, Pickup and Log may be asked by anybody who can reach the
// socket, List and Flush by those whom Policy lets; all others are for the
// owner.
const (
	OpStatus  Op = "status"
	OpList    Op = "list"
	OpFlush   Op = "flush"
	OpPickup  Op = "pickup"
	OpDelete  Op = "delete"
	OpHold    Op = "hold"
	OpRelease Op = "release"
	OpRequeue Op = "requeue"
	OpExpire  Op = "expire"
	// OpExpireRelease expires and releases from hold (postsuper -f).
	OpExpireRelease Op = "expire-release"
	OpCat           Op = "cat"
	OpReload        Op = "reload"
	OpStop          Op = "stop"
	// OpLog writes a line to the mail log.
	OpLog Op = "log"
	// OpLimits lists the counters of postroad_limit, OpLimitsReset forgets some.
	OpLimits      Op = "limits"
	OpLimitsReset Op = "limits-reset"
)

// Request is what a command asks.
type Request struct {
	Op Op
	// Selection is for the operations on messages.
	Selection Selection
	// Flush is for OpFlush.
	Flush Flush
	// ID is for OpCat.
	ID mail.QueueID
	// Line is for OpLog.
	Line Line
	// Limits is for OpLimits and OpLimitsReset.
	Limits LimitSelection
}

// Line is a line for the mail log of a command that may not write there itself.
type Line struct {
	// Tag is the name in front, PID the process, Text the rest.
	Tag  string
	PID  int
	Text string
}

// Selection names messages: those of IDs, or all of Queues when All is set.
// Queues also limits IDs; none means the default queues of the operation.
type Selection struct {
	IDs    []mail.QueueID
	All    bool
	Queues []string
}

// Flush says what to try now: one message, one site, or everything.
type Flush struct {
	ID   mail.QueueID
	Site string
}

// Status describes a running server.
type Status struct {
	// PID is the process that answered, Version its release.
	PID     int
	Version string
	Started time.Time
	// Messages counts the queues by name.
	Messages map[string]int
}

// Entry is one message as mailq shows it.
type Entry struct {
	// Queue is incoming, active, deferred or hold.
	Queue      string
	ID         mail.QueueID
	Arrived    time.Time
	Size       int64
	Expired    bool
	Sender     mail.Address
	Recipients []Recipient
}

// Recipient is one recipient that is not delivered yet.
type Recipient struct {
	Address, Original mail.Address
	// Reason is why the last attempt failed, empty before the first one.
	Reason string
	// Bounced tells that delivery failed for good and the report is still due.
	Bounced bool
}

// FirstAddress is the original address as showq(8) shows it. Once delivery was tried
// it is empty when it is that of the recipient, since it comes from a log then that
// does not repeat it; else it is always there.
func (r *Recipient) FirstAddress() mail.Address {
	switch {
	case r.Reason != "" && strings.EqualFold(string(r.Original), string(r.Address)):
		return ""
	case r.Reason == "" && r.Original == "":
		return r.Address
	}
	return r.Original
}

// Message is everything about one message, for postcat.
type Message struct {
	Queue    string
	Envelope *mail.Envelope
	// Expired tells that it was forced to expire.
	Expired bool
	// Done tells for each recipient of the envelope whether it is finished.
	Done []bool
	// Content is the text with CRLF line ends.
	Content mail.Content
}

// reply is one frame of an answer.
type reply struct {
	// Code is empty unless the request failed; Error says why.
	Code  string `json:",omitempty"`
	Error string `json:",omitempty"`
	// End marks the last frame.
	End     bool           `json:",omitempty"`
	Status  *Status        `json:",omitempty"`
	Entry   *Entry         `json:",omitempty"`
	More    bool           `json:",omitempty"`
	Done    []mail.QueueID `json:",omitempty"`
	Count   int            `json:",omitempty"`
	Message *message       `json:",omitempty"`
	Data    []byte         `json:",omitempty"`
	Limit   *Limit         `json:",omitempty"`
}

// message is Message on the wire; recipients and content follow in pieces.
type message struct {
	Queue    string
	Expired  bool
	Envelope *mail.Envelope
	Done     []bool
	Size     int64
}
