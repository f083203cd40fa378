package tlsmgr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"postroad/internal/mail"
)

// Server is the server side of TLS for one service of one generation.
type Server struct {
	// Level is never LevelNone.
	Level Level

	// Notes are settings that the TLS library cannot do, for the administrator.
	Notes []string

	config  *tls.Config
	keys    *keyRing
	names   *nameRings
	tickets *ticketKeys
	// roots are the authorities that are trusted, named those that clients hear of.
	roots, named *x509.CertPool
	usages       []x509.ExtKeyUsage
	require      bool
	// depth is how many certificates may stand above that of a client.
	depth  int
	digest string
}

// ErrNoCertificate means that TLS is wanted but no certificate is configured.
var ErrNoCertificate = errors.New("no server certificate is configured, TLS is not available")

// Errors of a client without a certificate that can be verified although one is
// required. The handshake is over, and the client can be told.
var (
	ErrNoClientCert  = errors.New("no client certificate presented")
	ErrBadClientCert = errors.New("client certificate not trusted")
)

// IsClientCert tells whether an error is about the certificate of a client: then
// the handshake is over, and the connection can be used to say so.
func IsClientCert(err error) bool {
	return errors.Is(err, ErrNoClientCert) || errors.Is(err, ErrBadClientCert)
}

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
	srv := &Server{Level: level, keys: keys, digest: s.Digest, depth: s.VerifyDepth, usages: clientUsages[:1]}
	if s.TrustServerCerts {
		srv.usages = clientUsages[:]
	}
	if s.Names != nil {
		srv.names = &nameRings{lookup: s.Names, read: s.Read, warn: s.warnf}
	}
	if err := checkDigest("smtpd_tls_fingerprint_digest", s.Digest); err != nil {
		return nil, err
	}
	versions, err := s.versions(level)
	if err != nil {
		return nil, err
	}
	ciphers, groups, err := s.choice(srv, level)
	if err != nil {
		return nil, err
	}
	if err := srv.authorities(s); err != nil {
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
		MinVersion: versions[0], MaxVersion: versions[len(versions)-1], CipherSuites: ciphers, CurvePreferences: groups,
		GetCertificate: srv.certificate, ClientAuth: auth, ClientCAs: srv.named,
	}
	noTicket := srv.options(s.Options)
	if noTicket || s.TicketTime <= 0 || s.TicketCipher == "" {
		srv.config.SessionTicketsDisabled = true
	} else {
		srv.tickets = &ticketKeys{lifetime: s.TicketTime}
	}
	srv.gaps(versions)
	return srv, nil
}

// authorities loads those that sign the certificates of clients. Clients hear of
// those in smtpd_tls_CAfile only: a list of all would be long.
func (s *Server) authorities(set *Settings) error {
	pool, note, err := loadRoots(set.CAFile, set.CAPath, set.AppendCA, set.Read)
	if err != nil {
		return err
	}
	if note != nil {
		s.Notes = append(s.Notes, "smtpd_tls_CApath: "+note.Error())
	}
	s.roots = pool
	s.named, _, err = loadRoots(set.CAFile, "", false, set.Read)
	return err
}

// versions are those that the level has.
func (s *Settings) versions(level Level) ([]uint16, error) {
	if level == LevelEncrypt {
		return Versions("smtpd_tls_mandatory_protocols", s.MandatoryProtocols)
	}
	return Versions("smtpd_tls_protocols", s.Protocols)
}

// choice gives the cipher suites and the key exchanges of the level, and notes
// what of the settings cannot be had.
func (s *Settings) choice(srv *Server, level Level) ([]uint16, []tls.CurveID, error) {
	groups, missing, err := s.curves()
	if err != nil {
		return nil, nil, err
	}
	if len(missing) > 0 {
		srv.Notes = append(srv.Notes, "tls_eecdh_auto_curves: the TLS library does not have "+strings.Join(missing, ", "))
	}
	param, grade, exclude := "smtpd_tls_ciphers", s.Ciphers, s.Exclude
	if level == LevelEncrypt {
		param, grade = "smtpd_tls_mandatory_ciphers", s.MandatoryCiphers
		exclude += " " + s.MandatoryExclude
	}
	grades := Grades{High: s.High, Medium: s.Medium}
	ciphers, missing, err := grades.Suites(param, grade, exclude)
	if err != nil {
		return nil, nil, err
	}
	from, _, _ := grades.list(param, grade) // no error: it was used above
	if text := missed(from, missing); text != "" {
		srv.Notes = append(srv.Notes, text)
	}
	return ciphers, groups, nil
}

// gaps serves versions that have another between them which is not to be spoken:
// the best one that the client has too is chosen as if there were no other.
func (s *Server) gaps(versions []uint16) {
	if int(versions[len(versions)-1]-versions[0])+1 == len(versions) {
		return
	}
	configs := map[uint16]*tls.Config{}
	for _, v := range versions {
		cfg := s.config.Clone()
		cfg.MinVersion, cfg.MaxVersion = v, v
		configs[v] = cfg
	}
	s.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, v := range slices.Backward(versions) {
			if slices.Contains(hello.SupportedVersions, v) {
				return configs[v], nil
			}
		}
		return configs[versions[0]], nil // which refuses it
	}
}

// clientUsages are the purposes of a client's certificate.
var clientUsages = [...]x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}

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
	if s.tickets != nil {
		s.tickets.turn(s.config, time.Now())
	}
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
	var cause error
	if t.PeerPresent {
		cause = s.verify(cs)
		t.PeerTrusted = cause == nil
	}
	switch {
	case !s.require || t.PeerTrusted:
		return c, t, nil
	case !t.PeerPresent:
		return c, t, ErrNoClientCert
	}
	return c, t, fmt.Errorf("%w: %w", ErrBadClientCert, cause)
}

// verify verifies the chain of a client certificate.
func (s *Server) verify(cs tls.ConnectionState) error {
	inter := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		inter.AddCert(c)
	}
	chains, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: s.roots, Intermediates: inter, KeyUsages: s.usages})
	if err == nil && shortest(chains) > s.depth+depthGrace {
		return errChain
	}
	return err
}

// depthGrace is what OpenSSL adds to the depth of a chain that Postfix asks for:
// one intermediate authority, and the root.
const depthGrace = 2

var errChain = errors.New("certificate chain too long")

// shortest tells how many certificates stand above the first one in the shortest
// of some chains.
func shortest(chains [][]*x509.Certificate) int {
	n := len(chains[0])
	for _, c := range chains {
		n = min(n, len(c))
	}
	return n - 1
}
