package smtpd

import (
	"strings"
)

// ehloMask is a set of EHLO keywords that are left out.
type ehloMask uint32

const (
	ehloPipelining ehloMask = 1 << iota
	ehloSize
	ehloVRFY
	ehloETRN
	ehloStartTLS
	ehloAuth
	ehloXVERP
	ehloXclient
	ehloXforward
	ehloStatusCodes
	ehlo8bit
	ehloDSN
	ehloUTF8
	ehloChunking
	ehloRequireTLS
	// ehloSilent is no keyword: it keeps the log silent about the others.
	ehloSilent
)

// ehloWords are the names of smtpd_discard_ehlo_keywords.
var ehloWords = [...]struct {
	word string
	bit  ehloMask
}{
	{"pipelining", ehloPipelining}, {"size", ehloSize}, {"vrfy", ehloVRFY}, {"etrn", ehloETRN},
	{"starttls", ehloStartTLS}, {"auth", ehloAuth}, {"xverp", ehloXVERP}, {"xclient", ehloXclient},
	{"xforward", ehloXforward}, {"enhancedstatuscodes", ehloStatusCodes}, {"8bitmime", ehlo8bit},
	{"dsn", ehloDSN}, {"smtputf8", ehloUTF8}, {"chunking", ehloChunking}, {"requiretls", ehloRequireTLS},
	{"silent-discard", ehloSilent},
}

// parseMask reads a list of keywords; unknown holds those that are none.
func parseMask(words []string) (mask ehloMask, unknown []string) {
next:
	for _, w := range words {
		for _, k := range ehloWords {
			if strings.EqualFold(w, k.word) {
				mask |= k.bit
				continue next
			}
		}
		unknown = append(unknown, w)
	}
	return mask, unknown
}

// String lists the keywords for the log.
func (m ehloMask) String() string {
	var words []string
	for _, k := range ehloWords {
		if m&k.bit != 0 && k.bit != ehloSilent {
			words = append(words, strings.ToUpper(k.word))
		}
	}
	return strings.Join(words, ", ")
}

// masked tells whether an EHLO keyword is left out.
func (s *session) masked(keyword ehloMask) bool { return s.mask&keyword != 0 }

// findMask finds out which keywords this client is not offered.
func (s *session) findMask() {
	words := s.set.DiscardEHLO
	if lookup := s.srv.Lists.DiscardEHLO; lookup != nil {
		value, ok, err := lookup(s.ctx, s.peer.Client.AddrString())
		if err != nil {
			s.log.Warnf("smtpd_discard_ehlo_keyword_address_maps: %v", err)
		}
		if ok {
			words = strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
		}
	}
	var unknown []string
	s.mask, unknown = parseMask(words)
	for _, w := range unknown {
		s.log.Warnf("unknown EHLO keyword to discard: %.100s", w)
	}
}

// offersRequireTLS tells whether MAIL may ask for REQUIRETLS: only in a session
// that has TLS itself (RFC 8689 2).
func (s *session) offersRequireTLS() bool {
	return s.set.RequireTLS && s.peer.TLS != nil && !s.masked(ehloRequireTLS)
}

// ehloText is the reply to EHLO: the extensions in Postfix's order.
func (s *session) ehloText() string {
	var b strings.Builder
	b.Grow(256)
	b.WriteString(s.set.Hostname)
	line := func(keyword ehloMask, on bool, parts ...string) {
		if !on || s.masked(keyword) {
			return
		}
		b.WriteByte('\n')
		for _, p := range parts {
			b.WriteString(p)
		}
	}
	size := ""
	if s.set.MessageLimit > 0 {
		size = " " + itoa64(s.set.MessageLimit)
	}
	line(ehloPipelining, true, "PIPELINING")
	line(ehloSize, true, "SIZE", size)
	line(ehloVRFY, !s.set.DisableVRFY, "VRFY")
	line(ehloETRN, true, "ETRN")
	line(ehloStartTLS, (s.srv.TLS != nil || s.srv.lacks.tls) && s.peer.TLS == nil, "STARTTLS")
	if mechs := strings.Join(s.mechanisms(), " "); mechs != "" {
		line(ehloAuth, true, "AUTH ", mechs)
		line(ehloAuth, s.set.AuthBroken, "AUTH=", mechs)
	}
	line(ehloXVERP, s.flags.verp, "XVERP")
	line(ehloXclient, s.flags.xclient, "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT")
	line(ehloXforward, s.flags.xforward, "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT")
	line(ehloStatusCodes, true, "ENHANCEDSTATUSCODES")
	line(ehlo8bit, true, "8BITMIME")
	line(ehloDSN, true, "DSN")
	line(ehloUTF8, s.set.UTF8, "SMTPUTF8")
	line(ehloChunking, true, "CHUNKING")
	line(ehloRequireTLS, s.offersRequireTLS(), "REQUIRETLS")
	return b.String()
}
