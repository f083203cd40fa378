package tlsmgr

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writeChain writes a key and a certificate for a name, as smtpd_tls_chain_files
// wants them.
func writeChain(t *testing.T, path, name string) {
	t.Helper()
	cert, key, err := SelfSigned([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(key, cert...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// nameOf is the first name of the first certificate.
func nameOf(certs []tls.Certificate) string {
	if len(certs) == 0 || len(certs[0].Leaf.DNSNames) == 0 {
		return ""
	}
	return certs[0].Leaf.DNSNames[0]
}

func TestKeyRingFollowsFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "chain.pem")
	writeChain(t, path, "one.test")
	synctest.Test(t, func(t *testing.T) {
		var said []string
		load := func() ([]tls.Certificate, error) { return LoadChains([]string{path}, nil) }
		certs, err := load()
		if err != nil {
			t.Fatal(err)
		}
		r := newKeyRing(certs, load, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
		ask := func() string {
			r.get()
			synctest.Wait() // what get began is over
			return nameOf(r.get())
		}
		writeChain(t, path, "two.test")
		if got := ask(); got != "one.test" {
			t.Errorf("at once: %s", got)
		}
		time.Sleep(reloadEvery)
		if got := ask(); got != "two.test" {
			t.Errorf("after a minute: %s", got)
		}
		if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(reloadEvery)
			if got := ask(); got != "two.test" {
				t.Errorf("with a broken file: %s", got)
			}
		}
		if len(said) != 1 || !strings.Contains(said[0], "no certificate found in") {
			t.Errorf("said %q", said)
		}
		writeChain(t, path, "three.test")
		time.Sleep(reloadEvery)
		if got := ask(); got != "three.test" {
			t.Errorf("repaired: %s", got)
		}
	})
}

func TestServerNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main, own, inside := filepath.Join(dir, "main.pem"), filepath.Join(dir, "own.pem"), filepath.Join(dir, "inside.pem")
	writeChain(t, main, "main.test")
	writeChain(t, own, "own.test")
	writeChain(t, inside, "inside.test")
	text, err := os.ReadFile(inside)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{
		"own.test": own, ".parent.test": own, "inside.test": base64.StdEncoding.EncodeToString(text),
		"gone.test": filepath.Join(dir, "gone.pem"), "away.test": "error",
	}
	var said []string
	set := &Settings{
		Level: "may", ChainFiles: []string{main}, Digest: "sha256", Protocols: ">=TLSv1.2", Ciphers: "medium",
		Names: func(_ context.Context, name string) (string, bool, error) {
			v, ok := names[name]
			if v == "error" {
				return "", false, errors.New("the table is away")
			}
			return v, ok, nil
		},
		Warn: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) },
	}
	srv, err := NewServer(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ ask, want string }{
		{"own.test", "own.test"}, {"OWN.test", "own.test"}, {"a.parent.test", "own.test"}, {"a.b.parent.test", "own.test"},
		{"parent.test", "main.test"}, {"inside.test", "inside.test"}, {"other.test", "main.test"}, {"", "main.test"},
		{"gone.test", "main.test"}, {"away.test", "main.test"},
	} {
		client, server := net.Pipe()
		done := make(chan error, 1)
		// goroutine: the server's handshake; ends with it.
		go func() {
			_, _, err := srv.Handshake(t.Context(), server)
			done <- err
		}()
		c := tls.Client(client, &tls.Config{ServerName: tt.ask, InsecureSkipVerify: true}) //nolint:gosec // a test's certificate
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Fatalf("%s: %v", tt.ask, err)
		}
		if err := <-done; err != nil {
			t.Fatalf("%s: %v", tt.ask, err)
		}
		if got := c.ConnectionState().PeerCertificates[0].DNSNames[0]; got != tt.want {
			t.Errorf("%q gets %s, want %s", tt.ask, got, tt.want)
		}
		_ = client.Close()
		_ = server.Close()
	}
	if len(said) != 2 {
		t.Errorf("said %q", said)
	}
}
