package smtpd

import (
	"context"
	"net/netip"

	"postroad/internal/access"
	"postroad/internal/mail"
	"postroad/internal/milter"
)

// Access decides what clients may do.
type Access interface {
	// Begin returns the checker of one session.
	Begin() *access.Checker
}

// Cleanup is the cleanup room: it takes messages and queues them.
type Cleanup interface {
	Begin(ctx context.Context, o *MessageOptions) (Message, error)
}

// MessageOptions say where a message comes from.
type MessageOptions struct {
	Session *mail.Session
	Facts   mail.ClientFacts
	// LocalRewrite tells that headers are completed as for local mail.
	LocalRewrite bool
	// Filters are the mail filters of the session, or nil.
	Filters *milter.Chain
}

// Message is one message on its way into the queue.
type Message interface {
	// ID is the queue id, known from the start.
	ID() mail.QueueID
	SetSender(addr mail.Address, p SenderParams)
	AddRecipient(r mail.Recipient)
	// Header adds a header field above the content; lines end in CRLF.
	Header(field string)
	// Apply takes the actions of restrictions.
	Apply(a access.Actions)
	// Write takes content with CRLF line ends. After an error more content may
	// come; Finish tells the reason.
	Write(p []byte) (int, error)
	// Finish queues the message; the status is the reply.
	Finish(ctx context.Context) mail.Status
	// Objected tells that the status is the answer of a mail filter.
	Objected() bool
	Abort()
}

// SenderParams are the parameters of MAIL.
type SenderParams struct {
	EnvID              string
	Ret                mail.Ret
	SMTPUTF8, EightBit bool
	// RequireTLS is REQUIRETLS (RFC 8689 2).
	RequireTLS bool
	VERP       string
}

// HostMatcher is a list such as mynetworks.
type HostMatcher interface {
	MatchHost(ctx context.Context, name string, addr netip.Addr) (bool, error)
}

// Lookup finds a value by key; an error means try later.
type Lookup func(ctx context.Context, key string) (value string, ok bool, err error)

// Resolver finds the names of clients.
type Resolver interface {
	// Names gives the names of an address.
	Names(ctx context.Context, addr netip.Addr) ([]string, error)
	// Addrs gives the addresses of a name, of the family of like.
	Addrs(ctx context.Context, name string, like netip.Addr) ([]netip.Addr, error)
	// Temporary tells whether an error may go away.
	Temporary(err error) bool
}

// Flusher starts deliveries to a domain on behalf of ETRN (RFC 1985).
type Flusher interface {
	// Flush returns false when the domain is not one that may be asked for.
	Flush(ctx context.Context, domain string) (allowed bool, err error)
}
