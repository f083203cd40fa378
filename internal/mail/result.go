package mail

import "time"

// Outcome is how an attempt ended for one recipient.
type Outcome uint8

const (
	// Deferred is the zero value, so that a forgotten answer is tried again.
	Deferred Outcome = iota
	// Sent means that somebody else is responsible now.
	Sent
	// Bounced means that it will never work.
	Bounced
	// Deliverable and Undeliverable answer probes.
	Deliverable
	Undeliverable
)

// String gives the status= word of the log.
func (o Outcome) String() string {
	return [...]string{"deferred", "sent", "bounced", "deliverable", "undeliverable"}[o]
}

// Result is the answer of a delivery agent for one recipient.
type Result struct {
	// Index is the recipient's index in the Delivery.
	Index   int
	Outcome Outcome
	// Enhanced is the RFC 3463 code, Text the reason as logged in parentheses.
	Enhanced, Text string
	// RemoteMTA and Diagnostic are for delivery reports (RFC 3464 2.3.5, 2.3.6);
	// DiagnosticType is "smtp", "x-unix" or "X-Postfix" (the default).
	RemoteMTA, DiagnosticType, Diagnostic string
	// Relay is the relay= value of the log ("none" when empty).
	Relay string
	// Expanded and Relayed qualify Sent for success reports (RFC 3464 2.3.3).
	Expanded, Relayed bool
	// DSNPassed tells that the next hop took over the duty to report success
	// (RFC 3461 5.2.1), so that we do not.
	DSNPassed bool
	// TLS is the tls= value of the log, empty when not applicable.
	TLS string
	// ConnUse counts the deliveries over the same connection, 0 when unknown.
	ConnUse int
	// Connected is when the connection was ready for the transaction, for delays=c/d.
	Connected time.Time
	// Steps are the deliveries behind this answer when it stands for several (an
	// alias); each is logged and reported instead of the answer itself, which is
	// the worst of them. An empty list that is not nil says that there is nothing
	// to tell.
	Steps []Step
	// ReportTo is who hears of a bounce when that is not the sender.
	ReportTo Address
	// Sync makes the delivery durable; nil when it is. The message stays in the
	// queue until Sync has returned nil.
	Sync func() error
	// SiteFailure tells qmgr that the whole destination did not answer.
	SiteFailure bool
}

// Step is one delivery behind an answer.
type Step struct {
	// Recipient is who was delivered to, and what the sender asked for about it.
	Recipient Recipient
	// Agent is the log name of the delivery agent that another one handed the
	// recipient to; empty for the agent that answers.
	Agent string
	// Result is how it ended; its own Steps, Sync and Index mean nothing.
	Result Result
	// Unlogged says that the step is for reports only.
	Unlogged bool
}
