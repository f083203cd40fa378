package testkit

import (
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Zone is the whole DNS of a test, parsed from one literal. Each line is a
// resource record in zone-file form (TTL and class may be left out), or one of
//
//	NAME SERVFAIL          every question at or below NAME fails
//	NAME REFUSED           is refused
//	NAME DROP              gets no answer at all
//	NAME DELAY 2s          is answered late
//	NAME AD                is answered with the AD bit (validated)
//	NAME NODATA            exists but has no records
//	NAME TRUNCATE          is truncated over UDP, whole over TCP
//
// Empty lines and lines that begin with ";" or "#" are skipped. A name that is
// not there does not exist (NXDOMAIN); a name that has other records, or names
// below it, has no data.
type Zone struct {
	records map[string][]dns.RR
	names   map[string]bool
	faults  []zoneFault
}

// zoneFault is one line that is not a record.
type zoneFault struct {
	name  string
	kind  string
	delay time.Duration
}

// ParseZone reads the literal.
func ParseZone(text string) (*Zone, error) {
	z := &Zone{records: map[string][]dns.RR{}, names: map[string]bool{}}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		if err := z.add(line); err != nil {
			return nil, fmt.Errorf("zone line %d: %q: %w", i+1, line, err)
		}
	}
	return z, nil
}

// add takes one line that is not a comment.
func (z *Zone) add(line string) error {
	words := strings.Fields(line)
	if len(words) >= 2 {
		name := dns.CanonicalName(words[0])
		switch words[1] {
		case "NODATA":
			z.exists(name)
			return nil
		case "SERVFAIL", "REFUSED", "DROP", "AD", "TRUNCATE":
			z.faults = append(z.faults, zoneFault{name: name, kind: words[1]})
			return nil
		case "DELAY":
			if len(words) != 3 {
				return fmt.Errorf("DELAY needs a duration")
			}
			d, err := time.ParseDuration(words[2])
			if err != nil {
				return err
			}
			z.faults = append(z.faults, zoneFault{name: name, kind: "DELAY", delay: d})
			return nil
		}
	}
	rr, err := dns.NewRR(line)
	if err != nil {
		return err
	}
	if rr == nil {
		return fmt.Errorf("no record in the line")
	}
	name := dns.CanonicalName(rr.Header().Name)
	z.records[name] = append(z.records[name], rr)
	z.exists(name)
	return nil
}

// exists notes that name and all names above it are there.
func (z *Zone) exists(name string) {
	for name != "." {
		z.names[name] = true
		i, end := dns.NextLabel(name, 0)
		if end {
			return
		}
		name = name[i:]
	}
}

// fault returns the fault of that kind that holds for name, if any.
func (z *Zone) fault(name, kind string) (zoneFault, bool) {
	for _, f := range z.faults {
		if f.kind == kind && dns.IsSubDomain(f.name, name) {
			return f, true
		}
	}
	return zoneFault{}, false
}

// Answer builds the reply to one question. A nil reply means that none is
// sent; delay is how long the server waits before it speaks.
func (z *Zone) Answer(q *dns.Msg, tcp bool) (reply *dns.Msg, delay time.Duration) {
	reply = new(dns.Msg)
	reply.SetReply(q)
	reply.RecursionAvailable = true
	if len(q.Question) != 1 {
		reply.Rcode = dns.RcodeFormatError
		return reply, 0
	}
	name := dns.CanonicalName(q.Question[0].Name)
	if f, ok := z.fault(name, "DELAY"); ok {
		delay = f.delay
	}
	if _, ok := z.fault(name, "DROP"); ok {
		return nil, delay
	}
	if _, ok := z.fault(name, "SERVFAIL"); ok {
		reply.Rcode = dns.RcodeServerFailure
		return reply, delay
	}
	if _, ok := z.fault(name, "REFUSED"); ok {
		reply.Rcode = dns.RcodeRefused
		return reply, delay
	}
	if _, ok := z.fault(name, "TRUNCATE"); ok && !tcp {
		reply.Truncated = true
		return reply, delay
	}
	_, reply.AuthenticatedData = z.fault(name, "AD")
	z.fill(reply, name, q.Question[0].Qtype)
	if opt := q.IsEdns0(); opt != nil {
		reply.SetEdns0(4096, opt.Do())
	}
	return reply, delay
}

// negative is what real servers say with an answer that there is nothing
// (RFC 2308 3): how long that holds. The zone is the top-level domain of the name,
// because Postfix complains of the root.
func negative(name string) dns.RR {
	zone := name
	if labels := dns.SplitDomainName(name); len(labels) > 0 {
		zone = labels[len(labels)-1] + "."
	}
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
		Ns:  "ns.test.", Mbox: "hostmaster.test.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 60,
	}
}

// fill puts the records for name into the reply, following CNAMEs.
func (z *Zone) fill(reply *dns.Msg, name string, qtype uint16) {
	for range 8 {
		if !z.names[name] {
			reply.Rcode = dns.RcodeNameError
			reply.Ns = append(reply.Ns, negative(name))
			return
		}
		var alias string
		found := false
		for _, rr := range z.records[name] {
			t := rr.Header().Rrtype
			if t == qtype || qtype == dns.TypeANY {
				reply.Answer, found = append(reply.Answer, dns.Copy(rr)), true
			} else if c, ok := rr.(*dns.CNAME); ok {
				reply.Answer = append(reply.Answer, dns.Copy(rr))
				alias = dns.CanonicalName(c.Target)
			}
		}
		if alias == "" {
			if !found {
				reply.Ns = append(reply.Ns, negative(name))
			}
			return
		}
		name = alias
	}
}
