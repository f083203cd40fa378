package dns

import (
	"net/netip"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// Bounds of what one reply may say.
const (
	maxRecords = 100
	maxCNAMEs  = 10
	maxTexts   = 64 << 10
	maxTTL     = 24 * time.Hour
	maxNegTTL  = time.Hour
	// failTTL keeps a failed lookup from being repeated at once (RFC 9520 3.2).
	failTTL = 2 * time.Second
)

// read turns a reply with rcode NOERROR or NXDOMAIN into an answer. next is
// the name to ask instead when the reply ends in an alias without records.
func read(k key, msg *wire.Msg) (ans *answer, next string) {
	ans = &answer{canonical: k.name, ttl: maxTTL}
	steps := ans.follow(k.qtype, msg.Answer)
	invalid := 0
	for _, rr := range msg.Answer {
		h := rr.Header()
		if h.Rrtype != k.qtype || h.Class != wire.ClassINET || !sameName(h.Name, ans.canonical) {
			continue
		}
		if ans.count() >= maxRecords {
			break
		}
		if !ans.add(rr) {
			invalid++
			continue
		}
		ans.shorten(h.Ttl)
	}
	switch {
	case ans.count() > 0:
		return ans, ""
	case invalid > 0:
		// Records are there, but none that a mail system can use.
		ans.err = &Error{Kind: Invalid, Name: k.name, Type: typeName(k.qtype), Text: textMalformed}
	case msg.Rcode == wire.RcodeNameError:
		ans.err = &Error{Kind: NotFound, Name: k.name, Type: typeName(k.qtype), Text: textNotFound}
	case steps > 0 && soa(msg) == nil:
		return ans, ans.canonical
	default:
		ans.err = &Error{Kind: NoData, Name: k.name, Type: typeName(k.qtype), Text: textNoData}
	}
	ans.negativeTTL(msg)
	return ans, ""
}

// follow walks the aliases of the answer section and leaves the last name in
// canonical. It returns the number of steps.
func (a *answer) follow(qtype uint16, rrs []wire.RR) int {
	if qtype == wire.TypeCNAME {
		return 0
	}
	for step := range maxCNAMEs {
		target := ""
		for _, rr := range rrs {
			if c, ok := rr.(*wire.CNAME); ok && sameName(c.Hdr.Name, a.canonical) {
				target = strings.ToLower(strings.TrimSuffix(c.Target, "."))
				a.shorten(c.Hdr.Ttl)
				break
			}
		}
		if target == "" {
			return step
		}
		a.canonical = target
	}
	return maxCNAMEs
}

// add takes one record; false means that its content is unusable.
func (a *answer) add(rr wire.RR) bool {
	switch rr := rr.(type) {
	case *wire.MX:
		host := hostOf(rr.Mx)
		if host == "" {
			// An address is no host name, but it is what some zones say and
			// mail systems put up with.
			host = addressOf(rr.Mx)
		}
		if host == "" && rr.Mx != "." {
			return false
		}
		// RFC 7505: the empty name says that the domain takes no mail.
		if host == "" {
			host = "."
		}
		a.mx = append(a.mx, MXRecord{Host: host, Pref: rr.Preference})
	case *wire.A:
		ip, ok := netip.AddrFromSlice(rr.A.To4())
		if !ok {
			return false
		}
		a.addrs = append(a.addrs, ip)
	case *wire.AAAA:
		ip, ok := netip.AddrFromSlice(rr.AAAA.To16())
		if !ok {
			return false
		}
		a.addrs = append(a.addrs, ip.Unmap())
	case *wire.PTR:
		return a.addName(rr.Ptr)
	case *wire.NS:
		return a.addName(rr.Ns)
	case *wire.TXT:
		text := plainText(strings.Join(rr.Txt, ""))
		if len(text) > maxTexts {
			return false
		}
		a.texts = append(a.texts, text)
	default:
		return false
	}
	return true
}

func (a *answer) addName(name string) bool {
	host := hostOf(name)
	if host == "" {
		return false
	}
	a.texts = append(a.texts, host)
	return true
}

func (a *answer) count() int { return len(a.mx) + len(a.addrs) + len(a.texts) }

func (a *answer) shorten(ttl uint32) {
	// RFC 2181 8: a TTL with the top bit set is zero.
	if ttl > 1<<31-1 {
		ttl = 0
	}
	a.ttl = min(a.ttl, time.Duration(ttl)*time.Second)
}

// negativeTTL is that of RFC 2308 5: the lesser of the SOA's own TTL and its
// last field; without an SOA the answer is not kept.
func (a *answer) negativeTTL(msg *wire.Msg) {
	s := soa(msg)
	if s == nil {
		a.ttl = 0
		return
	}
	a.shorten(s.Hdr.Ttl)
	a.shorten(s.Minttl)
	a.ttl = min(a.ttl, maxNegTTL)
}

func soa(msg *wire.Msg) *wire.SOA {
	for _, rr := range msg.Ns {
		if s, ok := rr.(*wire.SOA); ok {
			return s
		}
	}
	return nil
}

// hostOf is the name of a record as the house writes it, or nothing when it is
// not a host name.
func hostOf(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !ValidHostname(name) {
		return ""
	}
	return name
}

// addressOf is name when it is an IPv4 address, or nothing.
func addressOf(name string) string {
	a, err := netip.ParseAddr(strings.TrimSuffix(name, "."))
	if err != nil || !a.Is4() {
		return ""
	}
	return a.String()
}

func sameName(wireName, name string) bool {
	return strings.EqualFold(strings.TrimSuffix(wireName, "."), name)
}

func typeName(qtype uint16) string { return wire.TypeToString[qtype] }

// plainText undoes the escapes (RFC 1035 5.1) in which the packet library
// hands out text.
func plainText(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		if i+2 < len(s) && isDigit(s[i]) && isDigit(s[i+1]) && isDigit(s[i+2]) {
			out = append(out, (s[i]-'0')*100+(s[i+1]-'0')*10+s[i+2]-'0')
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
