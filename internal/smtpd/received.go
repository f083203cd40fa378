package smtpd

import (
	"strings"
	"time"

	"postroad/internal/tlsmgr"
)

// received is the trace header of a message (RFC 5321 4.4, RFC 3848).
func (s *session) received() string {
	var b strings.Builder
	by := "by " + s.set.Hostname + " (" + s.set.MailName + ")"
	if s.set.HideClient {
		b.WriteString("Received: " + by)
		b.WriteString(s.idClause())
	} else {
		helo := s.peer.Helo
		if helo == "" {
			helo = s.peer.Client.Name
		}
		b.WriteString("Received: from " + helo + " (" + s.peer.Client.Name + " [" + s.addrLiteral() + "])")
		s.receivedTLS(&b)
		b.WriteString("\n\t" + by + " with " + s.peer.With(s.tx.params.SMTPUTF8) + s.idClause())
	}
	sep := ";\n\t"
	if s.tx.rcpts == 1 {
		b.WriteString("\n\tfor <" + printable(s.tx.first.External()) + ">")
		sep = "; "
	}
	b.WriteString(sep + time.Now().Format("Mon, 02 Jan 2006 15:04:05 -0700 (MST)"))
	return b.String()
}

// idClause is the queue id, for a message that has one here.
func (s *session) idClause() string {
	if s.tx.id == "" {
		return ""
	}
	return " id " + string(s.tx.id)
}

func (s *session) receivedTLS(b *strings.Builder) {
	if t := s.peer.TLS; t != nil && s.set.TLSHeader {
		b.WriteString("\n\t(using " + strings.Replace(tlsmgr.Summary(t), " key-exchange ", "\n\t key-exchange ", 1) + ")")
		switch {
		case t.PeerPresent && t.PeerTrusted:
			b.WriteString("\n\t(Client CN \"" + printable(t.PeerCN) + "\", Issuer \"" + printable(t.PeerIssuer) + "\" (verified OK))")
		case t.PeerPresent:
			b.WriteString("\n\t(Client CN \"" + printable(t.PeerCN) + "\", Issuer \"" + printable(t.PeerIssuer) + "\" (not verified))")
		case t.CertAsked:
			b.WriteString("\n\t(Client did not present a certificate)")
		default:
			b.WriteString("\n\t(No client certificate requested)")
		}
	}
	if a := s.peer.SASL; a != nil && s.set.AuthHeader {
		b.WriteString("\n\t(Authenticated sender: " + printable(a.Username) + ")")
	}
}

// addrLiteral is the client's address as RFC 5321 4.1.3 writes it.
func (s *session) addrLiteral() string {
	a := s.peer.Client.Addr
	if a.IsValid() && a.Unmap().Is6() {
		return "IPv6:" + a.String()
	}
	return s.peer.Client.AddrString()
}

// printable keeps a text on its line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
