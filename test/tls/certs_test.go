//go:build oracle

package tls

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"postroad/internal/testkit"
)

// issue makes a certificate.
func issue(t *testing.T, by *testkit.Issued, name string, key crypto.Signer, change func(*x509.Certificate)) *testkit.Issued {
	t.Helper()
	c, err := by.Issue(name, key, change)
	must(t, err)
	return c
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
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	file := func(name string, c *testkit.Issued) {
		key, err := c.KeyPEM()
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), append(key, c.Chain...), 0o600))
	}
	root := issue(t, nil, "Root", nil, testkit.CA)
	must(t, os.WriteFile(filepath.Join(dir, "root.pem"), root.Chain, 0o644))
	root.Chain = nil // nobody sends it
	between := issue(t, root, "Between", nil, testkit.CA)
	file("rsa.pem", issue(t, between, "mx.test", rsaKey, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment }))
	file("ec.pem", issue(t, between, "mx.test", nil, nil))
	file("sni.pem", issue(t, between, "sni.test", nil, nil))
	file("client.pem", issue(t, between, "client.test", nil, forClients))
	deep := between
	for i := range 4 {
		deep = issue(t, deep, fmt.Sprintf("Deep %d", i), nil, testkit.CA)
	}
	file("deep.pem", issue(t, deep, "deep.test", nil, forClients))
	file("stranger.pem", issue(t, nil, "stranger.test", nil, forClients))
	return dir
}
