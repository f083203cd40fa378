package mail

import (
	"net/netip"
	"time"
)

// NameStatus says how a client's name was found.
type NameStatus uint8

const (
	// NameOK means that the name and the address confirm each other.
	NameOK NameStatus = iota
	// NameUnknown means that there is no such name (a permanent answer).
	NameUnknown
	// NameTempFail means that the resolver could not answer now.
	NameTempFail
	// NameForged means that the name does not resolve to the address.
	NameForged
)

// Session is what is known about a peer that speaks SMTP to us. smtpd writes
// it; every other room only reads it.
type Session struct {
	// Service is the first column of the master.cf line that accepted the peer.
	Service string
	// Client is what restrictions and headers see; Orig is what XFORWARD said.
	Client Peer
	// Forwarded is what an XFORWARD command of a trusted filter said about the
	// first hop, or nil. It is for the log and for the next filter only.
	Forwarded *Forwarded
	// Server is the local end of the connection.
	Server netip.AddrPort
	// Helo is the argument of the last HELO or EHLO, empty before.
	Helo string
	// ESMTP tells whether the greeting was EHLO.
	ESMTP bool
	// TLS is nil on a plaintext connection.
	TLS *TLS
	// SASL is nil before authentication.
	SASL *SASL
	// Connected is the time the connection was accepted.
	Connected time.Time
}

// Peer is one end of an SMTP connection by name and address.
type Peer struct {
	// Name is the verified name, or "unknown".
	Name string
	// ReverseName is the PTR name even when it does not resolve back, or "unknown".
	ReverseName string
	// NameStatus and ReverseStatus say why Name or ReverseName is unknown.
	NameStatus, ReverseStatus NameStatus
	// Addr is invalid for a local submission; Port is 0 then.
	Addr netip.Addr
	Port uint16
}

// String gives the form of the log: name[address].
func (p Peer) String() string { return p.Name + "[" + p.AddrString() + "]" }

// AddrString gives the address as Postfix prints it, or "unknown".
func (p Peer) AddrString() string {
	if !p.Addr.IsValid() {
		return "unknown"
	}
	return p.Addr.Unmap().String()
}

// Forwarded holds the XFORWARD attributes of the current transaction.
type Forwarded struct {
	Name, Addr, Port, Proto, Helo, Ident, Source string
}

// SASL is a successful authentication.
type SASL struct {
	// Method is the mechanism in upper case; Username the login name; Sender
	// the AUTH= argument of MAIL FROM, empty when absent.
	Method, Username, Sender string
}

// TLS describes an established TLS session.
type TLS struct {
	// Protocol is written as OpenSSL does ("TLSv1.3"), Cipher by its IANA or
	// OpenSSL name, Bits is the strength of its key.
	Protocol, Cipher string
	Bits             int
	// Curve is the key exchange group, Signature the server's signature as
	// OpenSSL names it ("ECDSA (prime256v1)"), Digest its hash ("SHA256").
	Curve, Signature, Digest string
	// PeerCN, PeerIssuer and fingerprints are empty without a client certificate.
	PeerCN, PeerIssuer, Fingerprint, KeyFingerprint string
	// PeerPresent and PeerTrusted describe the client certificate; CertAsked
	// tells whether the server asked for one.
	PeerPresent, PeerTrusted, CertAsked bool
	// ServerName is what the client asked for (SNI).
	ServerName string
}

// Proto is the protocol name of the log and of policy requests: SMTP or ESMTP.
func (s *Session) Proto() string {
	if s.ESMTP {
		return "ESMTP"
	}
	return "SMTP"
}

// With is the protocol of a Received header (RFC 3848): SMTP, ESMTP, ESMTPS,
// ESMTPA, ESMTPSA, and UTF8SMTP forms of RFC 6531 4.3 when utf8 is set.
func (s *Session) With(utf8 bool) string {
	if !s.ESMTP {
		return "SMTP"
	}
	name := "ESMTP"
	if utf8 {
		name = "UTF8SMTP"
	}
	if s.TLS != nil {
		name += "S"
	}
	if s.SASL != nil {
		name += "A"
	}
	return name
}
