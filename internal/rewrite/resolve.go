package rewrite

import (
	"context"
	"fmt"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/table"
)

// Resolution is everything that resolving finds out about a recipient.
type Resolution struct {
	mail.Route
	// Invalid tells that the address makes no sense; the route is then to the
	// error transport.
	Invalid bool
	// Routed tells that the local part names another destination, as in
	// user%elsewhere@domain.
	Routed bool
}

// The transports that name a decision rather than a place.
const (
	errorTransport mail.Transport = "error"
	retryTransport mail.Transport = "retry"
)

// badSyntax is where addresses that make no sense go.
const badSyntax mail.Nexthop = "5.1.3 bad address syntax"

// maxSteps bounds how often an address may turn out to be local and to hold
// another address.
const maxSteps = 100

// Resolve finds the route of a recipient. An error means try later.
func (e *Engine) Resolve(ctx context.Context, sender, rcpt mail.Address) (mail.Route, error) {
	r, err := e.Lookup(ctx, sender, rcpt)
	return r.Route, err
}

// Lookup is Resolve with what smtpd(8) wants to know besides the route.
func (e *Engine) Lookup(ctx context.Context, sender, rcpt mail.Address) (Resolution, error) {
	addr, local, err := e.peel(ctx, string(rcpt))
	if err != nil {
		return Resolution{}, err
	}
	addr, local, valid, err := e.validate(ctx, addr, local)
	if err != nil {
		return Resolution{}, err
	}
	r := Resolution{Route: mail.Route{Recipient: mail.Address(addr), Class: mail.ClassDefault}}
	if !valid {
		r.Invalid, r.Transport, r.Nexthop = true, errorTransport, badSyntax
		return r, nil
	}
	domain := addr[strings.LastIndexByte(addr, '@')+1:]
	// The next hop may know "%" and "!" even where we do not.
	r.Routed = strings.IndexAny(addr, "@!%") != len(addr)-len(domain)-1
	if err := e.classRoute(ctx, &r, sender, domain, local); err != nil {
		return Resolution{}, err
	}
	if r.Class != mail.ClassVirtualAlias {
		if err := e.override(ctx, &r, domain); err != nil {
			return Resolution{}, err
		}
	}
	if err := e.moved(ctx, &r); err != nil {
		return Resolution{}, err
	}
	// A delivery command could take such a name for an option.
	if !e.set.AllowMinUser && addr[0] == '-' {
		r.Invalid, r.Transport, r.Nexthop = true, errorTransport, badSyntax
	}
	return r, nil
}

// peel takes local domains off an address as long as there is another address
// inside. The result has an "@".
func (e *Engine) peel(ctx context.Context, addr string) (result string, local bool, err error) {
	for range maxSteps {
		addr = stripDot(addr)
		if e.set.ResolveNullDomain && strings.HasSuffix(addr, "@") {
			addr = addr[:len(addr)-1]
		}
		name, domain, found := cutLast(addr)
		if found {
			if domain == "" {
				return addr, false, nil
			}
			isLocal, err := e.IsLocal(ctx, domain)
			if err != nil || !isLocal {
				return addr, false, err
			}
		}
		if e.hasOperator(name) {
			at := strings.LastIndexByte(name, '@')
			if at < 0 {
				name = e.promote(Local, name, false)
				at = strings.LastIndexByte(name, '@')
			}
			addr = e.rewrite(Local, name, at)
			continue
		}
		if name == "" {
			name = e.set.EmptyAddressReceiver
			if strings.IndexByte(name, '@') >= 0 {
				addr = name
				continue
			}
		}
		if !found {
			// Without a domain it is meant for this machine, but what this
			// machine calls itself need not be one of its domains.
			isLocal, err := e.IsLocal(ctx, e.set.Myhostname)
			return name + "@" + e.set.Myhostname, isLocal, err
		}
		if len(name)+1+len(domain) == len(addr) {
			return addr, true, nil
		}
		return name + "@" + domain, true, nil
	}
	return addr + "@", false, nil
}

// hasOperator tells whether the local part of a local address holds another
// address.
func (e *Engine) hasOperator(name string) bool {
	operators := false
	for i := 0; i < len(name) && !operators; i++ {
		c := name[i]
		operators = c == '@' || c == '%' && e.set.AllowPercentHack || c == '!' && e.set.SwapBangpath
	}
	if !operators || e.set.ResolveDequoted {
		return operators
	}
	// An address that was quoted means what it says.
	return mail.Address(name+"@x").External() == name+"@x"
}

