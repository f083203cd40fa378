package access

import (
	"context"
	"errors"
	"net/netip"

	"postroad/internal/dns"
	"postroad/internal/table"
)

// replyFilter is a Resolver whose answers pass smtpd_dns_reply_filter.
type replyFilter struct {
	Resolver
	filter *table.DNSFilter
}

// isFiltered tells whether smtpd_dns_reply_filter has left nothing.
func isFiltered(err error) bool { return errors.Is(err, table.ErrDNSFilter) }

// MX implements Resolver.
func (f *replyFilter) MX(ctx context.Context, domain string) ([]dns.MXRecord, dns.Info, error) {
	all, info, err := f.Resolver.MX(ctx, domain)
	if err == nil {
		all, err = f.filter.MX(ctx, domain, info, all)
	}
	return all, info, err
}

// Addrs implements Resolver.
func (f *replyFilter) Addrs(ctx context.Context, host string, family dns.Family) ([]netip.Addr, dns.Info, error) {
	all, info, err := f.Resolver.Addrs(ctx, host, family)
	if err == nil {
		all, err = f.filter.Addrs(ctx, host, info, all)
	}
	return all, info, err
}

// TXT implements Resolver.
func (f *replyFilter) TXT(ctx context.Context, name string) ([]string, dns.Info, error) {
	all, info, err := f.Resolver.TXT(ctx, name)
	if err == nil {
		all, err = f.filter.Names(ctx, "TXT", name, info, all)
	}
	return all, info, err
}

// NS implements Resolver.
func (f *replyFilter) NS(ctx context.Context, domain string) ([]string, dns.Info, error) {
	all, info, err := f.Resolver.NS(ctx, domain)
	if err == nil {
		all, err = f.filter.Names(ctx, "NS", domain, info, all)
	}
	return all, info, err
}
