package table

import (
	"context"
	"strings"

	"postroad/internal/mail"
)

// AddressSearch says how LookupAddress derives keys from an address.
type AddressSearch struct {
	// Delimiters is recipient_delimiter; empty for no extensions.
	Delimiters string
	// LocalDomain tells whether the bare local part may be looked up: the
	// domain is $myorigin, matches $mydestination or is one of our addresses.
	// nil means never. An error ends the search.
	LocalDomain func(ctx context.Context, domain string) (bool, error)
	// DoubleBounce is double_bounce_sender; empty means its default.
	DoubleBounce string
	// SplitOwner is owner_request_special = no: "owner-list" and "list-request"
	// are split like other names when "-" is a delimiter.
	SplitOwner bool
}

// defaultDoubleBounce is the default of double_bounce_sender.
const defaultDoubleBounce = "double-bounce"

// SplitExtension splits a local part at the first of the delimiters, with the
// default exceptions of AddressSearch.Split.
func SplitExtension(local, delims string) (base, extension string) {
	return AddressSearch{Delimiters: delims}.Split(local)
}

// Split splits a local part at the first delimiter: "user+ext" is "user" and
// "+ext", the delimiter being part of the extension. The extension is empty
// when there is none, when nothing would be left of the name, and for names
// that are never split: postmaster, mailer-daemon, the double bounce sender,
// and with "-" as delimiter owner-list and list-request.
func (s AddressSearch) Split(local string) (base, extension string) {
	if s.Delimiters == "" {
		return local, ""
	}
	i := strings.IndexAny(local, s.Delimiters)
	if i <= 0 {
		return local, ""
	}
	bounce := s.DoubleBounce
	if bounce == "" {
		bounce = defaultDoubleBounce
	}
	for _, name := range []string{"postmaster", "mailer-daemon", bounce} {
		if strings.EqualFold(local, name) {
			return local, ""
		}
	}
	if !s.SplitOwner && strings.Contains(s.Delimiters, "-") {
		const owner, request = "owner-", "-request"
		if len(local) >= len(owner) && strings.EqualFold(local[:len(owner)], owner) {
			return local, ""
		}
		if len(local) > len(request) && strings.EqualFold(local[len(local)-len(request):], request) {
			return local, ""
		}
	}
	return local[:i], local[i:]
}

// LookupAddress searches in the order of mail_addr_find: user+ext@domain,
// user@domain, then for local domains user+ext and user, then @domain. Each
// address is looked up in its external (quoted) form first and in its internal
// form when that differs.
func (m *Maps) LookupAddress(ctx context.Context, addr mail.Address, s AddressSearch) (Hit, error) {
	if m.Empty() || addr == "" {
		return Hit{}, nil
	}
	if hit, err := m.findAddress(ctx, addr, false); err != nil || hit.Found {
		return hit, err
	}
	at := strings.LastIndexByte(string(addr), '@')
	local, domain := string(addr), ""
	if at >= 0 {
		local, domain = string(addr[:at]), string(addr[at:])
	}
	base, extension := s.Split(local)
	if extension != "" {
		hit, err := m.findAddress(ctx, mail.Address(base+domain), true)
		if err != nil || hit.Found {
			hit.Extension = extension
			return hit, err
		}
	}
	if at < 0 {
		return Hit{}, nil
	}
	if s.LocalDomain != nil && len(domain) > 1 {
		isLocal, err := s.LocalDomain(ctx, domain[1:])
		if err != nil {
			return Hit{}, err
		}
		if isLocal {
			if hit, err := m.findLocal(ctx, local, base, extension); err != nil || hit.Found {
				return hit, err
			}
		}
	}
	hit, err := m.LookupFixed(ctx, domain)
	hit.DomainKey = hit.Found
	return hit, err
}

// findLocal looks up the bare local part, with and without extension.
func (m *Maps) findLocal(ctx context.Context, local, base, extension string) (Hit, error) {
	hit, err := m.findAddress(ctx, mail.Address(local), true)
	if err != nil || hit.Found || extension == "" {
		return hit, err
	}
	hit, err = m.findAddress(ctx, mail.Address(base), true)
	hit.Extension = extension
	return hit, err
}

// findAddress looks up an address in external and in internal form.
func (m *Maps) findAddress(ctx context.Context, addr mail.Address, derived bool) (Hit, error) {
	external := addr.External()
	hit, err := m.find(ctx, external, derived)
	if err != nil || hit.Found || external == string(addr) {
		return hit, err
	}
	return m.find(ctx, string(addr), derived)
}
