package smtp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postroad/internal/event"
	"postroad/internal/mail"
	"postroad/internal/tlsmgr"
)

// Level is a TLS security level of TLS_README, in rising order.
type Level uint8

const (
	// LevelNone never uses TLS, LevelMay does when the server offers it,
	// LevelEncrypt insists, the others also ask for a certificate.
	LevelNone Level = iota
	LevelMay
	LevelEncrypt
	LevelDANE
	LevelDANEOnly
	LevelFingerprint
	LevelVerify
	LevelSecure
)

var levelNames = []string{"none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure"}

// String names the level as main.cf does.
func (l Level) String() string { return levelNames[l] }

func parseLevel(s string) (Level, error) {
	for i, n := range levelNames {
		if strings.EqualFold(s, n) {
			return Level(i), nil
		}
	}
	return LevelNone, fmt.Errorf("invalid TLS security level %q", s)
}

// defaultLevel is the level without a policy.
func defaultLevel(set *Settings) (Level, error) {
	switch {
	case set.TLSLevel != "":
		return parseLevel(set.TLSLevel)
	case set.TLSEnforce && set.TLSEnforcePeername:
		return LevelVerify, nil
	case set.TLSEnforce:
		return LevelEncrypt, nil
	case set.TLSUse:
		return LevelMay, nil
	}
	return LevelNone, nil
}

// policy is what applies to one server.
type policy struct {
	level Level
	// asked is the level before a fall back to plaintext.
	asked Level
	// match overrides the names (verify, secure) or fingerprints to match; the
	// others override the main.cf settings when not empty.
	match                                   []string
	protocols, ciphers, exclude, servername string
	// reuse is the connection_reuse attribute.
	reuse bool
	// require is what REQUIRETLS asks for, ask tells that the server is asked.
	require requirement
	ask     bool
}

// fallBack turns TLS off after a failed handshake at level may.
func (p *policy) fallBack() { p.level = LevelNone }

// policy finds the TLS policy for a server of the site.
func (a *attempt) policy(ctx context.Context, t target) (policy, *failure) {
	c := a.c
	p := policy{level: c.level}
	if a.waivesTLS() {
		// RFC 8689 3: the sender cares more for delivery than for TLS.
		p.level = min(p.level, LevelMay)
	} else if c.TLSPolicy != nil {
		value, found, err := c.policyFor(ctx, a.site)
		if err == nil && found {
			err = p.parse(value)
		}
		if err != nil {
			a.tlsText = "unknown?"
			return p, newFailure("4.7.5", "client TLS configuration problem")
		}
	}
	switch {
	case t.path != "" && c.Settings.TLSLevel == "":
		p.level = LevelNone
	case p.level == LevelDANE:
		// Without TLSA records the level is may; we look for none yet.
		p.level = LevelMay
	case p.level == LevelDANEOnly:
		return p, newFailure("4.7.5", "non DANE destination")
	}
	p.asked = p.level
	a.tlsText = p.level.String() + "?"
	if fail := a.require(ctx, &p, t); fail != nil {
		return p, fail
	}
	if t.path != "" && p.level == LevelMay {
		a.warnf("smtp_connect_local: opportunistic TLS encryption is not appropriate for unix-domain destinations.")
		p.level = LevelNone
	}
	return p, nil
}

// policyFor looks up the site: as it stands in the configuration, then its
// parent domains.
func (c *Client) policyFor(ctx context.Context, s *site) (string, bool, error) {
	value, found, err := c.TLSPolicy.Find(ctx, s.name)
	if err != nil || found || s.path != "" {
		return value, found, err
	}
	// Only a plain domain has parents: not an address, not "[host]".
	if strings.ContainsAny(s.name, "[]:") {
		return "", false, nil
	}
	for name := s.name; ; {
		i := strings.IndexByte(name[1:], '.')
		if i < 0 {
			return "", false, nil
		}
		name = name[i+1:]
		if value, found, err = c.TLSPolicy.Find(ctx, name); err != nil || found {
			return value, found, err
		}
	}
}

// parse reads a policy: a level and attributes.
func (p *policy) parse(text string) error {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	if len(words) == 0 {
		return errors.New("empty TLS policy")
	}
	level, err := parseLevel(words[0])
	if err != nil {
		return err
	}
	p.level = level
	for _, w := range words[1:] {
		name, value, ok := strings.Cut(w, "=")
		if !ok || value == "" {
			return fmt.Errorf("malformed TLS policy attribute %q", w)
		}
		switch strings.ToLower(name) {
		case "match":
			sep := ":"
			if level == LevelFingerprint {
				sep = "|"
			}
			p.match = append(p.match, strings.Split(value, sep)...)
		case "protocols":
			p.protocols = value
		case "ciphers":
			p.ciphers = value
		case "exclude":
			p.exclude += " " + value
		case "servername":
			p.servername = value
		case "connection_reuse":
			p.reuse = value == "yes"
		case "enable_rpk", "tafile", "policy_type", "policy_ttl", "policy_domain", "policy_string", "mx_host_pattern", "policy_failure":
		default:
			return fmt.Errorf("unknown TLS policy attribute %q", name)
		}
	}
	return nil
}

