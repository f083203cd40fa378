package control

import (
	"time"

	"postroad/internal/mail"
)

// Op is what a request asks for.
type Op string

// The operations. List and Status may be asked by anybody that Policy lets view
// the queue; Flush and Pickup move mail; Delete to Expire, Cat, Reload and Stop
// are for the owner.
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
	OpSMTP          Op = "smtp"
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
}

// message is Message on the wire; recipients and content follow in pieces.
type message struct {
	Queue    string
	Expired  bool
	Envelope *mail.Envelope
	Done     []bool
	Size     int64
}
