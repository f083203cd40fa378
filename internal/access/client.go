package access

import (
	"context"
	"errors"
	"net/netip"

	"postroad/internal/mail"
	"postroad/internal/rewrite"
)

// clientScope is the subject of rules about the client.
func (c *Checker) clientScope() scope {
	return scope{c.req.Session.Client.String(), classClient, c.scope.bare}
}

// addr is the address of the client.
func (c *Checker) addr() netip.Addr { return c.req.Session.Client.Addr }

func permitInterfaces(c *Checker, r *rule) outcome {
	if !c.e.deps.Rewrite.OwnAddress(c.addr()) {
		return dunno
	}
	return c.allow(r.name, c.clientScope())
}

func permitMynetworks(c *Checker, r *rule) outcome {
	hit, err := c.inMynetworks()
	if err != nil {
		return c.lookupFailed(err)
	}
	if !hit {
		return dunno
	}
	return c.allow(r.name, c.clientScope())
}

// inMynetworks tells whether the client is one of ours. A client whose name is
// not verified has no name here.
func (c *Checker) inMynetworks() (bool, error) {
	return c.e.mynetworks.MatchHost(c.ctx, c.req.Session.Client.Name, c.addr())
}

// lookupFailed is tryLater about what the list is about.
func (c *Checker) lookupFailed(err error) outcome {
	return c.tryLater(mail.Address(c.scope.subject), err)
}

func permitSASL(c *Checker, r *rule) outcome {
	if !c.e.set.SASLEnable || c.req.Session.SASL == nil {
		return dunno
	}
	return c.allow(r.name, scope{c.req.Session.Client.String(), classClient, ""})
}

func permitAllCerts(c *Checker, r *rule) outcome {
	t := c.req.Session.TLS
	if t == nil || !t.PeerTrusted {
		return dunno
	}
	return c.allow(r.name, c.clientScope())
}

func permitClientCerts(c *Checker, r *rule) outcome {
	t := c.req.Session.TLS
	if t == nil || !t.PeerPresent {
		return dunno
	}
	if c.e.certMaps.Empty() {
		c.warnf("%s requested, but \"relay_clientcerts\" is empty", r.name)
		return dunno
	}
	for _, print := range [2]string{t.Fingerprint, t.KeyFingerprint} {
		if print == "" {
			continue
		}
		hit, err := c.e.certMaps.Lookup(c.ctx, print)
		if err != nil {
			return c.lookupFailed(err)
		}
		if hit.Found {
			c.key = hit.Key
			return c.allow(r.name, c.clientScope())
		}
	}
	return dunno
}

func rejectUnknownClient(c *Checker, _ *rule) outcome {
	p := &c.req.Session.Client
	return c.unknownName(p.NameStatus, "4.7.25", "cannot find your hostname")
}

func rejectUnknownReverse(c *Checker, _ *rule) outcome {
	p := &c.req.Session.Client
	return c.unknownName(p.ReverseStatus, "4.7.1", "cannot find your reverse hostname")
}

// unknownName refuses a client without a name; when the DNS could not tell, the
// client shall try again whatever the reply code is set to.
func (c *Checker) unknownName(s mail.NameStatus, enhanced, text string) outcome {
	code := c.e.set.UnknownClientCode
	switch s {
	case mail.NameOK:
		return dunno
	case mail.NameTempFail:
		code = 450
	}
	return c.reject(byPolicy, mail.Status{
		Code: code, Enhanced: enhanced,
		Text: "Client host rejected: " + text + ", [" + c.req.Session.Client.AddrString() + "]",
	})
}

// RewriteContext tells whose names complete the addresses in the headers of a
// message from this client: local_header_rewrite_clients. An error means try
// later.
func (c *Checker) RewriteContext(ctx context.Context, r *Request) (rewrite.Context, error) {
	quiet := *r
	quiet.Log = nil
	c.begin(ctx, &quiet, "CONNECT")
	c.reset()
	o := c.run(c.e.rewriteClients, scope{r.Session.Client.String(), classClient, tableNone})
	v := c.end(o)
	switch {
	case o == refuse && v.Cause != nil:
		return rewrite.Remote, v.Cause
	case o == refuse:
		return rewrite.Remote, errors.New("local_header_rewrite_clients: " + v.Status.String())
	case o == permit:
		return rewrite.Local, nil
	}
	return rewrite.Remote, nil
}

// checkAddressMap permits a client whose address is in a table, whatever the
// table says about it.
func checkAddressMap(c *Checker, r *rule) outcome {
	hit, err := r.maps.Lookup(c.ctx, c.req.Session.Client.AddrString())
	if err != nil {
		return c.lookupFailed(err)
	}
	if !hit.Found {
		return dunno
	}
	c.key = hit.Key
	return c.allow(r.name, c.clientScope())
}
