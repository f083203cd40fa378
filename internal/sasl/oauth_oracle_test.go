//go:build oracle

package sasl

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRealDovecotTokens logs in with bearer tokens (RFC 7628) that Dovecot shows to
// an issuer of them.
func TestRealDovecotTokens(t *testing.T) {
	t.Parallel()
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("token") != "sesame" {
			http.Error(w, `{"error":"invalid_token"}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"email":"joe","active":true}`)
	}))
	t.Cleanup(issuer.Close)
	d := newRealDovecot(t)
	d.stop()
	tokens := filepath.Join(d.dir, "oauth2.conf")
	if err := os.WriteFile(tokens, []byte("tokeninfo_url = "+issuer.URL+"/?token=\nusername_attribute = email\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.dir, "dovecot.conf")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.Replace(string(text), "auth_mechanisms = plain", "auth_mechanisms = oauthbearer xoauth2 plain", 1) +
		"passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = " + tokens + "\n}\n"
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	d.start()
	srv := d.server("inet:127.0.0.1:"+d.port, Settings{})
	bearer := func(token string) string {
		return "n,a=joe,\x01host=mx.test\x01port=587\x01auth=Bearer " + token + "\x01\x01"
	}
	old := func(token string) string { return "user=joe\x01auth=Bearer " + token + "\x01\x01" }
	tests := []struct {
		mech string
		has  bool
		in   []string
		user string
		want error
	}{
		{"OAUTHBEARER", true, []string{bearer("sesame")}, "joe", nil},
		{"OAUTHBEARER", false, []string{bearer("sesame")}, "joe", nil},
		{"XOAUTH2", true, []string{old("sesame")}, "joe", nil},
		// RFC 7628 3.2.3: why it failed is a challenge, which the client answers.
		{"OAUTHBEARER", true, []string{bearer("wrong"), "\x01"}, "joe", ErrAuth},
		{"XOAUTH2", true, []string{old("wrong"), ""}, "joe", ErrAuth},
		{"OAUTHBEARER", true, []string{"nonsense"}, "", ErrAuth},
	}
	for _, tt := range tests {
		user, challenges, err := login(srv, tt.mech, tt.has, tt.in...)
		if user != tt.user || !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s %.20q: user %q, challenges %q, %v; want %q, %v", tt.mech, tt.in, user, challenges, err, tt.user, tt.want)
		}
		if len(tt.in) == 2 && (len(challenges) != 1 || !strings.Contains(challenges[0], `"status"`)) {
			t.Errorf("%s: challenges %q", tt.mech, challenges)
		}
	}
}
