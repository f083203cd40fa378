package access

import (
	"strings"

	"postroad/internal/mail"
	"postroad/internal/postconf"
	"postroad/internal/table"
)

func rejectLoginMismatch(c *Checker, _ *rule) outcome {
	if o := c.authMismatch(false); o != dunno {
		return o
	}
	return c.unauthMismatch()
}

func rejectAuthMismatch(c *Checker, _ *rule) outcome { return c.authMismatch(false) }

func rejectUnauthMismatch(c *Checker, _ *rule) outcome { return c.unauthMismatch() }

func rejectKnownMismatch(c *Checker, r *rule) outcome {
	if !c.hasLogins(r.name) {
		return dunno
	}
	if c.login() != "" {
		return c.authMismatch(true)
	}
	return c.unauthMismatch()
}

// login is the name under which the client logged in.
func (c *Checker) login() string {
	if c.req.Session.SASL == nil {
		return ""
	}
	return c.req.Session.SASL.Username
}

// hasLogins tells whether clients may log in; if not, a rule about logins says
// that it has no effect.
func (c *Checker) hasLogins(rule string) bool {
	if !c.e.set.SASLEnable {
		c.warnf("restriction `%s' ignored: no SASL support", rule)
	}
	return c.e.set.SASLEnable
}

// authMismatch refuses a sender address that does not belong to the login name;
// without tables nothing belongs to anybody.
func (c *Checker) authMismatch(allowUnknown bool) outcome {
	user := c.login()
	if !c.hasLogins("reject_authenticated_sender_login_mismatch") || c.req.Sender == "" || user == "" {
		return dunno
	}
	hit, err := c.owners()
	if err != nil {
		return c.tryLater(c.req.Sender, err)
	}
	if !hit.Found && allowUnknown {
		return dunno
	}
	for _, name := range postconf.SplitList(hit.Value) {
		if strings.EqualFold(name, user) {
			return dunno
		}
	}
	return c.notOwned("not owned by user " + user)
}

// unauthMismatch refuses a sender address with an owner from a client that has
// not logged in.
func (c *Checker) unauthMismatch() outcome {
	if !c.hasLogins("reject_unauthenticated_sender_login_mismatch") || c.req.Sender == "" || c.login() != "" {
		return dunno
	}
	hit, err := c.owners()
	if err != nil {
		return c.tryLater(c.req.Sender, err)
	}
	if !hit.Found {
		return dunno
	}
	return c.notOwned("not logged in")
}

// owners looks up who owns the sender address.
func (c *Checker) owners() (table.Hit, error) {
	res, err := c.resolve(c.req.Sender)
	if err != nil {
		return table.Hit{}, err
	}
	hit, err := c.e.loginMaps.LookupAddress(c.ctx, res.Recipient, c.e.search)
	c.key = hit.Key
	return hit, err
}

func (c *Checker) notOwned(text string) outcome {
	return c.reject(byPolicy, mail.Status{
		Code: 553, Enhanced: "5.7.1", Text: "<" + string(c.req.Sender) + ">: Sender address rejected: " + text,
	})
}
