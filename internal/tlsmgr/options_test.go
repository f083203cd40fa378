package tlsmgr

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// settings are those of a server with a certificate of its own and the defaults of
// Postfix.
func settings(t *testing.T) Settings {
	t.Helper()
	cert, key := selfSigned(t, "mx.test")
	return Settings{
		Level: "may", Ciphers: "medium", MandatoryCiphers: "medium", Digest: "sha256", VerifyDepth: 9,
		TicketTime: time.Hour, TicketCipher: "aes-256-cbc", ChainFiles: files(t, slices.Concat(key, cert)),
	}
}

// TestTicketsTurn: a session can be resumed within its time, by the key that was
// before, and no longer.
func TestTicketsTurn(t *testing.T) {
	t.Parallel()
	set := settings(t)
	synctest.Test(t, func(t *testing.T) {
		srv, err := NewServer(&set)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			wait   time.Duration
			resume bool
		}{{59 * time.Minute, true}, {119 * time.Minute, true}, {121 * time.Minute, false}} {
			cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "mx.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			if _, cs, err := shake(t, srv, cfg); err != nil || cs.DidResume {
				t.Fatalf("first: resumed %v, %v", cs.DidResume, err)
			}
			before := srv.tickets.keys[0]
			time.Sleep(tt.wait)
			_, cs, err := shake(t, srv, cfg)
			if err != nil || cs.DidResume != tt.resume {
				t.Errorf("after %v: resumed %v, %v", tt.wait, cs.DidResume, err)
			}
			if kept := slices.Contains(srv.tickets.keys, before); kept != tt.resume || len(srv.tickets.keys) > 2 {
				t.Errorf("after %v: the old key is kept: %v, of %d", tt.wait, kept, len(srv.tickets.keys))
			}
			time.Sleep(2 * time.Hour) // what was before is forgotten
		}
		for range 4 {
			time.Sleep(61 * time.Minute)
			if _, _, err := shake(t, srv, &tls.Config{InsecureSkipVerify: true}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(srv.tickets.keys); n != 2 {
			t.Errorf("%d keys are kept", n)
		}
	})
}

// TestNoTickets: what turns them off.
func TestNoTickets(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Settings){
		"timeout": func(s *Settings) { s.TicketTime = 0 }, "cipher": func(s *Settings) { s.TicketCipher = "" },
		"option": func(s *Settings) { s.Options = "NO_COMPRESSION, no_ticket" },
	} {
		set := settings(t)
		change(&set)
		srv, err := NewServer(&set)
		if err != nil {
			t.Fatal(err)
		}
		cache := tls.NewLRUClientSessionCache(1)
		cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "mx.test", ClientSessionCache: cache}
		for range 2 {
			if _, cs, err := shake(t, srv, cfg); err != nil || cs.DidResume {
				t.Errorf("%s: resumed %v, %v", name, cs.DidResume, err)
			}
		}
		if ticket, ok := cache.Get("mx.test"); ok {
			t.Errorf("%s: the client has a ticket: %v", name, ticket)
		}
	}
}

// TestNotes: what cannot be done is said.
func TestNotes(t *testing.T) {
	t.Parallel()
	set := settings(t)
	set.Medium, set.Auto = "ECDHE+AESGCM:DHE-RSA-AES128-SHA:!aNULL", "X448 X25519"
	set.Options = "NO_RENEGOTIATION PRIORITIZE_CHACHA 0x4000 NO_TICKET"
	srv, err := NewServer(&set)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"tls_eecdh_auto_curves: the TLS library does not have X448",
		"tls_medium_cipherlist: the TLS library has no suites for DHE-RSA-AES128-SHA",
		"tls_ssl_options: PRIORITIZE_CHACHA has no effect on the TLS library",
		"tls_ssl_options: 0x4000 is not known here and has no effect",
	}
	if !slices.Equal(srv.Notes, want) {
		t.Errorf("got\n%s", strings.Join(srv.Notes, "\n"))
	}
	set.Digest = "md4"
	var bad *ConfigError
	if _, err := NewServer(&set); !errors.As(err, &bad) || bad.Parameter != "smtpd_tls_fingerprint_digest" {
		t.Errorf("digest: %v", err)
	}
}

// TestGaps: a version between two others can be left out.
func TestGaps(t *testing.T) {
	t.Parallel()
	set := settings(t)
	set.Protocols = "TLSv1.1, TLSv1.3"
	srv, err := NewServer(&set)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		lowest, highest uint16
		want            string
	}{
		{tls.VersionTLS10, tls.VersionTLS13, "TLSv1.3"}, {tls.VersionTLS10, tls.VersionTLS12, "TLSv1.1"}, {tls.VersionTLS12, tls.VersionTLS12, ""}, {tls.VersionTLS10, tls.VersionTLS10, ""},
	} {
		desc, _, err := shake(t, srv, &tls.Config{InsecureSkipVerify: true, MinVersion: tt.lowest, MaxVersion: tt.highest})
		if (err != nil) != (tt.want == "") || err == nil && desc.Protocol != tt.want {
			t.Errorf("%x to %x: %+v, %v; want %s", tt.lowest, tt.highest, desc, err, tt.want)
		}
	}
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "mx.test", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for _, resumed := range []bool{false, true} {
		if _, cs, err := shake(t, srv, cfg); err != nil || cs.DidResume != resumed {
			t.Errorf("resumed %v, %v", cs.DidResume, err)
		}
	}
}

func TestShortest(t *testing.T) {
	t.Parallel()
	c := &x509.Certificate{}
	if got := shortest([][]*x509.Certificate{{c, c, c}, {c, c}, {c, c, c, c}}); got != 1 {
		t.Errorf("%d above the leaf, want 1", got)
	}
}
