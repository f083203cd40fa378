package tlsmgr

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
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
	"slices"
	"strings"
	"testing"
	"time"

	"postroad/internal/mail"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	const v10, v11, v12, v13 = tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13
	tests := []struct {
		in   string
		want []uint16
		// lowest and highest are what a client offers of it.
		lowest, highest uint16
	}{
		{"", []uint16{v10, v11, v12, v13}, v10, v13}, {">=TLSv1", []uint16{v10, v11, v12, v13}, v10, v13}, {">=TLSv1.2", []uint16{v12, v13}, v12, v13},
		{"<=TLSv1.2", []uint16{v10, v11, v12}, v10, v12}, {">=TLSv1.2, <=TLSv1.2", []uint16{v12}, v12, v12},
		{"!SSLv2, !SSLv3", []uint16{v10, v11, v12, v13}, v10, v13}, {"!SSLv2,!SSLv3,!TLSv1,!TLSv1.1", []uint16{v12, v13}, v12, v13},
		{"TLSv1.2 TLSv1.3", []uint16{v12, v13}, v12, v13}, {"TLSv1.2", []uint16{v12}, v12, v12}, {"!SSLv2:!TLSv1.3", []uint16{v10, v11, v12}, v10, v12},
		{">=0303", []uint16{v12, v13}, v12, v13}, {">=tlsv1.0", []uint16{v10, v11, v12, v13}, v10, v13},
		{"!TLSv1.2", []uint16{v10, v11, v13}, v13, v13}, {"TLSv1, TLSv1.1, TLSv1.3", []uint16{v10, v11, v13}, v13, v13}, {"!TLSv1.1", []uint16{v10, v12, v13}, v12, v13},
		{"SSLv3", nil, 0, 0}, {">=TLSv1.4", nil, 0, 0}, {"<TLSv1.2", nil, 0, 0},
	}
	for _, tt := range tests {
		got, err := Versions("p", tt.in)
		if (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%q: %x, %v; want %x", tt.in, got, err, tt.want)
		}
		if lowest, highest, err := versionRange("p", tt.in); lowest != tt.lowest || highest != tt.highest || (err != nil) != (tt.want == nil) {
			t.Errorf("%q: a client offers %x to %x, %v; want %x to %x", tt.in, lowest, highest, err, tt.lowest, tt.highest)
		}
	}
}

// TestSuitesAreGos checks the table against what Go knows.
func TestSuitesAreGos(t *testing.T) {
	t.Parallel()
	known := append(tls.CipherSuites(), tls.InsecureCipherSuites()...)
	for _, list := range [][]suite{suites[:], suites13[:]} {
		for _, s := range list {
			if !slices.ContainsFunc(known, func(c *tls.CipherSuite) bool { return c.ID == s.id }) {
				t.Errorf("Go does not know %s", s.name)
			}
		}
	}
}

func TestServerLevel(t *testing.T) {
	t.Parallel()
	tests := []struct {
		set  Settings
		want Level
		bad  bool
	}{
		{Settings{}, LevelNone, false}, {Settings{Level: "none", UseTLS: true}, LevelNone, false}, {Settings{Level: "may"}, LevelMay, false},
		{Settings{Level: "encrypt"}, LevelEncrypt, false}, {Settings{Level: "verify"}, LevelEncrypt, false}, {Settings{Level: "Dane"}, LevelEncrypt, false}, {Settings{Level: "dane-only"}, LevelEncrypt, false}, {Settings{UseTLS: true}, LevelMay, false},
		{Settings{EnforceTLS: true}, LevelEncrypt, false}, {Settings{Wrapper: true}, LevelEncrypt, false}, {Settings{Level: "much"}, LevelNone, true},
	}
	for _, tt := range tests {
		if got, err := tt.set.ServerLevel(); got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%+v: %v, %v; want %v", tt.set, got, err, tt.want)
		}
	}
}

