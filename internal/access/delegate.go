package access

import (
	"fmt"
	"strconv"
	"time"

	"postroad/internal/mail"
	"postroad/internal/policy"
	"postroad/internal/wire"
)

// policyKey is the table key that the log shows for what a policy server said.
const policyKey = "policy query"

// lastDefault is the action when the default action of a policy server asks a
// policy server again.
const lastDefault = "451 4.3.5 Server configuration problem"

// checkPolicy asks a policy server and does what it says.
func checkPolicy(c *Checker, r *rule) outcome {
	if c.trace != nil {
		return dunno
	}
	req := c.e.requests.Get().(*policy.Request)
	defer c.e.requests.Put(req)
	cfg := r.policy.Config()
	req.Reset()
	c.describe(req, cfg)
	action, err := r.policy.Ask(c.ctx, req.Bytes(), c.warnf)
	c.key, c.datum = policyKey, policyKey
	if err == nil {
		return c.apply(r, action, c.scope)
	}
	c.defaults++
	defer func() { c.defaults-- }()
	if c.defaults > 1 {
		return c.apply(r, lastDefault, c.scope)
	}
	return c.apply(r, cfg.DefaultAction, c.scope)
}

// describe fills in the attributes of a request, in Postfix's order.
func (c *Checker) describe(out *policy.Request, cfg *policy.Config) {
	r, s := c.req, c.req.Session
	state, count := r.Stage, 0
	if state == "BDAT" {
		state = "DATA"
	}
	if state == "DATA" || state == afterContent {
		count = r.RcptCount
	}
	out.Add("request", "smtpd_access_policy")
	out.Add("protocol_state", state)
	out.Add("protocol_name", s.Proto())
	out.Add("client_address", s.Client.AddrString())
	out.Add("client_name", s.Client.Name)
	out.Add("client_port", portString(s.Client.Port))
	out.Add("reverse_client_name", s.Client.ReverseName)
	out.Add("server_address", serverAddress(s))
	out.Add("server_port", portString(s.Server.Port()))
	out.Add("helo_name", r.Helo)
	out.Add("sender", string(r.Sender))
	out.Add("recipient", string(r.Recipient))
	out.AddInt("recipient_count", int64(count))
	out.Add("queue_id", string(r.QueueID))
	out.Add("instance", r.Instance.String())
	out.AddInt("size", r.Size)
	out.Add("etrn_domain", r.ETRNDomain)
	out.Add("stress", c.stress())
	sasl := s.SASL
	if sasl == nil {
		sasl = &mail.SASL{}
	}
	out.Add("sasl_method", sasl.Method)
	out.Add("sasl_username", sasl.Username)
	out.Add("sasl_sender", sasl.Sender)
	describeTLS(out, s.TLS)
	out.Add("policy_context", cfg.Context)
	out.Add("compatibility_level", c.e.set.CompatLevel)
	out.Add("mail_version", c.e.set.MailVersion)
}

// describeTLS fills in what is known of the encryption. Names of a certificate
// count only when it is trusted; fingerprints prove themselves.
func describeTLS(out *policy.Request, t *mail.TLS) {
	if t == nil {
		t = &mail.TLS{}
	}
	subject, issuer := "", ""
	if t.PeerTrusted {
		subject, issuer = wire.EncodeXtext(t.PeerCN), wire.EncodeXtext(t.PeerIssuer)
	}
	out.Add("ccert_subject", subject)
	out.Add("ccert_issuer", issuer)
	out.Add("ccert_fingerprint", t.Fingerprint)
	out.Add("ccert_pubkey_fingerprint", t.KeyFingerprint)
	out.Add("encryption_protocol", t.Protocol)
	out.Add("encryption_cipher", t.Cipher)
	out.AddInt("encryption_keysize", int64(t.Bits))
}

// Instance tells a transaction from all others. The zero value is none.
type Instance struct {
	// PID is the number of the session in the log, Seq that of the transaction
	// in the session.
	PID, Seq int
	Began    time.Time
}

// String is the value of the attribute instance.
func (i Instance) String() string {
	if i.Began.IsZero() {
		return ""
	}
	return fmt.Sprintf("%x.%x.%x.%x", i.PID, i.Began.Unix(), i.Began.Nanosecond()/1000, i.Seq)
}

// stress is the value of the parameter as the session sees it.
func (c *Checker) stress() string {
	if c.req.Stress {
		return "yes"
	}
	return c.e.set.Stress
}

func serverAddress(s *mail.Session) string {
	if !s.Server.Addr().IsValid() {
		return ""
	}
	return s.Server.Addr().Unmap().String()
}

// portString is a port as the log has it.
func portString(port uint16) string {
	if port == 0 {
		return "unknown"
	}
	return strconv.Itoa(int(port))
}
