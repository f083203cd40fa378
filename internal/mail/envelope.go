package mail

import "time"

// QueueID names a message in the queue and in every log line about it.
type QueueID string

// NoQueue stands in log lines where a transaction has no queue id yet.
const NoQueue QueueID = "NOQUEUE"

// Notify is the NOTIFY parameter of RCPT (RFC 3461 4.1).
type Notify uint8

const (
	// NotifySuccess to NotifyNever are the keywords; the zero value means that
	// the sender gave none, which is failure and delay.
	NotifySuccess Notify = 1 << iota
	NotifyFailure
	NotifyDelay
	NotifyNever
)

// Wants tells whether a report of this kind is wanted; without a NOTIFY
// parameter it is (RFC 3461 4.1: failures and delays).
func (n Notify) Wants(report Notify) bool {
	return n == 0 || n&report != 0 && n&NotifyNever == 0
}

// Ret is the RET parameter of MAIL (RFC 3461 4.3).
type Ret uint8

const (
	// RetUnset means that the sender gave no RET.
	RetUnset Ret = iota
	// RetFull asks for the whole message in a failure report.
	RetFull
	// RetHeaders asks for the header only.
	RetHeaders
)

// Origin says how a message came in.
type Origin uint8

const (
	// OriginSMTP is a network client, OriginLocal the sendmail command,
	// OriginInternal Postroad itself (bounces, notices, forwards).
	OriginSMTP Origin = iota
	OriginLocal
	OriginInternal
)

// Envelope is everything about a message but its content. Once committed it is
// never changed; the state of each recipient is kept beside it.
type Envelope struct {
	ID     QueueID
	Sender Address
	// Recipients is bounded by the rooms that fill it; index is identity.
	Recipients []Recipient
	// Arrived is when the transaction began; it is what queue lifetime counts from.
	Arrived time.Time
	// Size is the length of the content in bytes, CRLF line ends counted.
	Size int64
	// Origin, and the facts about the peer that log lines, XFORWARD and
	// delivery agents may use.
	Origin Origin
	Client ClientFacts
	// EnvID and Ret are the DSN parameters of MAIL, EnvID in xtext as received.
	EnvID string
	Ret   Ret
	// SMTPUTF8 tells that the sender asked for it (RFC 6531); EightBit that
	// the content has bytes above ASCII (BODY=8BITMIME or found by cleanup).
	SMTPUTF8, EightBit bool
	// RequireTLS is REQUIRETLS of MAIL: the message goes over verified TLS only.
	// TLSOptional is its opposite, the header "TLS-Required: no"; RequireTLS wins
	// (RFC 8689 4.1).
	RequireTLS, TLSOptional bool
	// Hold puts the message on hold when it is committed.
	Hold bool
	// FilterTransport and FilterNexthop name a content filter for the whole
	// message ("" when none): content_filter, FILTER actions.
	FilterTransport Transport
	FilterNexthop   Nexthop
	// Redirect replaces every recipient when not empty (REDIRECT actions).
	Redirect Address
	// Probe marks sendmail -bv and verify probes: routed and checked, nothing delivered.
	Probe bool
	// Verify marks a probe of verify(8): what becomes of it is known to the cache
	// alone, and it takes the ways of address_verify_*_transport. Probe is set too.
	Verify bool
	// Trace asks for a delivery report (sendmail -v, -bv).
	Trace bool
	// MessageID is the Message-ID header as logged by cleanup.
	MessageID string
	// Hops counts the Received headers at the time of acceptance.
	Hops int
	// FullName is the name of a local sender, for a From header.
	FullName string
	// VERP is the delimiter pair of XVERP, empty when not requested.
	VERP string
	// Warned is set in the stored state when the delay warning was sent.
}

// ClientFacts are the attributes of the peer that outlive its session.
type ClientFacts struct {
	Name, Addr, Port, Helo, Proto    string
	ReverseName                      string
	SASLMethod, SASLUser, SASLSender string
	RewriteContext                   string // "local" or "remote"
	UID                              int    // of a local submission, else -1
	Ident                            string // queue id on the first hop, from XFORWARD
}

// Recipient is one envelope recipient after cleanup.
type Recipient struct {
	// Address is where the message goes; Original is what the client said.
	Address, Original Address
	// ORCPT is the DSN parameter as "type;xtext" (RFC 3461 4.2), Notify its sibling.
	ORCPT  string
	Notify Notify
}