// rsaPair makes a certificate with an RSA key.
func rsaPair(t *testing.T, name string) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// selfSigned makes a certificate with an elliptic curve.
func selfSigned(t *testing.T, names ...string) (certPEM, keyPEM []byte) {
	t.Helper()
	certPEM, keyPEM, err := SelfSigned(names)
	if err != nil {
		t.Fatal(err)
	}
	return certPEM, keyPEM
}

// files writes files and returns their names.
func files(t *testing.T, contents ...[]byte) []string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for i, c := range contents {
		name := filepath.Join(dir, string(rune('a'+i))+".pem")
		if err := os.WriteFile(name, c, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func TestLoadChains(t *testing.T) {
	t.Parallel()
	ecCert, ecKey := selfSigned(t, "ec.test")
	rsaCert, rsaKey := rsaPair(t, "rsa.test")
	tests := []struct {
		name  string
		files [][]byte
		want  int
		err   string
	}{
		{"one file", [][]byte{slices.Concat(ecKey, ecCert)}, 1, ""},
		{"two in one file", [][]byte{slices.Concat(ecKey, ecCert, rsaKey, rsaCert)}, 2, ""},
		{"two files", [][]byte{slices.Concat(rsaKey, rsaCert), slices.Concat(ecKey, ecCert)}, 2, ""},
		{"key and chain apart", [][]byte{ecKey, ecCert}, 1, ""},
		{"certificate first", [][]byte{slices.Concat(ecCert, ecKey)}, 0, "certificate without a private key before it"},
		{"wrong key", [][]byte{slices.Concat(rsaKey, ecCert)}, 0, "private key"},
		{"nothing", [][]byte{[]byte("hello\n")}, 0, "no certificate found"},
	}
	for _, tt := range tests {
		got, err := LoadChains(files(t, tt.files...), nil)
		if len(got) != tt.want || (tt.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d chains, %v", tt.name, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s: the error shows a key", tt.name)
		}
	}
}

func TestNewServerErrors(t *testing.T) {
	t.Parallel()
	base := Settings{Level: "may", Ciphers: "medium", MandatoryCiphers: "medium"}
	if s, err := NewServer(&Settings{}); s != nil || err != nil {
		t.Errorf("no TLS: %v, %v", s, err)
	}
	set := base
	set.CertFile = "none"
	if _, err := NewServer(&set); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("no certificate: %v", err)
	}
	set.CertFile = "/nonexistent/cert.pem"
	if _, err := NewServer(&set); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	cert, key := selfSigned(t, "mx.test")
	f := files(t, cert, key)
	set.CertFile, set.KeyFile, set.Protocols = f[0], f[1], "SSLv3"
	var bad *ConfigError
	if _, err := NewServer(&set); !errors.As(err, &bad) || bad.Parameter != "smtpd_tls_protocols" {
		t.Errorf("protocols: %v", err)
	}
	// What only another may read is read by the other.
	set.Protocols, set.CertFile, set.KeyFile = "", "cert", "key"
	set.Read = func(name string) ([]byte, error) { return map[string][]byte{"cert": cert, "key": key}[name], nil }
	if _, err := NewServer(&set); err != nil {
		t.Errorf("read by another: %v", err)
	}
	if got := strings.Join(set.Files(), " "); got != "cert key" {
		t.Errorf("Files: %s", got)
	}
}

