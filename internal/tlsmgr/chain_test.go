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
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issue makes a certificate; signer nil makes an authority that vouches for itself.
// One without usages is for everything.
func issue(t *testing.T, name string, authority bool, signer *x509.Certificate, signerKey *ecdsa.PrivateKey, usages ...x509.ExtKeyUsage) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: authority, BasicConstraintsValid: true, ExtKeyUsage: usages,
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
		set := settings(t)
		set.CAFile, set.VerifyDepth = tt.ca, tt.depth
		srv, err := NewServer(&set)
		if err != nil {
			t.Fatal(err)
		}
		err = srv.verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf, lower, middle}})
		if (err == nil) != (tt.err == nil) || tt.err == errChain && err != errChain {
			t.Errorf("depth %d of a client: %v", tt.depth, err)
		}
	}
}

// TestPurpose: the certificate of a server is not one of a client, unless the site
// says so.
func TestPurpose(t *testing.T) {
	t.Parallel()
	root, rootKey := issue(t, "root", true, nil, nil)
	file := files(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))[0]
	client, _ := issue(t, "c.test", false, root, rootKey, x509.ExtKeyUsageClientAuth)
	server, _ := issue(t, "s.test", false, root, rootKey, x509.ExtKeyUsageServerAuth)
	mail, _ := issue(t, "m.test", false, root, rootKey, x509.ExtKeyUsageEmailProtection)
	for _, tt := range []struct {
		leaf         *x509.Certificate
		plain, trust bool
	}{{client, true, true}, {server, false, true}, {mail, false, false}} {
		for _, trust := range []bool{false, true} {
			set := settings(t)
			set.CAFile, set.TrustServerCerts = file, trust
			srv, err := NewServer(&set)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.plain || trust && tt.trust
			if err := srv.verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{tt.leaf}}); (err == nil) != want {
				t.Errorf("%s, tls_trust_server_ccerts %v: %v", tt.leaf.Subject.CommonName, trust, err)
			}
		}
	}
}

// TestAuthorities: who is trusted, and whom clients hear of.
func TestAuthorities(t *testing.T) {
	t.Parallel()
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	root, _ := issue(t, "root", true, nil, nil)
	file := files(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))[0]
	one := x509.NewCertPool()
	one.AddCert(root)
	all := system.Clone()
	all.AddCert(root)
	for _, tt := range []struct {
		name, file, dir string
		system          bool
		trusted, named  *x509.CertPool
		notes           int
	}{
		{"nobody", "", "", false, x509.NewCertPool(), x509.NewCertPool(), 0},
		{"file", file, "", false, one, one, 0},
		{"directory", "", filepath.Dir(file), false, one, x509.NewCertPool(), 0},
		{"system", file, "", true, all, one, 0},
		{"no directory", file, "/nonexistent", false, one, one, 1},
	} {
		set := settings(t)
		set.CAFile, set.CAPath, set.AppendCA = tt.file, tt.dir, tt.system
		srv, err := NewServer(&set)
		if err != nil {
			t.Fatal(err)
		}
		if !srv.roots.Equal(tt.trusted) || !srv.config.ClientCAs.Equal(tt.named) || len(srv.Notes) != tt.notes {
			t.Errorf("%s: notes %q", tt.name, srv.Notes)
		}
	}
	if _, err := NewClient(&ClientSettings{Ciphers: "medium", CAPath: "/nonexistent"}); err != nil {
		t.Errorf("client: %v", err)
	}
}

// TestFingerprints compares with openssl dgst.
func TestFingerprints(t *testing.T) {
	t.Parallel()
	for digest, want := range map[string]string{
		"md5": "90:01:50:98:3C:D2:4F:B0:D6:96:3F:7D:28:E1:7F:72", "sha224": "23:09:7D:22:34:05:D8:22",
		"SHA1": "A9:99:3E:36:47:06:81:6A:BA:3E:25:71", "sha256": "BA:78:16:BF:8F:01:CF:EA", "sha384": "CB:00:75:3F:45:A3:5E:8B", "sha512": "DD:AF:35:A1:93:61:7A:BA",
		"sha512-224": "46:34:27:0F:70:7B:6A:54", "sha512-256": "53:04:8E:26:81:94:1E:F9", "sha3-224": "E6:42:82:4C:3F:8C:F2:4A",
		"sha3-256": "3A:98:5D:A7:4F:E2:25:B2", "sha3-384": "EC:01:49:82:88:51:6F:C9", "sha3-512": "B7:51:85:0B:1A:57:16:8A",
	} {
		if got := Fingerprint(digest, []byte("abc")); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", digest, got, want)
		}
	}
	if got := Fingerprint("md4", []byte("abc")); got != "" {
		t.Errorf("md4: %s", got)
	}
}
