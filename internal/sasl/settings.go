package sasl

import (
	"context"
	"fmt"
	"strings"
)

// Settings are the main.cf parameters of the server side of SASL.
type Settings struct {
	// Type is dovecot, cyrus, or postroad for a lookup table.
	Type string `postconf:"smtpd_sasl_type"`
	// Path is the socket of Dovecot (relative to the queue directory,
	// unix:path or inet:host:port), the name of Cyrus's application, or the table.
	Path string `postconf:"smtpd_sasl_path"`
	// ConfigPath lists the directories of Cyrus's configuration files.
	ConfigPath string `postconf:"cyrus_sasl_config_path"`
	// Service is the protocol name that Dovecot and saslauthd are told.
	Service string `postconf:"smtpd_sasl_service"`
	// LocalDomain is the realm of a login name without one.
	LocalDomain string `postconf:"smtpd_sasl_local_domain"`
	// Hostname is the realm where Cyrus has no other.
	Hostname string `postconf:"myhostname"`
	// Options and TLSOptions are the security options without and with TLS.
	Options    []string `postconf:"smtpd_sasl_security_options"`
	TLSOptions []string `postconf:"smtpd_sasl_tls_security_options"`
	// MechanismFilter says which mechanisms may be used.
	MechanismFilter []string `postconf:"smtpd_sasl_mechanism_filter"`
	// Mechanisms are those of a lookup table.
	Mechanisms []string `postconf:"postroad_sasl_mechanisms"`
	// QueueDir is what socket paths are relative to.
	QueueDir string `postconf:"queue_directory"`
}

// property is a bit set of what a mechanism is, or of what a security option
// forbids or demands.
type property uint8

const (
	propPlaintext property = 1 << iota
	propActive
	propDictionary
	propAnonymous
	propForwardSecrecy
	propMutual
)

// optionNames are the words of the security options. Those that demand a
// property of a mechanism have want set.
var optionNames = [...]struct {
	word string
	prop property
	want bool
}{
	{"noplaintext", propPlaintext, false}, {"noactive", propActive, false},
	{"nodictionary", propDictionary, false}, {"noanonymous", propAnonymous, false},
	{"forward_secrecy", propForwardSecrecy, true}, {"mutual_auth", propMutual, true},
}

// rules are security options in a form to compare with.
type rules struct{ forbid, want property }

// parseOptions reads security options.
func parseOptions(param string, words []string) (rules, error) {
	var r rules
next:
	for _, w := range words {
		for _, o := range optionNames {
			if strings.EqualFold(w, o.word) {
				if o.want {
					r.want |= o.prop
				} else {
					r.forbid |= o.prop
				}
				continue next
			}
		}
		return r, fmt.Errorf("%s: unknown security option %q", param, w)
	}
	return r, nil
}

// allow tells whether a mechanism with these properties may be used.
func (r rules) allow(p property) bool { return p&r.forbid == 0 && p&r.want == r.want }

// mechanism is a mechanism that a backend knows.
type mechanism struct {
	name  string
	props property
}

// policy decides which mechanisms may be used.
type policy struct {
	plain, tls rules
	filter     Matcher // nil for all
}

// newPolicy reads the settings.
func newPolicy(s *Settings, list func(string, []string) (Matcher, error)) (policy, error) {
	var p policy
	var err error
	if p.plain, err = parseOptions("smtpd_sasl_security_options", s.Options); err != nil {
		return p, err
	}
	if p.tls, err = parseOptions("smtpd_sasl_tls_security_options", s.TLSOptions); err != nil {
		return p, err
	}
	if len(s.MechanismFilter) > 0 {
		p.filter, err = list("smtpd_sasl_mechanism_filter", s.MechanismFilter)
	}
	return p, err
}

// allows tells whether m may be used in a session with or without TLS. A
// mechanism that the filter cannot decide about now is not allowed now.
func (p *policy) allows(ctx context.Context, m mechanism, tls bool) bool {
	r := &p.plain
	if tls {
		r = &p.tls
	}
	return r.allow(m.props) && p.passes(ctx, m.name)
}

// passes asks the filter.
func (p *policy) passes(ctx context.Context, name string) bool {
	if p.filter == nil {
		return true
	}
	ok, err := p.filter.Match(ctx, name)
	return ok && err == nil
}

// names lists the mechanisms that may be used.
func (p *policy) names(ctx context.Context, all []mechanism, tls bool) []string {
	var out []string
	for _, m := range all {
		if p.allows(ctx, m, tls) {
			out = append(out, m.name)
		}
	}
	return out
}

// find looks a mechanism up by name.
func (p *policy) find(ctx context.Context, all []mechanism, name string, tls bool) (mechanism, error) {
	for _, m := range all {
		if strings.EqualFold(m.name, name) && p.allows(ctx, m, tls) {
			return m, nil
		}
	}
	return mechanism{}, ErrMechanism
}
