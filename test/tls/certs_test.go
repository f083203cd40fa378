//go:build oracle

package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	chain []byte // what stands between it and the root
}

// issue makes a certificate for a name, or another authority.
func (a *authority) issue(t *testing.T, serial int64, name string, key crypto.Signer, change func(*x509.Certificate)) *authority {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, BasicConstraintsValid: true,
	}
	if change != nil {
		change(tmpl)
	}
	if a == nil {
		a = &authority{cert: tmpl, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{cert, key, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), a.chain...)}
}

// file writes the key and the chain.
func (a *authority) file(t *testing.T, path string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	must(t, err)
	must(t, os.WriteFile(path, append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), a.chain...), 0o600))
}

func isAuthority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.DNSNames = true, x509.KeyUsageCertSign, nil
}

func forClients(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
}

// certificates fills a directory: root.pem, the root alone; rsa.pem, ec.pem and
// sni.pem, keys with chains through an authority in between; client.pem and
// stranger.pem, of clients.
func certificates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ec := func() crypto.Signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		return key
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	var none *authority
	root := none.issue(t, 1, "Root", ec(), isAuthority)
	must(t, os.WriteFile(filepath.Join(dir, "root.pem"), root.chain, 0o644))
	root.chain = nil // nobody sends it
	between := root.issue(t, 2, "Between", ec(), isAuthority)
	between.issue(t, 3, "mx.test", rsaKey, nil).file(t, filepath.Join(dir, "rsa.pem"))
	between.issue(t, 4, "mx.test", ec(), nil).file(t, filepath.Join(dir, "ec.pem"))
	between.issue(t, 5, "sni.test", ec(), nil).file(t, filepath.Join(dir, "sni.pem"))
	between.issue(t, 6, "client.test", ec(), forClients).file(t, filepath.Join(dir, "client.pem"))
	deep := between
	for i := range int64(4) {
		deep = deep.issue(t, 10+i, fmt.Sprintf("Deep %d", i), ec(), isAuthority)
	}
	deep.issue(t, 20, "deep.test", ec(), forClients).file(t, filepath.Join(dir, "deep.pem"))
	none.issue(t, 7, "stranger.test", ec(), forClients).file(t, filepath.Join(dir, "stranger.pem"))
	return dir
}
