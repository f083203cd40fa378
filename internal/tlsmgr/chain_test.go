package tlsmgr

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"
)

// issue makes a certificate; signer nil makes an authority that vouches for itself.
func issue(t *testing.T, name string, authority bool, signer *x509.Certificate, signerKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: authority, BasicConstraintsValid: true,
	}
	if signer == nil {
		signer, signerKey = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// TestDepth bounds the authorities above a certificate, and trusts none that is
// not named.
func TestDepth(t *testing.T) {
	t.Parallel()
	root, rootKey := issue(t, "root", true, nil, nil)
	middle, middleKey := issue(t, "middle", true, root, rootKey)
	lower, lowerKey := issue(t, "lower", true, middle, middleKey)
	leaf, _ := issue(t, "mx.test", false, lower, lowerKey)
	file := files(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))[0]
	for _, tt := range []struct {
		ca    string
		depth int
		err   error
	}{
		{file, 9, nil}, {file, 1, nil}, {file, 0, errChain}, {"", 9, ErrUntrusted},
	} {
		c, err := NewClient(&ClientSettings{Ciphers: "medium", CAFile: tt.ca, VerifyDepth: tt.depth, Digest: "sha256"})
		if err != nil {
			t.Fatal(err)
		}
		_, trust, err := c.Verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, lower, middle}},
			&Target{Level: LevelVerify, Names: []string{"mx.test"}})
		if !errors.Is(err, tt.err) || (tt.err == nil) != (trust == "Verified") {
			t.Errorf("depth %d: %s, %v", tt.depth, trust, err)
		}
	}
}
