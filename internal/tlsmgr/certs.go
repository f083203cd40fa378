package tlsmgr

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxPEM bounds a file of keys or certificates.
const maxPEM = 4 << 20

// LoadChains reads keys and certificates from files as smtpd_tls_chain_files
// holds them: each private key is followed by its certificate and the chain
// above it, in the same file or in the next.
func LoadChains(files []string, read ReadFile) ([]tls.Certificate, error) {
	var certs []tls.Certificate
	var key, chain []byte
	flush := func(file string) error {
		if key == nil && chain == nil {
			return nil
		}
		if key == nil {
			return fmt.Errorf("%s: certificate without a private key before it", file)
		}
		cert, err := tls.X509KeyPair(chain, key)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		certs = append(certs, cert)
		key, chain = nil, nil
		return nil
	}
	last := ""
	for _, file := range files {
		data, err := read.file(file)
		if err != nil {
			return nil, err
		}
		for {
			var b *pem.Block
			if b, data = pem.Decode(data); b == nil {
				break
			}
			switch {
			case strings.HasSuffix(b.Type, "PRIVATE KEY"):
				if err := flush(last); err != nil {
					return nil, err
				}
				key = pem.EncodeToMemory(b)
			case b.Type == "CERTIFICATE":
				chain = append(chain, pem.EncodeToMemory(b)...)
			}
			last = file
		}
	}
	if err := flush(last); err != nil {
		return nil, err
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate found in " + strings.Join(files, ", "))
	}
	return certs, nil
}

// loadPair reads a certificate file and its key file.
func loadPair(certFile, keyFile string, read ReadFile) (tls.Certificate, error) {
	if keyFile == "" {
		keyFile = certFile
	}
	certPEM, err := read.file(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := read.file(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s, %s: %w", certFile, keyFile, err)
	}
	return cert, nil
}

// ReadFile gives the content of a file. Keys may be readable by root only: then
// a process without rights has them read by another. nil reads by itself.
type ReadFile func(name string) ([]byte, error)

// file reads a bounded file.
func (read ReadFile) file(name string) ([]byte, error) {
	if read != nil {
		data, err := read(name)
		if len(data) > maxPEM {
			return nil, fmt.Errorf("%s: too large for a certificate file", name)
		}
		return data, err
	}
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxPEM {
		return nil, fmt.Errorf("%s: too large for a certificate file", name)
	}
	return os.ReadFile(name)
}

// loadRoots reads trusted certificates from a file and a directory, and adds those
// of the system when they are wanted too; without any of that nobody is trusted. A
// directory that cannot be read is only a note: nobody is trusted because of it.
func loadRoots(file, dir string, system bool, read ReadFile) (pool *x509.CertPool, note, err error) {
	pool = x509.NewCertPool()
	if system {
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, nil, err
		}
	}
	if file != "" {
		data, err := read.file(file)
		if err != nil {
			return nil, nil, err
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, nil, fmt.Errorf("%s: no certificate found", file)
		}
	}
	if dir != "" {
		var entries []os.DirEntry
		entries, note = os.ReadDir(dir)
		for _, e := range entries {
			// A file that is not a certificate is not an error in a directory.
			if data, err := read.file(filepath.Join(dir, e.Name())); err == nil {
				pool.AppendCertsFromPEM(data)
			}
		}
	}
	return pool, note, nil
}

// SelfSigned makes a certificate for hosts (names or addresses) with an ECDSA
// P-256 key, for a server that has been given none.
func SelfSigned(hosts []string) (certPEM, keyPEM []byte, err error) {
	if len(hosts) == 0 {
		return nil, nil, errors.New("tlsmgr: a certificate needs a name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hosts[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		// It is its own authority, so that it can be pinned as CAfile.
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(strings.Trim(h, "[]")); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(crypto.PrivateKey(key))
	if err != nil {
		return nil, nil, err
	}
	var c, k bytes.Buffer
	if err := errors.Join(pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.Encode(&k, &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return nil, nil, err
	}
	return c.Bytes(), k.Bytes(), nil
}
