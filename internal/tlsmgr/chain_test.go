package tlsmgr

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"postroad/internal/testkit"
)

// issue makes a certificate; what nobody signs vouches for itself. One without usages
// is for everything.
func issue(t *testing.T, name string, authority bool, by *testkit.Issued, usages ...x509.ExtKeyUsage) *testkit.Issued {
	t.Helper()
	c, err := by.Issue(name, nil, func(c *x509.Certificate) {
		if c.ExtKeyUsage = usages; authority {
			testkit.CA(c)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDepth bounds the authorities above a certificate, and trusts none that is
// not named.
func TestDepth(t *testing.T) {
	t.Parallel()
	root := issue(t, "root", true, nil)
	middle := issue(t, "middle", true, root)
	lower := issue(t, "lower", true, middle)
	leaf := issue(t, "mx.test", false, lower)
	file := files(t, root.Chain)[0]
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
		_, trust, err := c.Verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.Cert, lower.Cert, middle.Cert}},
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
		err = srv.verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.Cert, lower.Cert, middle.Cert}})
		if (err == nil) != (tt.err == nil) || tt.err == errChain && err != errChain {
			t.Errorf("depth %d of a client: %v", tt.depth, err)
		}
	}
}

// TestPurpose: the certificate of a server is not one of a client, unless the site
// says so.
func TestPurpose(t *testing.T) {
	t.Parallel()
	root := issue(t, "root", true, nil)
	file := files(t, root.Chain)[0]
	client := issue(t, "c.test", false, root, x509.ExtKeyUsageClientAuth)
	server := issue(t, "s.test", false, root, x509.ExtKeyUsageServerAuth)
	mail := issue(t, "m.test", false, root, x509.ExtKeyUsageEmailProtection)
	for _, tt := range []struct {
		leaf         *testkit.Issued
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
			if err := srv.verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{tt.leaf.Cert}}); (err == nil) != want {
				t.Errorf("%s, tls_trust_server_ccerts %v: %v", tt.leaf.Cert.Subject.CommonName, trust, err)
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
	root := issue(t, "root", true, nil)
	file := files(t, root.Chain)[0]
	one := x509.NewCertPool()
	one.AddCert(root.Cert)
	all := system.Clone()
	all.AddCert(root.Cert)
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
