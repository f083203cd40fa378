package tlsmgr

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"postroad/internal/mail"
)

// ClientSettings are what the client side of TLS needs. The smtp agent fills
// them from its own parameters (smtp_tls_... or lmtp_tls_...) and its policy.
type ClientSettings struct {
	// Protocols, Ciphers and Exclude hold for the level of the policy.
	Protocols, Ciphers, Exclude string
	// Grades are the cipher lists of the grades, Groups the key exchanges.
	Grades Grades
	Groups Groups
	// CAFile and CAPath hold the authorities; AppendCA adds those of the system.
	CAFile, CAPath string
	AppendCA       bool
	// VerifyDepth is how many certificates may stand above that of a server.
	VerifyDepth int
	// ManyLabels lets an asterisk in a certificate stand for several labels.
	ManyLabels bool
	// CertFile, KeyFile and ChainFiles are the client's own certificate.
	CertFile, KeyFile string
	ChainFiles        []string
	// Digest is the hash of fingerprints.
	Digest string
	// Read reads the files.
	Read ReadFile
}

// Client makes connections of one kind; it holds the sessions to resume.
type Client struct {
	base       *tls.Config
	roots      *x509.CertPool
	digest     string
	depth      int
	manyLabels bool
}

// clientSessions bounds the session cache of a Client.
const clientSessions = 1024

// NewClient makes the client side of TLS.
func NewClient(s *ClientSettings) (*Client, error) {
	lowest, highest, err := versionRange("protocols", s.Protocols)
	if err != nil {
		return nil, err
	}
	ciphers, _, err := s.Grades.Suites("ciphers", s.Ciphers, s.Exclude)
	if err != nil {
		return nil, err
	}
	groups, _, err := s.Groups.curves()
	if err != nil {
		return nil, err
	}
	if err := checkDigest("tls_fingerprint_digest", s.Digest); err != nil {
		return nil, err
	}
	c := &Client{digest: s.Digest, depth: s.VerifyDepth, manyLabels: s.ManyLabels}
	if c.roots, _, err = loadRoots(s.CAFile, s.CAPath, s.AppendCA, s.Read); err != nil {
		return nil, err
	}
	var certs []tls.Certificate
	switch {
	case len(s.ChainFiles) > 0:
		if certs, err = LoadChains(s.ChainFiles, s.Read); err != nil {
			return nil, err
		}
	case s.CertFile != "" && !strings.EqualFold(s.CertFile, "none"):
		cert, err := loadPair(s.CertFile, s.KeyFile, s.Read)
		if err != nil {
			return nil, err
		}
		certs = []tls.Certificate{cert}
	}
	c.base = &tls.Config{
		MinVersion: lowest, MaxVersion: highest, CipherSuites: ciphers, CurvePreferences: groups, Certificates: certs,
		// Verification follows the policy and is done by Verify: at the levels
		// may and encrypt any certificate will do.
		InsecureSkipVerify: true,
		ClientSessionCache: tls.NewLRUClientSessionCache(clientSessions),
	}
	return c, nil
}

// Target is a server and what is demanded of it.
type Target struct {
	Level Level
	// ServerName is sent as SNI and is the key of the session to resume.
	ServerName string
	// Names are accepted in the certificate at the levels verify and secure; a
	// name with a dot in front stands for all below it.
	Names []string
	// Fingerprints of certificate or public key, for the level fingerprint.
	Fingerprints []string
}

// Config is the configuration for a connection to t.
func (c *Client) Config(t *Target) *tls.Config {
	cfg := c.base.Clone()
	cfg.ServerName = t.ServerName
	return cfg
}

// Errors of Verify.
var (
	// ErrUntrusted means that no trusted authority vouches for the certificate.
	ErrUntrusted = errors.New("Server certificate not trusted")
	// ErrNotVerified means that the certificate is not that of the server meant.
	ErrNotVerified = errors.New("Server certificate not verified")
)

// Verify describes the connection and tells whether it meets the demands of t.
// The error is for the log and the delivery status; cause is its reason.
func (c *Client) Verify(cs tls.ConnectionState, t *Target) (desc *mail.TLS, trust string, err error) {
	desc = DescribeConn(cs)
	describePeer(desc, cs, c.digest)
	if len(cs.PeerCertificates) == 0 {
		return desc, "Anonymous", levelError(t.Level, ErrUntrusted, nil)
	}
	leaf := cs.PeerCertificates[0]
	desc.Signature, desc.Digest = signature(leaf, nil)
	if t.Level == LevelFingerprint {
		if c.fingerprint(desc, t) {
			return desc, "Verified", nil
		}
		return desc, "Untrusted", ErrNotVerified
	}
	cause := c.chain(cs)
	desc.PeerTrusted = cause == nil
	if cause != nil {
		return desc, "Untrusted", levelError(t.Level, ErrUntrusted, cause)
	}
	for _, name := range t.Names {
		if matchName(leaf, name, c.manyLabels) {
			return desc, "Verified", nil
		}
	}
	return desc, "Trusted", levelError(t.Level, ErrNotVerified, nil)
}

// levelError keeps the error only when the level cares.
func levelError(l Level, err, cause error) error {
	if l < LevelVerify {
		return nil
	}
	if cause != nil {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// fingerprint compares with the pinned certificates and keys.
func (c *Client) fingerprint(d *mail.TLS, t *Target) bool {
	for _, f := range t.Fingerprints {
		if f != "" && (strings.EqualFold(f, d.Fingerprint) || strings.EqualFold(f, d.KeyFingerprint)) {
			return true
		}
	}
	return false
}

// chain verifies the chain up to an authority.
func (c *Client) chain(cs tls.ConnectionState) error {
	inter := x509.NewCertPool()
	for _, cert := range cs.PeerCertificates[1:] {
		inter.AddCert(cert)
	}
	chains, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: c.roots, Intermediates: inter})
	if err == nil && shortest(chains) > c.depth+depthGrace {
		return errChain
	}
	return err
}

// matchName tells whether a certificate is for name. The common name counts
// when there are no alternative names, as Postfix does.
func matchName(cert *x509.Certificate, name string, manyLabels bool) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" {
		return false
	}
	names := cert.DNSNames
	if len(names) == 0 {
		names = []string{cert.Subject.CommonName}
	}
	for _, n := range names {
		n = strings.ToLower(strings.TrimSuffix(n, "."))
		switch {
		case n == "":
		case strings.HasPrefix(name, "."):
			if strings.HasSuffix(n, name) && len(n) > len(name) {
				return true
			}
		case n == name:
			return true
		case strings.HasPrefix(n, "*."):
			// One label stands for the asterisk (RFC 6125 6.4.3).
			if i := strings.IndexByte(name, '.'); i > 0 && name[i:] == n[1:] {
				return true
			}
			if manyLabels && len(name) > len(n)-1 && strings.HasSuffix(name, n[1:]) {
				return true
			}
		}
	}
	return false
}
