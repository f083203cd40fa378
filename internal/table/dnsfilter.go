package table

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postroad/internal/dns"
	"postroad/internal/event"
)

// DNSFilter is smtpd_dns_reply_filter and its like: tables that are searched for
// each record of an answer as text, "name. ttl IN type value", and that may say
// IGNORE.
type DNSFilter struct {
	Maps *Maps
	Log  *event.Logger
}

// ErrDNSFilter says that the filter has dropped every record, or that it could not
// be asked. It is no proof that there is nothing.
var ErrDNSFilter = errors.New("DNS reply filter policy")

// keeps tells whether a record passes.
func (f *DNSFilter) keeps(ctx context.Context, name, kind, value string, ttl time.Duration) (bool, error) {
	text := fmt.Sprintf("%s. %d IN %s %s", name, ttl.Round(time.Second)/time.Second, kind, value)
	hit, err := f.Maps.Lookup(ctx, text)
	if err != nil {
		f.Log.Warnf("%v", err)
		return false, dnsFilterError(name, kind, "Invalid DNS reply filter syntax")
	}
	if !hit.Found {
		return true, nil
	}
	if word := strings.Fields(hit.Value); len(word) == 0 || !strings.EqualFold(word[0], "IGNORE") {
		f.Log.Warnf("%s: unknown DNS filter action: \"%s\"", f.Maps.Param(), hit.Value)
		return false, dnsFilterError(name, kind, "Invalid DNS reply filter syntax")
	}
	f.Log.Infof("ignoring DNS RR: %s", text)
	return false, nil
}

func dnsFilterError(name, kind, text string) error {
	return &dns.Error{Kind: dns.Temporary, Name: name, Type: kind, Text: text, Cause: ErrDNSFilter}
}

// filterRecords drops the records that do not pass.
func filterRecords[R any](ctx context.Context, f *DNSFilter, name string, info dns.Info, all []R, show func(R) (kind, value string)) ([]R, error) {
	if info.Canonical != "" {
		name = info.Canonical
	}
	kept := make([]R, 0, len(all))
	kind := ""
	for _, record := range all {
		var value string
		kind, value = show(record)
		ok, err := f.keeps(ctx, name, kind, value, info.TTL)
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, record)
		}
	}
	if len(kept) == 0 {
		return nil, dnsFilterError(name, kind, "DNS reply filter drops all results")
	}
	return kept, nil
}

// MX is the part of an answer about mail exchangers that passes.
func (f *DNSFilter) MX(ctx context.Context, domain string, info dns.Info, all []dns.MXRecord) ([]dns.MXRecord, error) {
	return filterRecords(ctx, f, domain, info, all, func(r dns.MXRecord) (string, string) {
		return "MX", fmt.Sprintf("%d %s.", r.Pref, strings.TrimSuffix(r.Host, "."))
	})
}

// Addrs is the same for addresses.
func (f *DNSFilter) Addrs(ctx context.Context, host string, info dns.Info, all []netip.Addr) ([]netip.Addr, error) {
	return filterRecords(ctx, f, host, info, all, func(a netip.Addr) (string, string) {
		if a.Is4() {
			return "A", a.String()
		}
		return "AAAA", a.String()
	})
}

// Names is the same for records that are one text or name.
func (f *DNSFilter) Names(ctx context.Context, kind, name string, info dns.Info, all []string) ([]string, error) {
	return filterRecords(ctx, f, name, info, all, func(text string) (string, string) {
		if kind == "NS" {
			text += "."
		}
		return kind, text
	})
}
