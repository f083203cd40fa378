package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postroad/internal/dns"
	"postroad/internal/event"
	"postroad/internal/table"
)

// replyFilter is a Resolver whose answers pass smtpd_dns_reply_filter: tables
// that are searched for each record as text, "name. ttl IN type value", and
// that may say IGNORE.
type replyFilter struct {
	Resolver
	maps *table.Maps
	log  *event.Logger
}

// errFiltered says that the filter has dropped every record, or that it could
// not be asked. It is no proof that there is nothing.
var errFiltered = errors.New("DNS reply filter policy")

func isFiltered(err error) bool { return errors.Is(err, errFiltered) }

// keeps tells whether a record passes.
func (f *replyFilter) keeps(ctx context.Context, name, kind, value string, ttl time.Duration) (bool, error) {
	text := fmt.Sprintf("%s. %d IN %s %s", name, ttl/time.Second, kind, value)
	hit, err := f.maps.Lookup(ctx, text)
	if err != nil {
		f.log.Warnf("%v", err)
		return false, filterError(name, kind, "Invalid DNS reply filter syntax")
	}
	if !hit.Found {
		return true, nil
	}
	if word, _, _ := strings.Cut(hit.Value, " "); !strings.EqualFold(word, "IGNORE") {
		f.log.Warnf("%s: unknown DNS filter action: \"%s\"", f.maps.Param(), hit.Value)
		return false, filterError(name, kind, "Invalid DNS reply filter syntax")
	}
	f.log.Infof("ignoring DNS RR: %s", text)
	return false, nil
}

func filterError(name, kind, text string) error {
	return &dns.Error{Kind: dns.Temporary, Name: name, Type: kind, Text: text, Cause: errFiltered}
}

// filterRecords drops the records that do not pass.
func filterRecords[R any](ctx context.Context, f *replyFilter, name string, info dns.Info, all []R, show func(R) (kind, value string)) ([]R, error) {
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
		return nil, filterError(name, kind, "DNS reply filter drops all results")
	}
	return kept, nil
}

// MX implements Resolver.
func (f *replyFilter) MX(ctx context.Context, domain string) ([]dns.MXRecord, dns.Info, error) {
	all, info, err := f.Resolver.MX(ctx, domain)
	if err != nil {
		return nil, info, err
	}
	all, err = filterRecords(ctx, f, domain, info, all, func(r dns.MXRecord) (string, string) {
		return "MX", itoa(int(r.Pref)) + " " + strings.TrimSuffix(r.Host, ".") + "."
	})
	return all, info, err
}

// Addrs implements Resolver.
func (f *replyFilter) Addrs(ctx context.Context, host string, family dns.Family) ([]netip.Addr, dns.Info, error) {
	all, info, err := f.Resolver.Addrs(ctx, host, family)
	if err != nil {
		return nil, info, err
	}
	all, err = filterRecords(ctx, f, host, info, all, func(a netip.Addr) (string, string) {
		if a.Is4() {
			return "A", a.String()
		}
		return "AAAA", a.String()
	})
	return all, info, err
}

// TXT implements Resolver.
func (f *replyFilter) TXT(ctx context.Context, name string) ([]string, dns.Info, error) {
	all, info, err := f.Resolver.TXT(ctx, name)
	if err != nil {
		return nil, info, err
	}
	all, err = filterRecords(ctx, f, name, info, all, func(text string) (string, string) { return "TXT", text })
	return all, info, err
}

// NS implements Resolver.
func (f *replyFilter) NS(ctx context.Context, domain string) ([]string, dns.Info, error) {
	all, info, err := f.Resolver.NS(ctx, domain)
	if err != nil {
		return nil, info, err
	}
	all, err = filterRecords(ctx, f, domain, info, all, func(host string) (string, string) { return "NS", host + "." })
	return all, info, err
}
