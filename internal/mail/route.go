package mail

// Transport is the name of a master.cf service that delivers mail.
type Transport string

// Nexthop is a destination as the transport reads it: a domain, "[host]:port",
// "unix:/path", or the text of an error transport.
type Nexthop string

// Class is an address class of Postfix's ADDRESS_CLASS_README.
type Class uint8

const (
	// ClassDefault is every domain that is not ours.
	ClassDefault Class = iota
	// ClassLocal is $mydestination and our own interface addresses.
	ClassLocal
	// ClassVirtualAlias is $virtual_alias_domains.
	ClassVirtualAlias
	// ClassVirtualMailbox is $virtual_mailbox_domains.
	ClassVirtualMailbox
	// ClassRelay is $relay_domains.
	ClassRelay
)

// String names the class as administrators do.
func (c Class) String() string {
	return [...]string{"default", "local", "virtual alias", "virtual mailbox", "relay"}[c]
}

// Route is where a recipient goes.
type Route struct {
	Transport Transport
	Nexthop   Nexthop
	// Recipient is the address after resolving, which may differ from the one
	// asked for (percent hack, numeric domain).
	Recipient Address
	Class     Class
}
