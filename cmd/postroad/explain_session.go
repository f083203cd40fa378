package main

import (
	"strings"

	"postroad/internal/cli"
	"postroad/internal/mail"
)

// session looks at what the session of a question needs before any restriction
// counts. It returns the reply that ends it, or nothing, and notes what the
// restrictions do not tell.
func (x *explanation) session(peer *mail.Session, q *cli.Question) (reply string) {
	set := x.srv.Settings
	x.noteTLS(peer)
	x.noteLogin(peer, q)
	for _, f := range []struct{ name, value string }{
		{"smtpd_milters", set.Milters}, {"smtpd_proxy_filter", set.ProxyFilter}, {"content_filter", x.set.ContentFilter},
	} {
		if f.value != "" {
			x.note("%s = %s sees the message too and is not asked", f.name, strings.Join(strings.Fields(f.value), " "))
		}
	}
	switch {
	case x.srv.DemandsTLS() && peer.TLS == nil:
		return "530 5.7.0 Must issue a STARTTLS command first"
	case set.HeloRequired && q.Helo == "":
		return "503 5.5.1 Error: send HELO/EHLO first"
	}
	return ""
}

// noteTLS says where the question and the service do not agree about TLS.
func (x *explanation) noteTLS(peer *mail.Session) {
	switch {
	case x.srv.Settings.TLSWrapper && peer.TLS == nil:
		peer.TLS = explainedTLS()
		x.note("the service has TLS around the session: it is taken for encrypted")
	case x.srv.TLS == nil && x.srv.DemandsTLS():
		x.note("the service demands TLS, which cannot be set up: it takes no mail")
	case x.srv.TLS == nil && peer.TLS != nil:
		x.note("the service has no TLS: a client cannot encrypt the session")
	}
}

// noteLogin says where the question and the service do not agree about logins.
func (x *explanation) noteLogin(peer *mail.Session, q *cli.Question) {
	set := x.srv.Settings
	switch {
	case q.User == "":
	case !set.AuthEnable:
		x.note("smtpd_sasl_auth_enable is off for this service: a client cannot log in")
	case set.AuthOnlyTLS && peer.TLS == nil:
		x.note("smtpd_tls_auth_only is on and the session is not encrypted: a client cannot log in")
	}
}

// explainedTLS is what a client of today negotiates.
func explainedTLS() *mail.TLS {
	return &mail.TLS{Protocol: "TLSv1.3", Cipher: "TLS_AES_256_GCM_SHA384", Bits: 256}
}
