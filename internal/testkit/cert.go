package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"time"
)

// SelfSigned makes a certificate for the names, valid for a day around now.
func SelfSigned(names ...string) (tls.Certificate, error) {
	cert, key, err := SelfSignedPEM(names...)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// WriteSelfSigned makes a certificate for the names, in a file with its key before it,
// as smtpd_tls_chain_files wants them.
func WriteSelfSigned(path string, names ...string) error {
	cert, key, err := SelfSignedPEM(names...)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(key, cert...), 0o600)
}

// SelfSignedPEM makes a certificate and its key in PEM form.
func SelfSignedPEM(names ...string) (cert, key []byte, err error) {
	name := ""
	if len(names) > 0 {
		name = names[0]
	}
	var nobody *Issued
	c, err := nobody.Issue(name, nil, func(t *x509.Certificate) {
		t.DNSNames, t.ExtKeyUsage = names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	})
	if err != nil {
		return nil, nil, err
	}
	key, err = c.KeyPEM()
	return c.Chain, key, err
}

// Issued is a certificate with its key.
type Issued struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// Chain is it and what stands above it, in PEM form.
	Chain []byte
}

// Issue signs a certificate for a name, valid for a day around now, and as change
// wants it. Without a key one on an elliptic curve is made. What nobody issues signs
// itself.
func (by *Issued) Issue(name string, key crypto.Signer, change func(*x509.Certificate)) (*Issued, error) {
	if key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		key = k
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if change != nil {
		change(t)
	}
	if by == nil {
		by = &Issued{Cert: t, Key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by.Cert, key.Public(), by.Key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Issued{cert, key, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), by.Chain...)}, err
}

// KeyPEM is the key in PEM form.
func (by *Issued) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(by.Key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// CA makes the certificate that is issued one of an authority.
func CA(t *x509.Certificate) {
	t.IsCA, t.KeyUsage, t.DNSNames = true, x509.KeyUsageCertSign, nil
}
