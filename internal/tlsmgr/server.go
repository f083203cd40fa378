package tlsmgr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"

	"postroad/internal/mail"
)

// Server is the server side of TLS for one service of one generation.
type Server struct {
	// Level is never LevelNone.
	Level Level

	config  *tls.Config
	keys    *keyRing
	names   *nameRings
	roots   *x509.CertPool
	require bool
	digest  string
}

// ErrNoCertificate means that TLS is wanted but no certificate is configured.
var ErrNoCertificate = errors.New("no server certificate is configured, TLS is not available")

// ErrClientCert means that a client did not present a certificate that can be
// verified although it is required.
var ErrClientCert = errors.New("client certificate required but not verified")

// NewServer makes the server side of TLS. It returns nil without an error when
// the settings do not ask for TLS. A Config without certificate is an error:
// ErrNoCertificate, which a server at level may reports and lives with.
func NewServer(s *Settings) (*Server, error) {
	level, err := s.ServerLevel()
	if err != nil || level == LevelNone {
		return nil, err
	}
	certs, err := s.certificates()
	if err != nil {
		return nil, err
	}
	return newServer(s, level, newKeyRing(certs, s.certificates, s.Warn))
}

// NewServerWith is NewServer with a certificate in memory.
func NewServerWith(s *Settings, cert tls.Certificate) (*Server, error) {
	level, err := s.ServerLevel()
	if err != nil || level == LevelNone {
		return nil, err
	}
	return newServer(s, level, newKeyRing([]tls.Certificate{cert}, nil, s.Warn))
}

func newServer(s *Settings, level Level, keys *keyRing) (*Server, error) {
	srv := &Server{Level: level, keys: keys, digest: s.Digest}
	if s.Names != nil {
		srv.names = &nameRings{lookup: s.Names, read: s.Read, warn: s.warnf}
	}
	param, list := "smtpd_tls_protocols", s.Protocols
	cparam, grade, exclude := "smtpd_tls_ciphers", s.Ciphers, s.Exclude
	if level == LevelEncrypt {
		param, list = "smtpd_tls_mandatory_protocols", s.MandatoryProtocols
		cparam, grade = "smtpd_tls_mandatory_ciphers", s.MandatoryCiphers
		exclude += " " + s.MandatoryExclude
	}
	lowest, highest, err := ParseProtocols(param, list)
	if err != nil {
		return nil, err
	}
	ciphers, err := CipherSuites(cparam, grade, exclude)
	if err != nil {
		return nil, err
	}
	if srv.roots, err = loadRoots(s.CAFile, s.CAPath, s.AppendDefaultCA, s.Read); err != nil {
		return nil, err
	}
	srv.require = s.RequireCert && level == LevelEncrypt
	auth := tls.NoClientCert
	if s.AskCert || srv.require {
		// Asked for, looked at later: a certificate that cannot be verified
		// must not break opportunistic TLS.
		auth = tls.RequestClientCert
	}
	srv.config = &tls.Config{
		MinVersion: lowest, MaxVersion: highest, CipherSuites: ciphers,
		GetCertificate: srv.certificate, ClientAuth: auth, ClientCAs: srv.roots,
	}
	return srv, nil
}

// Files are the files with keys and certificates that the settings name, for the
// one who may read them.
func (s *Settings) Files() []string {
	names := append([]string(nil), s.ChainFiles...)
	if len(names) == 0 {
		names = []string{s.ECCertFile, s.ECKeyFile, s.CertFile, s.KeyFile}
	}
	var files []string
	for _, f := range append(names, s.CAFile) {
		if f != "" && !strings.EqualFold(f, "none") && !slices.Contains(files, f) {
			files = append(files, f)
		}
	}
	return files
}

// certificates loads what the settings name.
func (s *Settings) certificates() ([]tls.Certificate, error) {
	if len(s.ChainFiles) > 0 {
		return LoadChains(s.ChainFiles, s.Read)
	}
	var certs []tls.Certificate
	for _, pair := range [][2]string{{s.ECCertFile, s.ECKeyFile}, {s.CertFile, s.KeyFile}} {
		if pair[0] == "" || strings.EqualFold(pair[0], "none") {
			continue
		}
		cert, err := loadPair(pair[0], pair[1], s.Read)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, ErrNoCertificate
	}
	return certs, nil
}

// sortCerts puts elliptic curves first: their signatures cost a tenth of RSA's.
func sortCerts(certs []tls.Certificate) []tls.Certificate {
	var ec, other []tls.Certificate
	for _, c := range certs {
		if c.Leaf != nil && c.Leaf.PublicKeyAlgorithm != x509.RSA {
			ec = append(ec, c)
		} else {
			other = append(other, c)
		}
	}
	return append(ec, other...)
}

// certificate picks the certificate for a client, and notes what was picked.
func (s *Server) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	var certs []tls.Certificate
	if s.names != nil && hello.ServerName != "" {
		certs = s.names.get(hello.Context(), hello.ServerName)
	}
	if certs == nil {
		certs = s.keys.get()
	}
	cert := &certs[0]
	if len(certs) > 1 {
		// The name asked for does not matter any more: clients of mail servers
		// ask for the domain or the MX as they like.
		h := *hello
		h.ServerName = ""
		for i := range certs {
			if h.SupportsCertificate(&certs[i]) == nil {
				cert = &certs[i]
				break
			}
		}
	}
	if r, ok := hello.Conn.(*recorder); ok {
		r.signature, r.digest = signature(cert.Leaf, hello.SignatureSchemes)
	}
	return cert, nil
}

// recorder is the connection under a handshake; it takes notes of what the
// state of a connection does not tell.
type recorder struct {
	net.Conn
	signature, digest string
}

// Handshake does the server's part of a handshake on conn. The time limit is
// that of ctx.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (*tls.Conn, *mail.TLS, error) {
	rec := &recorder{Conn: conn}
	c := tls.Server(rec, s.config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	cs := c.ConnectionState()
	t := DescribeConn(cs)
	t.Signature, t.Digest = rec.signature, rec.digest
	t.CertAsked = s.config.ClientAuth != tls.NoClientCert
	describePeer(t, cs, s.digest)
	if t.PeerPresent {
		t.PeerTrusted = s.trusted(cs)
	}
	if s.require && !t.PeerTrusted {
		return c, t, ErrClientCert
	}
	return c, t, nil
}

// trusted verifies the chain of a client certificate.
func (s *Server) trusted(cs tls.ConnectionState) bool {
	if s.roots == nil {
		return false
	}
	inter := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		inter.AddCert(c)
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: s.roots, Intermediates: inter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}
