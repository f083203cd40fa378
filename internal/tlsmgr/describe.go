package tlsmgr

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	_ "crypto/md5" // the digests
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
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

// digests are the hashes of fingerprints. The old ones are only to recognise what
// an old configuration lists.
var digests = map[string]crypto.Hash{
	"md5": crypto.MD5, "sha1": crypto.SHA1, "sha224": crypto.SHA224, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
	"sha512-224": crypto.SHA512_224, "sha512-256": crypto.SHA512_256,
	"sha3-224": crypto.SHA3_224, "sha3-256": crypto.SHA3_256, "sha3-384": crypto.SHA3_384, "sha3-512": crypto.SHA3_512,
}

// checkDigest refuses a digest that is not known; none is no fingerprints.
func checkDigest(param, name string) error {
	if _, ok := digests[strings.ToLower(name)]; !ok && name != "" {
		return &ConfigError{param, name, "no such digest"}
	}
	return nil
}

// Fingerprint gives the digest of data as Postfix writes it: upper case
// hexadecimal bytes with colons between them. An unknown digest gives nothing.
func Fingerprint(digest string, data []byte) string {
	kind, ok := digests[strings.ToLower(digest)]
	if !ok {
		return ""
	}
	h := kind.New()
	_, _ = h.Write(data) // never fails
	return strings.ReplaceAll(fmt.Sprintf("% X", h.Sum(nil)), " ", ":")
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
