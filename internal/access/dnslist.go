package access

import (
	"net/netip"
	"strings"

	"postroad/internal/dns"
	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// dnsList is the argument of a rule about a list in the DNS: "domain" or
// "domain=pattern".
type dnsList struct {
	// spec is the whole argument, domain what stands before "=".
	spec, domain string
	// pattern chooses among the addresses that the list may answer; nil takes
	// any.
	pattern *dns.Pattern
}

// parseDNSList reads the argument of a rule about a list.
func parseDNSList(spec string) (*dnsList, error) {
	domain, pattern, filtered := strings.Cut(spec, "=")
	l := &dnsList{spec: spec, domain: domain}
	if !filtered {
		return l, nil
	}
	var err error
	l.pattern, err = dns.ParsePattern(pattern)
	return l, err
}

// matches tells whether one of the answers is meant.
func (l *dnsList) matches(addrs []netip.Addr) bool {
	if l.pattern == nil {
		return true
	}
	for _, a := range addrs {
		if l.pattern.Match(a) {
			return true
		}
	}
	return false
}

// listing is what a list said about one name.
type listing struct {
	state listState
	addrs []netip.Addr
	text  string
}

// listState tells whether something is on a list.
type listState uint8

const (
	notListed listState = iota
	listed
	// listUnknown means that the list did not answer.
	listUnknown
)

// maxListings bounds what a session remembers of lists.
const maxListings = 100

// maxListText bounds the text of a list that goes into a reply.
const maxListText = 500

// ask asks a list, once in a session for the same name.
func (c *Checker) ask(l *dnsList, prefix string) listing {
	query := prefix + "." + l.domain
	found, known := c.listings[query]
	if !known {
		found = c.query(query)
		if c.listings == nil {
			c.listings = map[string]listing{}
		}
		if len(c.listings) < maxListings {
			c.listings[query] = found
		}
	}
	if found.state == listed && !l.matches(found.addrs) {
		return listing{}
	}
	return found
}

// query asks the DNS. A list that cannot answer gives the client the benefit of
// the doubt.
func (c *Checker) query(name string) listing {
	addrs, _, err := c.e.deps.DNS.Addrs(c.ctx, name, dns.IPv4)
	if dns.IsNotFound(err) {
		return listing{}
	}
	if err != nil {
		c.warnf("%s: RBL lookup error: %s", name, dnsReason(err))
		return listing{state: listUnknown}
	}
	texts, _, err := c.e.deps.DNS.TXT(c.ctx, name)
	if isFiltered(err) {
		c.warnf("%s: TXT lookup error: DNS reply filter drops all results", name)
	}
	return listing{state: listed, addrs: addrs, text: joinTexts(texts)}
}

// joinTexts makes one line of text records.
func joinTexts(texts []string) string {
	out := ""
	for i, text := range texts {
		if room := maxListText - len(out); len(text) > room {
			text = text[:room]
		}
		out += text
		if room := maxListText - len(out); room <= 0 {
			break
		} else if room > len(" / ") && i+1 < len(texts) {
			out += " / "
		}
	}
	return printable(out, maxListText)
}

// reversed is the name under which lists have an address.
func reversed(addr netip.Addr) string {
	name := strings.TrimSuffix(dns.ReverseName(addr), ".in-addr.arpa")
	return strings.TrimSuffix(name, ".ip6.arpa")
}

// listedName is the name under which lists have a host name or the domain of an
// address; empty when lists are not asked about it.
func listedName(what string) string {
	domain := what[strings.LastIndexByte(what, '@')+1:]
	if len(domain) < len(what) && strings.HasPrefix(domain, "[") {
		return ""
	}
	// Lists of names dislike questions about addresses.
	if last := domain[strings.LastIndexByte(domain, '.')+1:]; last == "" || isDigits(last) {
		return ""
	}
	domain = asciiDomain(domain)
	if !rewrite.ValidHostname(domain) {
		return ""
	}
	return domain
}

// asciiDomain is a domain as the DNS has it (RFC 5890 2.3.2.1).
func asciiDomain(domain string) string {
	if strings.IndexFunc(domain, func(r rune) bool { return r >= 0x80 }) < 0 {
		return domain
	}
	ascii, ok := dns.ToASCII(domain)
	if !ok {
		return domain
	}
	return ascii
}

// unknownHost is the name of a client that has none.
const unknownHost = "unknown"

// addrListed asks a list about the client's address.
func (c *Checker) addrListed(l *dnsList) listing {
	if !c.addr().IsValid() {
		return listing{}
	}
	return c.ask(l, reversed(c.addr()))
}

// nameListed asks a list about a name or an address of mail.
func (c *Checker) nameListed(l *dnsList, what string) listing {
	name := listedName(what)
	if name == "" {
		return listing{}
	}
	return c.ask(l, name)
}

func rejectRBLClient(c *Checker, r *rule) outcome {
	return c.refuseListed(r, c.addrListed(r.dnsList), c.req.Session.Client.AddrString(), classClient)
}

func rejectRHSBLClient(c *Checker, r *rule) outcome {
	name := c.req.Session.Client.Name
	if strings.EqualFold(name, unknownHost) {
		return dunno
	}
	return c.refuseListed(r, c.nameListed(r.dnsList, name), name, classClient)
}

func rejectRHSBLReverse(c *Checker, r *rule) outcome {
	name := c.req.Session.Client.ReverseName
	if strings.EqualFold(name, unknownHost) {
		return dunno
	}
	return c.refuseListed(r, c.nameListed(r.dnsList, name), name, classReverse)
}

func rejectRHSBLHelo(c *Checker, r *rule) outcome {
	return c.refuseListed(r, c.nameListed(r.dnsList, c.req.Helo), c.req.Helo, classHelo)
}

func rejectRHSBLSender(c *Checker, r *rule) outcome {
	what := string(c.req.Sender)
	return c.refuseListed(r, c.nameListed(r.dnsList, what), what, classSender)
}

func rejectRHSBLRecipient(c *Checker, r *rule) outcome {
	what := string(c.req.Recipient)
	return c.refuseListed(r, c.nameListed(r.dnsList, what), what, classRecipient)
}

func permitDNSWLClient(c *Checker, r *rule) outcome {
	return c.permitListed(r, c.req.Session.Client.AddrString(), func() listing { return c.addrListed(r.dnsList) })
}

func permitRHSWLClient(c *Checker, r *rule) outcome {
	name := c.req.Session.Client.Name
	if strings.EqualFold(name, unknownHost) {
		return dunno
	}
	return c.permitListed(r, name, func() listing { return c.nameListed(r.dnsList, name) })
}

// permitListed permits a client that is on a list, but never to relay. When the
// list does not answer, a rejection would be unjust and becomes a deferral.
func (c *Checker) permitListed(r *rule, what string, ask func() listing) outcome {
	if rcpt := c.req.Recipient; c.req.Stage == "RCPT" && rcpt != "" {
		res, err := c.resolve(rcpt)
		if err != nil {
			return c.tryLater(rcpt, err)
		}
		if !c.e.deps.Rewrite.Permits(res) {
			return dunno
		}
	}
	switch ask().state {
	case listed:
		return c.allow(r.name, c.clientScope())
	case listUnknown:
		return c.holdBack(&c.ifReject, mail.Status{
			Code: 450, Enhanced: "4.7.1", Text: scope{subject: what, class: classClient}.rejected("Service unavailable"),
		}, nil)
	}
	return dunno
}
