package tlsmgr

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"postroad/internal/mail"
)

// DescribeConn describes an established connection in OpenSSL's words.
func DescribeConn(cs tls.ConnectionState) *mail.TLS {
	t := &mail.TLS{Protocol: versionName(cs.Version), ServerName: cs.ServerName}
	t.Cipher, t.Bits = cipherName(cs.CipherSuite)
	if cs.Version >= tls.VersionTLS13 {
		t.Curve = curveName(cs.CurveID)
	}
	return t
}

// describePeer adds what there is to say about the certificate of the peer.
func describePeer(t *mail.TLS, cs tls.ConnectionState, digest string) {
	if len(cs.PeerCertificates) == 0 {
		return
	}
	leaf := cs.PeerCertificates[0]
	t.PeerPresent = true
	t.PeerCN, t.PeerIssuer = leaf.Subject.CommonName, leaf.Issuer.CommonName
	if t.PeerIssuer == "" && len(leaf.Issuer.Organization) > 0 {
		t.PeerIssuer = leaf.Issuer.Organization[0]
	}
	t.Fingerprint = Fingerprint(digest, leaf.Raw)
	t.KeyFingerprint = Fingerprint(digest, leaf.RawSubjectPublicKeyInfo)
}

// Fingerprint gives the digest of data as Postfix writes it: upper case
// hexadecimal bytes with colons between them. An unknown digest gives nothing.
func Fingerprint(digest string, data []byte) string {
	var sum []byte
	switch strings.ToLower(digest) {
	case "md5": // only to recognise what an old configuration lists
		s := md5.Sum(data)
		sum = s[:]
	case "sha1":
		s := sha1.Sum(data)
		sum = s[:]
	case "sha256":
		s := sha256.Sum256(data)
		sum = s[:]
	case "sha384":
		s := sha512.Sum384(data)
		sum = s[:]
	case "sha512":
		s := sha512.Sum512(data)
		sum = s[:]
	}
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// Summary is the description of a connection as Postfix logs it.
func Summary(t *mail.TLS) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s with cipher %s (%d/%d bits)", t.Protocol, t.Cipher, t.Bits, t.Bits)
	if t.Curve != "" {
		b.WriteString(" key-exchange " + t.Curve)
		if t.Signature != "" {
			b.WriteString(" server-signature " + t.Signature)
		}
		if t.Digest != "" {
			b.WriteString(" server-digest " + t.Digest)
		}
	}
	return b.String()
}

// Trust is the word for the peer's certificate: Anonymous, Untrusted, Trusted.
func Trust(t *mail.TLS) string {
	switch {
	case !t.PeerPresent:
		return "Anonymous"
	case t.PeerTrusted:
		return "Trusted"
	}
	return "Untrusted"
}

// curveName names a key exchange.
func curveName(id tls.CurveID) string {
	switch id {
	case 0:
		return ""
	case tls.X25519:
		return "X25519"
	case tls.X25519MLKEM768:
		return "X25519MLKEM768"
	case tls.CurveP256:
		return "ECDHE (prime256v1)"
	case tls.CurveP384:
		return "ECDHE (secp384r1)"
	case tls.CurveP521:
		return "ECDHE (secp521r1)"
	}
	return id.String()
}

// signature names the signature that a key makes in TLS 1.3, and its hash. For
// RSA the hash is the first one that the peer lists.
func signature(leaf *x509.Certificate, peer []tls.SignatureScheme) (name, digest string) {
	if leaf == nil {
		return "", ""
	}
	switch k := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return "ECDSA (prime256v1)", "SHA256"
		case 384:
			return "ECDSA (secp384r1)", "SHA384"
		case 521:
			return "ECDSA (secp521r1)", "SHA512"
		}
	case ed25519.PublicKey:
		return "ED25519", ""
	case *rsa.PublicKey:
		name = fmt.Sprintf("RSA-PSS (%d bits)", k.N.BitLen())
		for _, s := range peer {
			switch s {
			case tls.PSSWithSHA256:
				return name, "SHA256"
			case tls.PSSWithSHA384:
				return name, "SHA384"
			case tls.PSSWithSHA512:
				return name, "SHA512"
			}
		}
		return name, "SHA256"
	}
	return "", ""
}
