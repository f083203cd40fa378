package smtp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"postroad/internal/dns"
	"postroad/internal/table"
)

// filteredDNS is a Resolver whose answers pass smtp_dns_reply_filter.
type filteredDNS struct {
	Resolver
	filter *table.DNSFilter
}

// MX implements Resolver.
func (f *filteredDNS) MX(ctx context.Context, domain string) ([]dns.MXRecord, dns.Info, error) {
	all, info, err := f.Resolver.MX(ctx, domain)
	if err == nil {
		all, err = f.filter.MX(ctx, domain, info, all)
	}
	return all, info, err
}

// Addrs implements Resolver.
func (f *filteredDNS) Addrs(ctx context.Context, host string, family dns.Family) ([]netip.Addr, dns.Info, error) {
	all, info, err := f.Resolver.Addrs(ctx, host, family)
	if err == nil {
		all, err = f.filter.Addrs(ctx, host, info, all)
	}
	return all, info, err
}

// errReplyFilter says that smtp_reply_filter could not be asked.
var errReplyFilter = errors.New("reply filter is not available")

// replyFilter is smtp_reply_filter for one session: it replaces a line.
func (s *session) replyFilter(line []byte) ([]byte, error) {
	value, found, err := s.c.ReplyFilter.Find(context.Background(), string(line))
	switch {
	case err != nil:
		s.log.Warnf("%s_reply_filter: %v", s.c.proto(), err)
		return nil, errReplyFilter
	case found:
		value = oneLine(value)
		s.log.Infof("%s: replacing server reply %q with %q", s.relay, line, value)
		return []byte(value), nil
	}
	return line, nil
}

// discardWords are the EHLO keywords that can be left unused, in Postfix's order.
var discardWords = [...]string{"8BITMIME", "AUTH", "ETRN", "PIPELINING", "SIZE", "VERP", "VRFY", "XCLIENT", "XFORWARD", "STARTTLS",
	"ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING", "REQUIRETLS"}

// discards finds the keywords of this server that are not used, and logs them.
func (a *attempt) discards(ctx context.Context, s *session) features {
	words := a.byAddress(ctx, s, "_discard_ehlo_keyword_address_maps", a.c.DiscardByAddr, a.c.Settings.DiscardKeywords)
	if len(words) == 0 {
		return 0
	}
	has := func(word string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, word) })
	}
	var known []string
	for _, w := range discardWords {
		if has(w) {
			known = append(known, w)
		}
	}
	if len(known) > 0 && !has("silent-discard") {
		a.d.Logger.Infof("discarding EHLO keywords: %s", strings.Join(known, " "))
	}
	return keywordSet(known)
}

// byAddress is a list of words for the address of a server: what a table has for
// it, or else words.
func (a *attempt) byAddress(ctx context.Context, s *session, param string, maps Maps, words []string) []string {
	if maps == nil || s.t.path != "" {
		return words
	}
	value, found, err := maps.Find(ctx, s.t.addr.String())
	if err != nil {
		a.d.Logger.Warnf("%s%s: %v", a.c.proto(), param, err)
	}
	if !found {
		return words
	}
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// keywordSet is what the keywords of a list stand for.
func keywordSet(words []string) (set features) {
	for _, w := range words {
		set |= keywordFeature(w)
	}
	return set
}
