package agent

import (
	"context"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/privdeliver"
	"postroad/internal/table"
)

// Deps are what agents have from the house around them.
type Deps struct {
	Tables *table.Set
	// Search tells how addresses are looked up.
	Search table.AddressSearch
	// Users acts for the owners of mailboxes.
	Users *privdeliver.Users
	// Syncs makes delivered files durable.
	Syncs *Syncs
	// Resolve and Rewrite are trivial-rewrite's.
	Resolve func(ctx context.Context, sender, rcpt mail.Address) (mail.Route, error)
	Rewrite func(addr string) mail.Address
	// Addresses finds the addresses in a list (RFC 5322 3.4): the entries of
	// aliases, :include: files and .forward files. The texts are as they stand.
	Addresses func(list string) []Entry
	// Pass hands recipients to another transport, "transport:nexthop", within the
	// same message; name is the log name of its agent. ok is false when there is
	// no such transport.
	Pass PassFunc
	// Submit posts a message that local(8) forwards; it returns the new queue id.
	Submit func(ctx context.Context, f *Forward) (mail.QueueID, error)
	// Log takes remarks that belong to no delivery.
	Log *event.Logger
}

// Entry is one entry of a list.
type Entry struct {
	// Address is the entry in internal form, Text as it was written.
	Address mail.Address
	Text    string
}

// Forward is a message that goes on to other addresses.
type Forward struct {
	// Envelope and Content are the message that came in; Sender replaces its
	// sender when an alias has an owner.
	Envelope   *mail.Envelope
	Content    mail.Content
	Sender     mail.Address
	Recipients []mail.Recipient
	// Delivered is the address for the Delivered-To header that ends loops.
	Delivered mail.Address
}

// Row is one agent: the program name of master.cf and how to build it for a
// service.
type Row struct {
	Program string
	New     func(v *postconf.View, d *Deps) (Agent, []postconf.Problem)
}

// Rows are the agents of this room.
func Rows() []Row {
	return []Row{
		{"error", newError},
		{"discard", newDiscard},
		{"virtual", newVirtual},
		{"local", newLocal},
		{"pipe", newPipe},
	}
}

// each answers every recipient of a delivery by itself.
func each(d *Delivery, f func(i int, r *mail.Recipient) mail.Result) []mail.Result {
	out := make([]mail.Result, len(d.Recipients))
	for i := range d.Recipients {
		out[i] = f(i, &d.Recipients[i])
		out[i].Index = i
	}
	return out
}