// shake does a handshake between both sides and returns what each says of it.
func shake(t *testing.T, s *Server, cfg *tls.Config) (server *mail.TLS, client tls.ConnectionState, serverErr error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	deadline := time.Now().Add(10 * time.Second)
	_, _ = ours.SetDeadline(deadline), theirs.SetDeadline(deadline)
	done := make(chan struct{})
	// goroutine: the server's side; ends with the handshake.
	go func() {
		defer close(done)
		var conn *tls.Conn
		if conn, server, serverErr = s.Handshake(context.Background(), theirs); serverErr == nil {
			_, _ = conn.Write([]byte("x")) // with it goes the session ticket
		} else {
			_ = theirs.Close()
		}
	}()
	c := tls.Client(ours, cfg)
	if err := c.Handshake(); err == nil {
		_, _ = c.Read(make([]byte, 1))
		client = c.ConnectionState()
	}
	_ = ours.Close()
	<-done
	return server, client, serverErr
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	ecCert, ecKey := selfSigned(t, "mx.test")
	rsaCert, rsaKey := rsaPair(t, "mx.test")
	set := Settings{Level: "may", Ciphers: "medium", Digest: "sha256"}
	set.ChainFiles = files(t, slices.Concat(rsaKey, rsaCert, ecKey, ecCert))
	srv, err := NewServer(&set)
	if err != nil {
		t.Fatal(err)
	}
	lax := func(c *tls.Config) *tls.Config { c.InsecureSkipVerify = true; return c }
	tests := []struct {
		name string
		cfg  *tls.Config
		want string
	}{
		{"1.3", lax(&tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}), "key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256"},
		{"P-256", lax(&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}}), "key-exchange ECDHE (prime256v1) server-signature ECDSA"},
		{"1.2 EC", lax(&tls.Config{MaxVersion: tls.VersionTLS12}), "TLSv1.2 with cipher ECDHE-ECDSA-AES"},
		{"1.2 RSA", lax(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}}), "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)"},
		{"1.1", lax(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), "TLSv1.1 with cipher ECDHE-ECDSA-AES"},
		{"other name", lax(&tls.Config{ServerName: "other.test"}), "TLSv1.3"},
	}
	for _, tt := range tests {
		desc, _, err := shake(t, srv, tt.cfg)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := Summary(desc); !strings.Contains(got, tt.want) || Trust(desc) != "Anonymous" {
			t.Errorf("%s: %s %s, want %s", tt.name, Trust(desc), got, tt.want)
		}
	}
}

// TestClientCertificate asks clients for a certificate, and insists.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t, "mx.test")
	good, goodKey := selfSigned(t, "client.test")
	other, otherKey := selfSigned(t, "other.test")
	for _, level := range []string{"may", "encrypt"} {
		set := Settings{Level: level, Ciphers: "high", MandatoryCiphers: "high", AskCert: true, RequireCert: true, Digest: "sha256", VerifyDepth: 9}
		set.ChainFiles = files(t, slices.Concat(key, cert))
		set.CAFile = files(t, good)[0]
		srv, err := NewServer(&set)
		if err != nil {
			t.Fatal(err)
		}
		for want, pair := range map[string][2][]byte{"Trusted": {good, goodKey}, "Untrusted": {other, otherKey}, "Anonymous": {}} {
			cfg := &tls.Config{InsecureSkipVerify: true}
			if pair[0] != nil {
				c, err := tls.X509KeyPair(pair[0], pair[1])
				if err != nil {
					t.Fatal(err)
				}
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
			}
			desc, _, err := shake(t, srv, cfg)
			refused := level == "encrypt" && want != "Trusted"
			if (err != nil) != refused || refused && errors.Is(err, ErrNoClientCert) != (want == "Anonymous") || refused && errors.Is(err, ErrBadClientCert) != (want == "Untrusted") || desc == nil || Trust(desc) != want || !desc.CertAsked {
				t.Errorf("%s, %s: %+v, %v", level, want, desc, err)
			}
			if want == "Trusted" && (desc.PeerCN != "client.test" || len(desc.Fingerprint) != 95) {
				t.Errorf("described as %+v", desc)
			}
		}
	}
}

// TestTickets resumes a session with the server that gave the ticket, and not
// with another.
func TestTickets(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t, "mx.test")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var servers []*Server
	for range 2 {
		s, err := NewServerWith(&Settings{Level: "may", Ciphers: "high", TicketTime: time.Hour, TicketCipher: "aes-256-cbc"}, pair)
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "mx.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i, resumed := range []bool{false, true} {
		if _, cs, err := shake(t, servers[0], cfg); err != nil || cs.DidResume != resumed {
			t.Errorf("handshake %d: resumed %v, %v", i, cs.DidResume, err)
		}
	}
	if _, cs, err := shake(t, servers[1], cfg); err != nil || cs.DidResume {
		t.Errorf("other server: resumed %v, %v", cs.DidResume, err)
	}
}

