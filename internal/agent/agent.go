package agent

import (
	"context"
	"time"

	"postroad/internal/event"
	"postroad/internal/mail"
)

// Flags qualify an attempt.
type Flags uint8

const (
	// Verify asks whether the recipients could be delivered to; nothing is
	// delivered and the outcomes are Deliverable, Undeliverable or Deferred.
	Verify Flags = 1 << iota
	// Shallow says, with Verify, that an alias is an answer by itself and need not
	// be expanded.
	Shallow
	// Verbose says that the sender gets a report about this attempt.
	Verbose
)

// Reuse is the demand for connections that outlive an attempt.
type Reuse struct {
	// Load tells that an open connection may be there, Store that one is worth
	// keeping.
	Load, Store bool
}

// Delivery is one attempt to deliver one message to recipients that share a
// route. Agents read it and change nothing in it.
type Delivery struct {
	// Envelope is the committed message; its recipients may be more than those
	// of this attempt.
	Envelope *mail.Envelope
	// Recipients are those of this attempt; Result.Index counts in this slice.
	Recipients []mail.Recipient
	// Route is where the recipients go. Route.Recipient is that of the first.
	Route mail.Route
	// Content is the text of the message.
	Content mail.Content
	// Logger speaks as this attempt.
	Logger *event.Logger
	// Active is when the message entered the active queue, Started when this
	// attempt began.
	Active, Started time.Time
	// Reuse tells that mail for the destination comes in a stream.
	Reuse Reuse
	// Passed counts the agents that handed the recipients on.
	Passed int
	// Attempt counts the attempts from 1.
	Attempt int
	// Again tells that an earlier attempt may have succeeded without a trace: the
	// message was read back from disk.
	Again bool
	// Flags qualify the attempt.
	Flags Flags
}

// Agent delivers. Deliver returns exactly one Result per recipient, in any
// order; it tries once, never reschedules, and never panics out. When ctx ends
// it gives up soon and defers what is not done.
type Agent interface {
	Deliver(ctx context.Context, d *Delivery) []mail.Result
}
