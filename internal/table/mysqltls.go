package table

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/go-sql-driver/mysql"
)

// mysqlTLS are the tls_* settings of a mysql: table.
type mysqlTLS struct {
	// files are the settings as written, to tell logins apart.
	files  [5]string
	verify bool
	// config is nil when no setting asks for TLS.
	config *tls.Config
}

// readMySQLTLS reads the tls_* settings. With any of them TLS is demanded. As with
// MariaDB's client library the certificate of the server must be signed by a given
// authority; tls_verify_cert has its name checked too, and without both TLS protects
// from listeners only.
func readMySQLTLS(c *clientConfig, o *Options) mysqlTLS {
	var t mysqlTLS
	for i, name := range []string{"tls_key_file", "tls_cert_file", "tls_CAfile", "tls_CApath", "tls_ciphers"} {
		t.files[i] = c.text(name, "")
	}
	t.verify = c.yes("tls_verify_cert", false)
	if t.files == [5]string{} && !t.verify {
		return t
	}
	t.config = &tls.Config{InsecureSkipVerify: !t.verify}
	if t.files[4] != "" {
		o.warnf("%s: tls_ciphers is ignored: TLS 1.2 and 1.3 are used with their safe ciphers", c.name)
	}
	if key, cert := t.files[0], t.files[1]; key != "" || cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			c.fail("%s: tls_cert_file %s, tls_key_file %s: %w", c.name, cert, key, Reason(err))
			return t
		}
		t.config.Certificates = []tls.Certificate{pair}
	}
	roots, err := readRoots(t.files[2], t.files[3])
	if err != nil {
		c.fail("%s: %w", c.name, err)
		return t
	}
	if t.config.RootCAs = roots; roots != nil && !t.verify {
		t.config.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, roots) }
	}
	return t
}

// verifyChain checks who signed the certificate of a server, and not its name.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	chain := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		chain.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: chain})
	return err
}

// readRoots reads the certificates of a file, or else of all files of a directory;
// without both the system's count.
func readRoots(file, dir string) (*x509.CertPool, error) {
	var files []string
	switch {
	case file != "":
		files = []string{file}
	case dir != "":
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("tls_CApath %s: %w", dir, Reason(err))
		}
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
	default:
		return nil, nil
	}
	roots, found := x509.NewCertPool(), false
	for _, name := range files {
		text, err := readClientFile(name, os.Open)
		if err != nil {
			return nil, fmt.Errorf("certificates %s: %w", name, Reason(err))
		}
		found = roots.AppendCertsFromPEM([]byte(text)) || found
	}
	if !found {
		return nil, fmt.Errorf("no certificates in %s%s", file, dir)
	}
	return roots, nil
}

// apply puts the settings into those of a server. A server on another machine gets
// TLS when it can, even if no setting asks for it.
func (t mysqlTLS) apply(cfg *mysql.Config) {
	host, _, _ := net.SplitHostPort(cfg.Addr)
	switch {
	case t.config != nil:
		cfg.TLS = t.config.Clone()
		if cfg.TLS.ServerName = host; cfg.Net == "unix" {
			cfg.TLS.ServerName = "localhost"
		}
	case cfg.Net == "tcp" && !isLoopback(host):
		cfg.TLS = &tls.Config{InsecureSkipVerify: true, ServerName: host}
		cfg.AllowFallbackToPlaintext = true
	}
}

// isLoopback tells whether an address is one of this machine.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