// startTLS goes to TLS when the policy wants it and the server can.
func (a *attempt) startTLS(ctx context.Context, s *session) bool {
	required := s.pol.level >= LevelEncrypt
	offered := s.feat&featStartTLS != 0
	if s.pol.level >= LevelMay && offered && a.c.tls != nil {
		r, err := s.command("STARTTLS", a.c.Settings.StartTLSTimeout, nil)
		if err != nil {
			a.ioFail(ctx, s, err, "receiving the STARTTLS response")
			return false
		}
		if r.class() == 2 {
			return a.handshake(ctx, s) && a.ehlo(ctx, s)
		}
		if s.pol.require >= requireStartTLS {
			return a.noStartTLS(s, "5.7.10", "host "+s.name+" refused to start TLS: "+r.line())
		}
		if required {
			a.tlsText = "!" + s.pol.level.String()
			a.bulkFail(s, replyFailure(&r, s.t.host, "TLS is required, but host "+s.name+" refused to start TLS: ", ""), failThrottle)
			return false
		}
	}
	if offered && s.pol.level == LevelNone && a.c.Settings.TLSNoteOffer {
		a.d.Logger.Infof("Host offered STARTTLS: [%s]", s.t.host)
	}
	switch {
	case s.pol.require >= requireStartTLS && !offered:
		return a.noStartTLS(s, "5.7.30", "TLS service was not offered by host "+s.name)
	case s.pol.require >= requireStartTLS && s.pol.level == LevelNone:
		a.bulkFail(s, newFailure("4.7.0", "TLS is required, but unavailable"), failThrottle)
		return false
	case required && !offered:
		a.tlsText = "!" + s.pol.level.String()
		a.bulkFail(s, newFailure("4.7.4", "TLS is required, but was not offered by host "+s.name), failThrottle)
		return false
	case required:
		a.bulkFail(s, newFailure("4.7.5", "TLS is required, but our TLS engine is unavailable"), failThrottle)
		return false
	}
	a.tlsText = s.pol.asked.String()
	if s.pol.asked != LevelNone {
		a.tlsText += ":none"
	}
	return true
}

// handshake makes the connection a TLS connection. What the server said before
// is forgotten; what it said ahead of the handshake breaks it (CVE-2021-38371).
func (a *attempt) handshake(ctx context.Context, s *session) bool {
	early := s.rd.buffered() > 0
	var res tlsResult
	err := errors.New("data ahead of the TLS handshake")
	if !early {
		tctx, cancel := context.WithTimeout(ctx, a.c.Settings.StartTLSTimeout)
		setDeadline(s.conn, a.c.Settings.StartTLSTimeout)
		res, err = a.c.tls.handshake(tctx, s.conn, &s.pol, s.t.host, a.site.host)
		cancel()
	}
	if err != nil {
		s.broken = true
		if ctx.Err() != nil {
			a.bulkFail(s, interrupted, failFinal)
			return false
		}
		a.d.Logger.Infof("SSL_connect error to %s: %v", s.relay, err)
		if a.mayFallBack(s) && !a.c.Settings.TLSWrapperMode {
			a.retry()
		}
		a.bulkFail(s, newFailure("4.7.5", "Cannot start TLS: handshake failure"), failThrottle)
		return false
	}
	s.conn, s.tls = res.conn, res.tls
	s.rd.reset(res.conn)
	s.feat &= featESMTP | featPIXDelay
	if a.c.logTLS() && errors.Is(res.err, tlsmgr.ErrUntrusted) {
		a.d.Logger.Infof("certificate verification failed for %s: %s", s.relay, tlsmgr.Reason(res.err))
	}
	if a.c.logTLS() {
		a.d.Logger.Emit(event.ClientTLS{Trust: res.trust, Server: s.relay, Session: res.describe()})
	}
	if res.err != nil {
		a.tlsText = "!" + s.pol.level.String()
		if a.noMatch(s, !errors.Is(res.err, tlsmgr.ErrUntrusted)) {
			return false
		}
		a.bulkFail(s, newFailure("4.7.5", "Server certificate not verified"), failThrottle)
		return false
	}
	a.tlsText = s.pol.asked.String()
	return true
}

// logTLS tells whether TLS sessions are logged.
func (c *Client) logTLS() bool {
	l := c.Settings.TLSLogLevel
	return l != "" && l[0] > '0' && l[0] <= '9'
}

// PolicyText describes the TLS policy for a next hop: the level and, when it
// differs from main.cf, what a policy table adds.
func (c *Client) PolicyText(ctx context.Context, nexthop mail.Nexthop) string {
	sites, err := parseSites(string(nexthop), c.Settings.TCPPort, c.LMTP)
	if err != nil {
		return "unknown: " + err.Error()
	}
	a := &attempt{c: c, site: &sites[0]}
	p, fail := a.policy(ctx, target{host: sites[0].host, path: sites[0].path})
	if fail != nil {
		return "unknown: " + fail.text
	}
	text := p.level.String()
	if len(p.match) > 0 {
		text += " match=" + strings.Join(p.match, ":")
	}
	return text
}
