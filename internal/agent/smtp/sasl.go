package smtp

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// saslRules say which mechanisms may be used.
type saslRules struct {
	plain, tls mechRules
	filter     []string
}

// mechRules are the words of smtp_sasl_security_options.
type mechRules struct{ noPlaintext, noAnonymous, noDictionary, noActive, mutual bool }

func newSASLRules(set *Settings) saslRules {
	return saslRules{plain: parseMechRules(set.SASLSecurityOptions), tls: parseMechRules(set.SASLTLSSecurityOptions), filter: set.SASLMechanismFilter}
}

func parseMechRules(words []string) mechRules {
	has := func(w string) bool {
		return slices.ContainsFunc(words, func(s string) bool { return strings.EqualFold(s, w) })
	}
	return mechRules{has("noplaintext"), has("noanonymous"), has("nodictionary"), has("noactive"), has("mutual_auth")}
}

// allows tells whether the rules let a mechanism that we know be used.
func (r mechRules) allows(mech string) bool {
	if r.mutual || r.noActive || r.noDictionary {
		return false
	}
	return mech == "CRAM-MD5" || !r.noPlaintext
}

// choose picks the best mechanism of those offered, or nothing.
func (r *saslRules) choose(offered string, overTLS bool) string {
	rules := r.plain
	if overTLS {
		rules = r.tls
	}
	words := strings.Fields(offered)
	for _, m := range []string{"CRAM-MD5", "PLAIN", "LOGIN"} {
		if slices.Contains(words, m) && rules.allows(m) && r.passes(m) {
			return m
		}
	}
	return ""
}

// passes tells whether the mechanism filter lets a mechanism pass: a list of
// names, "!" before those that do not.
func (r *saslRules) passes(mech string) bool {
	if len(r.filter) == 0 {
		return true
	}
	for _, f := range r.filter {
		name, not := strings.CutPrefix(f, "!")
		if strings.EqualFold(name, mech) || strings.EqualFold(name, "static:all") {
			return !not
		}
	}
	return false
}

// login authenticates when there is a password for this server.
func (a *attempt) login(ctx context.Context, s *session) bool {
	if !a.c.Settings.SASLEnable || s.feat&featAuth == 0 || a.c.Passwords == nil {
		return true
	}
	user, password, ok, err := a.password(ctx, s)
	if err != nil {
		s.broken = true
		a.bulkFail(s, newFailure("4.3.0", "local data error while talking to "+s.name), failThrottle)
		return false
	}
	if !ok {
		return true
	}
	mech := a.c.sasl.choose(s.mechs, s.tls != nil)
	if mech == "" {
		a.d.Logger.Warnf("SASL authentication failure: No worthy mechs found")
		a.bulkFail(s, newFailure("4.7.0", "SASL authentication failed; cannot authenticate to server "+s.name+": no mechanism available"), failThrottle)
		return false
	}
	r, err := s.authenticate(mech, user, password, a.c.Settings.HeloTimeout)
	switch {
	case err != nil:
		a.ioFail(ctx, s, err, "performing SASL authentication")
		return false
	case r.class() != 2:
		f := replyFailure(&r, s.t.host, "SASL authentication failed; server "+s.name+" said: ", "")
		if a.c.Settings.SASLSoftBounce {
			f.soften()
		}
		if r.class() != 4 && r.class() != 5 {
			f.dsn = "4.7.0"
		}
		a.bulkFail(s, f, failThrottle)
		return false
	}
	s.user = user
	return true
}

// password looks up user and password: by sender when asked for, by host, by
// the site as the configuration names it.
func (a *attempt) password(ctx context.Context, s *session) (user, password string, ok bool, err error) {
	var keys [4]string
	n := 0
	if a.c.Settings.SASLSenderDependent && !a.c.LMTP && a.d.Envelope.Sender != "" {
		keys[0], keys[1] = string(a.d.Envelope.Sender.Fold()), "@"+strings.ToLower(a.d.Envelope.Sender.Domain())
		n = 2
	}
	keys[n], keys[n+1] = s.t.host, a.site.name
	for _, k := range keys[:n+2] {
		value, found, err := a.c.Passwords.Find(ctx, k)
		if err != nil {
			return "", "", false, err
		}
		if found {
			delim := a.c.Settings.SASLDelimiter
			if delim == "" {
				delim = ":"
			}
			user, password, _ = strings.Cut(value, delim)
			return user, password, user != "", nil
		}
	}
	return "", "", false, nil
}

// notShown stands in a log for what a login is made of.
const notShown = "(not shown)"

// authenticate runs one mechanism (RFC 4954 4, RFC 4616, RFC 2195).
func (s *session) authenticate(mech, user, password string, timeout time.Duration) (reply, error) {
	b64 := base64.StdEncoding.EncodeToString
	if mech == "PLAIN" {
		return s.secret("AUTH PLAIN "+b64([]byte("\x00"+user+"\x00"+password)), "AUTH PLAIN "+notShown, timeout)
	}
	r, err := s.command("AUTH "+mech, timeout, nil)
	if err != nil || r.code != 334 {
		return r, err
	}
	if mech == "LOGIN" {
		r, err = s.secret(b64([]byte(user)), notShown, timeout)
		if err != nil || r.code != 334 {
			return r, err
		}
		return s.secret(b64([]byte(password)), notShown, timeout)
	}
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(r.text[min(4, len(r.text)):])))
	if err != nil {
		// RFC 4954 4: "*" cancels.
		return s.command("*", timeout, nil)
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write(challenge)
	return s.secret(b64([]byte(user+" "+hex.EncodeToString(mac.Sum(nil)))), notShown, timeout)
}