// validate checks the domain and puts brackets round a numeric one when
// resolve_numeric_domain asks for it.
func (e *Engine) validate(ctx context.Context, addr string, local bool) (result string, isLocal, valid bool, err error) {
	name, domain, _ := cutLast(addr)
	if validDomain(domain, e.set.SMTPUTF8) {
		return addr, local, true, nil
	}
	if !e.set.ResolveNumeric || !validAddress(domain) {
		return addr, local, false, nil
	}
	domain = "[" + domain + "]"
	if !local {
		local, err = e.IsLocal(ctx, domain)
	}
	return name + "@" + domain, local, true, err
}

// cutLast splits an address at its last "@".
func cutLast(addr string) (name, domain string, found bool) {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return addr, "", false
	}
	return addr[:at], addr[at+1:], true
}

// classRoute sets class, transport and next hop by the class of the domain.
func (e *Engine) classRoute(ctx context.Context, r *Resolution, sender mail.Address, domain string, local bool) error {
	class := mail.ClassLocal
	if !local {
		var err error
		if class, err = e.remoteClass(ctx, domain); err != nil {
			return err
		}
	}
	r.Class = class
	e.warnBoth(ctx, class, domain)
	r.Nexthop = mail.Nexthop(domain)
	switch class {
	case mail.ClassLocal:
		r.set(e.localRoute)
	case mail.ClassVirtualAlias:
		r.Transport, r.Nexthop = errorTransport, mail.Nexthop("5.1.1 User unknown"+e.tableName("virtual alias table"))
	case mail.ClassVirtualMailbox:
		r.set(e.virtualRoute)
	case mail.ClassRelay:
		return e.offHost(ctx, r, sender, e.relayRoute)
	default:
		t, err := e.defaultTarget(ctx, sender)
		if err != nil {
			return err
		}
		return e.offHost(ctx, r, sender, t)
	}
	return nil
}

// set puts a transport setting into the route.
func (r *Resolution) set(t target) {
	r.Transport = t.transport
	if t.nexthop != "" {
		r.Nexthop = t.nexthop
	}
}

// tableName ends the text about an unknown user.
func (e *Engine) tableName(name string) string {
	if !e.set.ShowTableName {
		return ""
	}
	return " in " + name
}

// offHost sets the route of mail that leaves this host: the next hop of the
// transport, else that of the sender, else relayhost, else the domain.
func (e *Engine) offHost(ctx context.Context, r *Resolution, sender mail.Address, t target) error {
	relay := e.set.Relayhost
	if !e.senderRelay.Empty() {
		hit, err := e.bySender(ctx, e.senderRelay, sender, e.set.NullRelayKey)
		if err != nil {
			return err
		}
		if hit.Found && !strings.EqualFold(hit.Value, "DUNNO") {
			relay = hit.Value
		}
	}
	if relay != "" {
		r.Nexthop = mail.Nexthop(relay)
	}
	r.set(t)
	return nil
}

// defaultTarget is default_transport, unless the sender has another.
func (e *Engine) defaultTarget(ctx context.Context, sender mail.Address) (target, error) {
	if e.senderTransport.Empty() {
		return e.defaultRoute, nil
	}
	hit, err := e.bySender(ctx, e.senderTransport, sender, e.set.NullTransportKey)
	if err != nil || !hit.Found || strings.EqualFold(hit.Value, "DUNNO") {
		return e.defaultRoute, err
	}
	t := parseTarget(hit.Value)
	if t.transport == "" {
		e.log.Warnf("%s: null transport is not allowed: %s", e.senderTransport.Param(), hit.Value)
		return t, fmt.Errorf("%s: null transport in %q", e.senderTransport.Param(), hit.Value)
	}
	return t, nil
}

// bySender searches maps that are keyed by sender.
func (e *Engine) bySender(ctx context.Context, m *table.Maps, sender mail.Address, null string) (table.Hit, error) {
	if sender == "" {
		sender = mail.Address(null)
	}
	return m.LookupAddress(ctx, sender, e.search)
}

// moved bounces recipients of relocated_maps.
func (e *Engine) moved(ctx context.Context, r *Resolution) error {
	if e.relocated.Empty() {
		return nil
	}
	hit, err := e.relocated.LookupAddress(ctx, r.Recipient, e.search)
	if err != nil || !hit.Found {
		return err
	}
	r.Transport, r.Nexthop = errorTransport, mail.Nexthop(hit.Value)
	if e.set.RelocatedPrefix {
		r.Nexthop = mail.Nexthop("5.1.6 User has moved to " + hit.Value)
	}
	return nil
}
