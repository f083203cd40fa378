package access

import (
	"errors"
	"net/netip"
	"strings"

	"postroad/internal/dns"
	"postroad/internal/rewrite"
	"postroad/internal/table"
)

// serverKind is which hosts of a domain a check_..._access rule looks at.
type serverKind string

const (
	serverA  serverKind = "A"
	serverNS serverKind = "NS"
	serverMX serverKind = "MX"
)

// maxServerAddrs bounds the addresses that one rule looks at.
const maxServerAddrs = 100

// serverRows are the rules about the hosts behind a name: for each subject one
// rule for addresses, name servers and mail exchangers.
func serverRows() []row {
	subjects := []struct {
		word string
		// about gives the name to ask about and what a reply speaks about; the
		// name is empty when there is nothing to check.
		about func(*Checker) (name string, s scope)
	}{
		{"client", func(c *Checker) (string, scope) { return known(c.req.Session.Client.Name), c.clientScope() }},
		{"reverse_client_hostname", func(c *Checker) (string, scope) {
			name := c.req.Session.Client.ReverseName
			return known(name), scope{name, classReverse, c.scope.bare}
		}},
		{"helo", func(c *Checker) (string, scope) { return c.req.Helo, c.heloScope() }},
		{"sender", func(c *Checker) (string, scope) { return string(c.req.Sender), c.senderScope() }},
		{"recipient", func(c *Checker) (string, scope) { return string(c.req.Recipient), c.recipientScope() }},
	}
	var all []row
	for _, s := range subjects {
		for _, kind := range []serverKind{serverA, serverNS, serverMX} {
			all = append(all, row{
				name: "check_" + s.word + "_" + strings.ToLower(string(kind)) + "_access", arg: argTable,
				run: func(c *Checker, r *rule) outcome {
					name, about := s.about(c)
					if name == "" {
						return dunno
					}
					return c.forbidPermit(r, c.serverAccess(r, kind, name, about), name)
				},
			})
		}
	}
	return all
}

// known is a client name, or nothing when there is none.
func known(name string) string {
	if strings.EqualFold(name, unknownHost) {
		return ""
	}
	return name
}

// serverAccess looks up the hosts behind a name, and their addresses.
func (c *Checker) serverAccess(r *rule, kind serverKind, name string, s scope) outcome {
	domain := name[strings.LastIndexByte(name, '@')+1:]
	if strings.HasPrefix(domain, "[") {
		return c.literalAccess(r, kind, domain, s)
	}
	domain = asciiDomain(domain)
	hosts, o := c.servers(kind, domain, name)
	if o != nil {
		return *o
	}
	count := 0
	for _, host := range hosts {
		hit, err := c.hostHit(r, kind, host, s, &count)
		if err != nil || hit.Found {
			return c.decide(r, hit, err, s)
		}
		if count > maxServerAddrs {
			return dunno
		}
	}
	return dunno
}

// literalAccess looks up an address literal, which is its own mail exchanger.
func (c *Checker) literalAccess(r *rule, kind serverKind, domain string, s scope) outcome {
	inner, ok := strings.CutSuffix(domain[1:], "]")
	if kind == serverNS || !ok || !rewrite.ValidLiteral(domain) {
		return dunno
	}
	if len(inner) > 5 && strings.EqualFold(inner[:5], "ipv6:") {
		inner = inner[5:]
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil {
		return dunno
	}
	c.datum = addr.String()
	hit, err := r.maps.LookupNet(c.ctx, addr)
	return c.decide(r, hit, err, s)
}

// servers lists the hosts behind a domain; a domain without a mail exchanger is
// its own, and one without name servers has those of its parent.
func (c *Checker) servers(kind serverKind, domain, name string) ([]string, *outcome) {
	var hosts []string
	var err error
	none := dunno
	switch kind {
	case serverA:
		return []string{domain}, nil
	case serverMX:
		records, _, mxErr := c.e.deps.DNS.MX(c.ctx, domain)
		if mxErr == nil && dns.IsNullMX(records) {
			return nil, &none // RFC 7505 3: there is no host
		}
		if dns.IsNotFound(mxErr) {
			return []string{domain}, nil
		}
		for _, record := range records {
			hosts = append(hosts, record.Host)
		}
		err = mxErr
	case serverNS:
		hosts, _, err = c.e.deps.DNS.NS(c.ctx, domain)
		for dns.IsNotFound(err) {
			dot := strings.IndexByte(domain, '.')
			if dot < 0 || dot+1 == len(domain) {
				domain = name
				break
			}
			domain = domain[dot+1:]
			hosts, _, err = c.e.deps.DNS.NS(c.ctx, domain)
		}
	}
	if err != nil {
		c.warnf("Unable to look up %s host for %s: %s", kind, domain, shortReason(err))
		return nil, &none
	}
	return hosts, nil
}

// hostHit searches a table for a host and its addresses.
func (c *Checker) hostHit(r *rule, kind serverKind, host string, s scope, count *int) (table.Hit, error) {
	c.datum = host
	if addr, err := netip.ParseAddr(host); err == nil {
		return r.maps.LookupNet(c.ctx, addr)
	}
	if kind != serverA {
		if hit, err := r.maps.LookupHost(c.ctx, host, c.e.dotParents); err != nil || hit.Found {
			return hit, err
		}
	}
	addrs, err := c.e.deps.DNS.Native(c.ctx, host, c.e.family)
	if err != nil {
		if kind != serverA {
			c.warnf("Unable to look up %s host %s for %s %s: %s", kind, host, s.class, s.subject, resolveReason(err))
		}
		return table.Hit{}, nil
	}
	for _, addr := range addrs {
		if *count++; *count > maxServerAddrs {
			c.warnf("check_server_access: %s server address count limit (%d) exceeded for %s %s -- ignoring the remainder",
				kind, maxServerAddrs, s.class, s.subject)
			break
		}
		c.datum = addr.String()
		if hit, err := r.maps.LookupNet(c.ctx, addr); err != nil || hit.Found {
			return hit, err
		}
	}
	return table.Hit{}, nil
}

// dnsReason is what the log says about a lookup without an answer.
func dnsReason(err error) string {
	if isFiltered(err) {
		return strings.Replace(err.Error(), "Name service error for", "Error looking up", 1)
	}
	return "Host or domain name not found. " + err.Error()
}

// shortReason is the reason alone.
func shortReason(err error) string {
	var e *dns.Error
	switch {
	case isFiltered(err):
		return table.ErrDNSFilter.Error()
	case errors.As(err, &e) && e.Type == "":
		return "Host not found" // the name is none
	case errors.As(err, &e):
		return e.Text
	}
	return err.Error()
}

// resolveReason is the reason in the words of getaddrinfo(3).
func resolveReason(err error) string {
	var e *dns.Error
	switch {
	case errors.As(err, &e) && e.Kind == dns.NotFound:
		return "Name or service not known"
	case errors.As(err, &e) && e.Kind == dns.NoData:
		return "No address associated with hostname"
	}
	return "Temporary failure in name resolution"
}
