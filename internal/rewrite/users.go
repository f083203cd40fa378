package rewrite

import (
	"context"
	"strings"

	"postroad/internal/mail"
	"postroad/internal/table"
)

// userMaps are the tables by which smtpd(8) knows who exists.
type userMaps struct {
	local, relay, mailbox, alias                   *table.Maps
	canonical, senderCanonical, recipientCanonical *table.Maps
}

// Authorized tells whether a recipient is in one of our domains, so that a
// stranger may send to it. False means "Relay access denied"; an error means
// try later.
func (e *Engine) Authorized(ctx context.Context, sender, rcpt mail.Address) (bool, error) {
	r, err := e.Lookup(ctx, sender, e.Rewrite(Local, string(rcpt)))
	if err != nil {
		return false, err
	}
	return e.Permits(r), nil
}

// Permits tells whether a stranger may send to a resolved recipient.
func (e *Engine) Permits(r Resolution) bool {
	if r.Invalid || r.Routed && !e.set.AllowUntrusted {
		return false
	}
	return r.Class != mail.ClassDefault
}

// Usable tells whether an address in a command makes sense; smtpd answers 501
// otherwise.
func (e *Engine) Usable(ctx context.Context, addr mail.Address) (bool, error) {
	if addr == "" {
		return true, nil
	}
	r, err := e.Lookup(ctx, "", e.Rewrite(Local, string(addr)))
	return !r.Invalid, err
}

// CheckRecipient returns nil for a recipient that exists or that is not ours to
// know, else the reply without its subject ("User unknown in ..."). An error
// means try later.
func (e *Engine) CheckRecipient(ctx context.Context, sender, rcpt mail.Address) (*mail.Status, error) {
	r, err := e.Lookup(ctx, sender, e.Rewrite(Local, string(rcpt)))
	if err != nil {
		return nil, err
	}
	return e.Known(ctx, r, false)
}

// CheckSender is CheckRecipient for an envelope sender.
func (e *Engine) CheckSender(ctx context.Context, sender mail.Address) (*mail.Status, error) {
	if sender == "" {
		return nil, nil
	}
	r, err := e.Lookup(ctx, sender, e.Rewrite(Local, string(sender)))
	if err != nil {
		return nil, err
	}
	return e.Known(ctx, r, true)
}

// Known is CheckRecipient for an address that is resolved already. The reply
// for a sender has other enhanced codes.
func (e *Engine) Known(ctx context.Context, r Resolution, sender bool) (*mail.Status, error) {
	found, err := e.mapped(ctx, r.Recipient, sender)
	if err != nil || found {
		return nil, err
	}
	unknown := "5.1.1"
	if sender {
		unknown = "5.1.0"
	}
	switch r.Transport {
	case errorTransport:
		code := 550
		if r.Class == mail.ClassVirtualAlias {
			code = e.set.UnknownAliasCode
		}
		enhanced, text := splitDSN(string(r.Nexthop), unknown)
		return &mail.Status{Code: code, Enhanced: enhanced, Text: text}, nil
	case retryTransport:
		enhanced, text := splitDSN(string(r.Nexthop), "4"+unknown[1:])
		return &mail.Status{Code: 450, Enhanced: enhanced, Text: text}, nil
	}
	var maps *table.Maps
	var code int
	var name string
	switch r.Class {
	case mail.ClassLocal:
		if e.alwaysKnown(r.Recipient) {
			return nil, nil
		}
		maps, code, name = e.users.local, e.set.UnknownLocalCode, "local recipient table"
	case mail.ClassVirtualMailbox:
		maps, code, name = e.users.mailbox, e.set.UnknownMailboxCode, "virtual mailbox table"
	case mail.ClassRelay:
		maps, code, name = e.users.relay, e.set.UnknownRelayCode, "relay recipient table"
	}
	if maps.Empty() {
		return nil, nil
	}
	hit, err := maps.LookupAddress(ctx, r.Recipient, e.search)
	if err != nil || hit.Found {
		return nil, err
	}
	return &mail.Status{Code: code, Enhanced: unknown, Text: "User unknown" + e.tableName(name)}, nil
}

// mapped tells whether a table rewrites the address, which is then taken to
// exist.
func (e *Engine) mapped(ctx context.Context, addr mail.Address, sender bool) (bool, error) {
	list := [4]*table.Maps{e.users.recipientCanonical, nil, e.users.canonical, e.users.alias}
	if sender {
		list[1] = e.users.senderCanonical
	}
	for _, m := range list {
		if m.Empty() {
			continue
		}
		if hit, err := m.LookupAddress(ctx, addr, e.search); err != nil || hit.Found {
			return hit.Found, err
		}
	}
	return false, nil
}

// alwaysKnown tells whether a local name needs no entry in a table.
func (e *Engine) alwaysKnown(addr mail.Address) bool {
	name := addr.Local()
	for _, known := range [3]string{e.set.DoubleBounceSender, "postmaster", "MAILER-DAEMON"} {
		if strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// splitDSN cuts an enhanced status code off a text; without one it is given.
func splitDSN(s, given string) (enhanced, text string) {
	s = strings.TrimLeft(s, " \t")
	n := EnhancedLen(s)
	if n == 0 {
		return given, s
	}
	return s[:n], strings.TrimLeft(s[n:], " \t")
}

// EnhancedLen returns the length of the enhanced status code (RFC 3463 2) with
// which s begins, or 0. White space or nothing follows it.
func EnhancedLen(s string) int {
	if len(s) < 5 || s[0] != '2' && s[0] != '4' && s[0] != '5' || s[1] != '.' {
		return 0
	}
	i := 2
	for part := range 2 {
		start := i
		for i < len(s) && i-start < 3 && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		if i == start {
			return 0
		}
		if part == 0 {
			if i == len(s) || s[i] != '.' {
				return 0
			}
			i++
		}
	}
	if i < len(s) && s[i] != ' ' && s[i] != '\t' {
		return 0
	}
	return i
}
