package table

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Bounds of the connections to a directory.
const (
	maxLDAPConns = 8
	ldapIdle     = time.Minute
	// ldapAge is when a connection is replaced, so that a directory that was
	// left for another one is used again some time.
	ldapAge = 10 * time.Minute
	// ldapLookupTime bounds a lookup with all of its searches; each search is
	// bounded by the timeout of the table.
	ldapLookupTime = 5 * time.Minute
)

// ldapBinds has the values of bind.
var ldapBinds = map[string]ldapBindKind{
	"no": ldapBindNone, "none": ldapBindNone,
	"yes": ldapBindSimple, "simple": ldapBindSimple,
	"sasl": ldapBindSASL,
}

// ldapBindKind is how a client authenticates.
type ldapBindKind uint8

const (
	ldapBindNone ldapBindKind = iota
	ldapBindSimple
	ldapBindSASL
)

// ldapServers are the servers of a table, and how to become a client of one.
type ldapServers struct {
	list    []*ldapURL
	dial    dialer
	timeout time.Duration
	// startTLS encrypts connections to servers without ldaps.
	startTLS bool
	tls      *tls.Config
	// chase follows referrals to other servers.
	chase  bool
	bind   ldapBindKind
	dn     string
	secret string
	// mechanism is that of SASL.
	mechanism string
}

// newLDAPServers reads the settings of the servers.
func newLDAPServers(c *clientConfig, o *Options) *ldapServers {
	s := &ldapServers{list: parseLDAPServers(c, o), dial: new(net.Dialer).DialContext}
	s.timeout = time.Duration(c.number("timeout", 10, 0)) * time.Second
	if s.timeout == 0 {
		s.timeout = remoteTimeout
	}
	if v := c.number("version", 2, 2); v > 3 {
		o.warnf("%s: unknown LDAP version %d, using 3", c.name, v)
	}
	s.startTLS = c.yes("start_tls", false)
	s.chase = c.yes("chase_referrals", false)
	s.readBind(c)
	s.readTLS(c, o)
	return s
}

// readBind reads how the client authenticates.
func (s *ldapServers) readBind(c *clientConfig) {
	text := c.needed("bind", "yes")
	kind, known := ldapBinds[strings.ToLower(text)]
	if !known {
		c.fail("%s: unsupported parameter value: bind = %s", c.name, clip(text, 100))
	}
	s.bind, s.dn, s.secret = kind, c.text("bind_dn", ""), c.text("bind_pw", "")
	if kind != ldapBindSASL {
		return
	}
	for _, mechanism := range strings.Fields(c.text("sasl_mechs", "")) {
		if strings.EqualFold(mechanism, "EXTERNAL") {
			// RFC 4422 appendix A: the only text is the authorization identity.
			s.mechanism, s.dn, s.secret = "EXTERNAL", "", c.text("sasl_authz_id", "")
			return
		}
	}
	c.fail("%s: bind = sasl: Postroad has the SASL mechanism EXTERNAL only, and sasl_mechs does not name it", c.name)
}

// readTLS reads how connections are encrypted.
func (s *ldapServers) readTLS(c *clientConfig, o *Options) {
	encrypted := s.startTLS || s.chase
	for _, u := range s.list {
		encrypted = encrypted || u.encrypted
	}
	verify := c.yes("tls_require_cert", false)
	if !encrypted || c.err != nil {
		return
	}
	if c.text("tls_cipher_suite", "") != "" {
		o.warnf("%s: tls_cipher_suite is ignored: Go's TLS chooses", c.name)
	}
	s.tls = &tls.Config{InsecureSkipVerify: !verify}
	if err := s.readCerts(c, o, verify); err != nil {
		c.fail("%s: %w", c.name, err)
	}
}

// readCerts reads the files of the TLS settings.
func (s *ldapServers) readCerts(c *clientConfig, o *Options, verify bool) error {
	file, dir := c.text("tls_ca_cert_file", ""), c.text("tls_ca_cert_dir", "")
	if verify && file+dir != "" {
		pool := x509.NewCertPool()
		if err := addCerts(pool, o.path(file), o.path(dir), file != ""); err != nil {
			return err
		}
		s.tls.RootCAs = pool
	}
	cert, key := c.text("tls_cert", ""), c.text("tls_key", "")
	if cert == "" && key == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(o.path(cert), o.path(key))
	if err != nil {
		return fmt.Errorf("tls_cert, tls_key: %w", err)
	}
	s.tls.Certificates = []tls.Certificate{pair}
	return nil
}

// addCerts adds the certificates of a file, or of all files of a directory.
func addCerts(pool *x509.CertPool, file, dir string, useFile bool) error {
	names := []string{file}
	if !useFile {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("tls_ca_cert_dir: %w", err)
		}
		names = nil
		for _, e := range entries {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	found := false
	for _, name := range names {
		pem, err := readClientFile(name, os.Open)
		if err != nil && useFile {
			return fmt.Errorf("tls_ca_cert_file: open %s: %w", name, Reason(err))
		}
		found = pool.AppendCertsFromPEM([]byte(pem)) || found
	}
	if !found {
		return fmt.Errorf("no CA certificate in %s", strings.Join([]string{file, dir}, " "))
	}
	return nil
}

// open connects to the first server that works.
func (s *ldapServers) open(ctx context.Context) (*remoteConn, error) {
	var errs []error
	for _, u := range s.list {
		c, err := s.openOne(ctx, u)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// openOne makes a connection to one server, encrypted and authenticated as the
// table wants it.
func (s *ldapServers) openOne(ctx context.Context, u *ldapURL) (*remoteConn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c, err := s.connect(ctx, u)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if s.startTLS && !u.encrypted {
		if err := c.startTLS(ctx, s.tlsFor(u), s.timeout); err != nil {
			c.Close()
			return nil, fmt.Errorf("STARTTLS with %s: %w", u.address, err)
		}
	}
	if s.bind == ldapBindNone {
		return c, nil
	}
	if err := c.bind(s.dn, s.secret, s.mechanism, s.timeout); err != nil {
		c.Close()
		return nil, fmt.Errorf("bind to %s as \"%s\": %w", u.address, s.dn, err)
	}
	return c, nil
}

// connect makes a connection to one server; with ldaps it is encrypted.
func (s *ldapServers) connect(ctx context.Context, u *ldapURL) (*remoteConn, error) {
	conn, err := s.dial(ctx, u.network, u.address)
	if err != nil {
		return nil, &connectError{u.address, err}
	}
	if u.encrypted {
		secure := tls.Client(conn, s.tlsFor(u))
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &connectError{u.address, err}
		}
		conn = secure
	}
	return newRemoteConn(conn), nil
}

// tlsFor is the TLS configuration for a server.
func (s *ldapServers) tlsFor(u *ldapURL) *tls.Config {
	config := s.tls.Clone()
	config.ServerName = u.host
	return config
}
