package smtp

import (
	"context"
	"errors"
	"strings"

	"postroad/internal/mail"
)

// requirement is how REQUIRETLS is enforced (RFC 8689 4.2), in rising order.
type requirement uint8

const (
	// requireOff: the sender did not ask, or the policy is "disable".
	requireOff requirement = iota
	// requireIfOffered asks the server when it can; requireStartTLS insists on TLS;
	// requireAll also on a matching certificate and on REQUIRETLS.
	requireIfOffered
	requireStartTLS
	requireAll
)

// requirements are the actions of smtp_requiretls_policy.
var requirements = map[string]requirement{
	"disable": requireOff, "opportunistic": requireIfOffered, "opportunistic+starttls": requireStartTLS, "enforce": requireAll,
}

// RequireItem is an item of smtp_requiretls_policy: a table, or an action when
// Table is nil.
type RequireItem struct {
	// Text is the item as it stands in main.cf.
	Text  string
	Table RequireTable
}

// RequireTable answers with the name of an action.
type RequireTable interface {
	Maps
	// FindParent is Find for ".parent" domains, which patterns are not asked.
	FindParent(ctx context.Context, key string) (value string, ok bool, err error)
}

var errRequirePolicy = errors.New("REQUIRETLS policy configuration error")

// requirement finds the policy for a next hop. Without one it is enforced.
func (c *Client) requirement(ctx context.Context, host string) (requirement, error) {
	param := c.proto() + "_requiretls_policy"
	for i := range c.RequireTLS {
		item := &c.RequireTLS[i]
		action, name := item.Text, param
		if item.Table != nil {
			var found bool
			var err error
			if action, found, err = findRequirement(ctx, item.Table, host); err != nil {
				c.Log.Warnf("%s: %s: table lookup error -- ignoring the remainder of this policy", param, item.Text)
				return requireAll, errRequirePolicy
			}
			if !found {
				continue
			}
			name = item.Text
		}
		if r, known := requirements[strings.ToLower(action)]; known {
			return r, nil
		}
		c.Log.Warnf("%s: unknown policy action: '%s' -- ignoring the remainder of this policy", name, action)
		return requireAll, errRequirePolicy
	}
	return requireAll, nil
}

// findRequirement asks one table for a host and the domains above it.
func findRequirement(ctx context.Context, t RequireTable, host string) (string, bool, error) {
	value, found, err := t.Find(ctx, host)
	for rest := host; err == nil && !found; {
		i := strings.IndexByte(rest[1:], '.')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		value, found, err = t.FindParent(ctx, rest)
	}
	return value, found, err
}

// wantsRequireTLS and waivesTLS are what the sender of the message said that is
// obeyed here; the former wins (RFC 8689 4.1).
func (a *attempt) wantsRequireTLS() bool {
	return a.d != nil && a.d.Envelope.RequireTLS && a.c.Common.RequireTLS
}

func (a *attempt) waivesTLS() bool {
	return a.d != nil && a.d.Envelope.TLSOptional && a.c.Common.TLSOptional && !a.wantsRequireTLS()
}

// require adds what REQUIRETLS asks of a server to the policy for it. It fails
// when the TLS level could never fulfil it.
func (a *attempt) require(ctx context.Context, p *policy, t target) *failure {
	a.requireText = ""
	if !a.wantsRequireTLS() {
		return nil
	}
	host := asciiHost(a.site.host)
	if t.path != "" {
		host = a.c.Common.MyHostname
	}
	r, err := a.c.requirement(ctx, host)
	last := ". The last attempted server was " + t.host
	switch p.require = r; {
	case err != nil:
		return newFailure("4.7.10", err.Error()+last)
	case r == requireAll && !p.level.matches():
		a.requireText = "/!requiretls:nocertmatch"
		return newFailure("5.7.10", a.noMatching(p, last))
	case r == requireStartTLS && p.level == LevelNone:
		a.requireText = "/!requiretls:noencryption"
		return newFailure("5.7.10", "Sender requested REQUIRETLS, but my configured TLS security level '"+p.level.String()+"' disables encryption"+last)
	case r != requireOff:
		a.requireText = "/requiretls?"
	}
	if r == requireStartTLS && !p.level.matches() {
		a.d.Logger.Infof("%s: %s", a.d.Envelope.ID, a.noMatching(p, last))
	}
	return nil
}

// warnf is for the log of the delivery, if this is one.
func (a *attempt) warnf(format string, args ...any) {
	if a.d != nil {
		a.d.Logger.Warnf(format, args...)
	}
}

// noMatching says that the TLS level asks for no certificate.
func (*attempt) noMatching(p *policy, last string) string {
	return "Sender requested REQUIRETLS, but my configured TLS security level '" + p.level.String() + "' disables certificate matching" + last
}

// matches tells whether the certificate has to be that of the server.
func (l Level) matches() bool { return l >= LevelDANEOnly }

// noStartTLS answers for a server that has no TLS where REQUIRETLS needs it; the
// next server may have it.
func (a *attempt) noStartTLS(s *session, dsn, text string) bool {
	if s.pol.level >= LevelEncrypt {
		a.tlsText = "!" + s.pol.level.String()
	}
	a.requireText = "/!requiretls:nostarttls"
	a.bulkFail(s, newFailure(dsn, "Sender requested REQUIRETLS, but "+text), failThrottle|failNextServer)
	return false
}

// noMatch answers for a server with the wrong certificate. It returns false when
// that is no matter of REQUIRETLS.
func (a *attempt) noMatch(s *session, trusted bool) bool {
	if s.pol.require == requireOff {
		return false
	}
	a.requireText = "/requiretls:nocertmatch"
	if s.pol.require != requireAll {
		return false
	}
	a.requireText = "/!requiretls:nocertmatch"
	word := "matching"
	if !trusted {
		word = "trusted"
	}
	a.bulkFail(s, newFailure("5.7.10", "Sender requested REQUIRETLS, but no "+word+
		" server certificate was found. The last attempted server was "+s.name), failThrottle|failNextServer)
	return true
}

// required decides about REQUIRETLS when it is known what the server can do.
func (a *attempt) required(s *session) bool {
	s.pol.ask = false
	if s.pol.require == requireOff {
		return true
	}
	offered := s.tls != nil && s.feat&featRequireTLS != 0
	switch {
	case offered && s.pol.level.matches():
		a.requireText = "/requiretls"
	case offered:
		a.requireText = "/requiretls:nocertmatch"
	case s.pol.require == requireAll:
		a.requireText = "/!requiretls:none"
		a.bulkFail(s, newFailure("5.7.30", "Sender requested REQUIRETLS, but no server was found that supports REQUIRETLS."+
			" The last attempted server was "+s.name), failNextServer)
		return false
	default:
		a.requireText = "/requiretls:none"
		if s.tls != nil {
			a.d.Logger.Infof("%s: Sender requested REQUIRETLS, but REQUIRETLS support was not offered by host %s", a.d.Envelope.ID, s.name)
		}
	}
	s.pol.ask = offered
	return true
}

// cacheKey is where the cache keeps sessions for this message: those that were
// opened under another rule about TLS are not for it.
func (a *attempt) cacheKey() string {
	switch {
	case a.wantsRequireTLS():
		return a.site.name + "\x00required"
	case a.waivesTLS():
		return a.site.name + "\x00optional"
	}
	return a.site.name
}

// tlsFeatures is the tls= of the log line.
func (a *attempt) tlsFeatures(r *mail.Result) {
	if a.c.Settings.LogTLSStatus && a.tlsText != "" {
		r.TLS = a.tlsText + a.requireText
	}
}