func TestClientVerify(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t, "mx.test", "*.wild.test")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := NewServerWith(&Settings{Level: "may", Ciphers: "high"}, pair)
	if err != nil {
		t.Fatal(err)
	}
	print := Fingerprint("sha256", pair.Leaf.Raw)
	own, foreign := files(t, cert)[0], ""
	foreignCert, _ := selfSigned(t, "authority.test")
	foreign = files(t, foreignCert)[0]
	tests := []struct {
		name, ca string
		target   Target
		trust    string
		err      error
	}{
		{"may", foreign, Target{Level: LevelMay}, "Untrusted", nil},
		{"encrypt", foreign, Target{Level: LevelEncrypt}, "Untrusted", nil},
		{"verify", own, Target{Level: LevelVerify, Names: []string{"mx.test"}}, "Verified", nil},
		{"verify wildcard", own, Target{Level: LevelVerify, Names: []string{"a.wild.test"}}, "Verified", nil},
		{"wildcard is one label", own, Target{Level: LevelVerify, Names: []string{"a.b.wild.test"}}, "Trusted", ErrNotVerified},
		{"wildcard is several labels", own, Target{Level: LevelVerify, Names: []string{"a.b.wild.test"}}, "Verified", nil},
		{"several labels, one at least", own, Target{Level: LevelVerify, Names: []string{"wild.test"}}, "Trusted", ErrNotVerified},
		{"dot name", own, Target{Level: LevelSecure, Names: []string{".test"}}, "Verified", nil},
		{"other name", own, Target{Level: LevelVerify, Names: []string{"x.test"}}, "Trusted", ErrNotVerified},
		{"unknown authority", foreign, Target{Level: LevelSecure, Names: []string{"mx.test"}}, "Untrusted", ErrUntrusted},
		{"fingerprint", foreign, Target{Level: LevelFingerprint, Fingerprints: []string{strings.ToLower(print)}}, "Verified", nil},
		{"other fingerprint", own, Target{Level: LevelFingerprint, Fingerprints: []string{"00"}}, "Untrusted", ErrNotVerified},
	}
	for _, tt := range tests {
		c, err := NewClient(&ClientSettings{Ciphers: "medium", CAFile: tt.ca, Digest: "sha256", ManyLabels: strings.Contains(tt.name, "several")})
		if err != nil {
			t.Fatal(err)
		}
		tt.target.ServerName = "mx.test"
		_, cs, err := shake(t, srv, c.Config(&tt.target))
		if err != nil {
			t.Fatal(err)
		}
		_, trust, err := c.Verify(cs, &tt.target)
		if trust != tt.trust || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%s: %s, %v; want %s, %v", tt.name, trust, err, tt.trust, tt.err)
		}
	}
}

func FuzzVersions(f *testing.F) {
	f.Add(">=TLSv1.2, !TLSv1.3")
	f.Add("!TLSv1.1")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := Versions("p", s)
		if err == nil && (len(all) == 0 || all[0] < tls.VersionTLS10 || all[len(all)-1] > tls.VersionTLS13 || !slices.IsSorted(all)) {
			t.Errorf("%q: %x", s, all)
		}
	})
}

func TestReason(t *testing.T) {
	leaf := &x509.Certificate{
		RawIssuer: []byte("a"), RawSubject: []byte("b"),
		Issuer: pkix.Name{Country: []string{"SE"}, CommonName: "An Authority"},
	}
	for want, err := range map[string]error{
		"self-signed certificate":                        x509.UnknownAuthorityError{Cert: &x509.Certificate{}},
		"untrusted issuer /C=SE/CN=An Authority":         fmt.Errorf("%w: %w", ErrUntrusted, x509.UnknownAuthorityError{Cert: leaf}),
		"certificate has expired":                        x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired, Detail: "current time T is after U"},
		"certificate not yet valid":                      x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired, Detail: "current time T is before U"},
		"not designated for use as a server certificate": x509.CertificateInvalidError{Cert: leaf, Reason: x509.IncompatibleUsage},
		"something else":                                 errors.New("something else"),
	} {
		if got := Reason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
