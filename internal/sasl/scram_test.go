package sasl

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// secretServer serves all mechanisms against the hashes of TestSchemes.
func secretServer(t testing.TB, s Settings) *localServer {
	t.Helper()
	s.Type, s.Hostname, s.Mechanisms = "postroad", "mx.test", []string{"plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"}
	deps := testDeps()
	deps.Open = func(string) (Table, error) {
		u := users{"down": "ERROR", "odd": "{ROT13}x", "odd scram": "{SCRAM-SHA-256}x", "a,b=c": "{PLAIN}secret pass"}
		for name, value := range hashes {
			u[name] = value
		}
		return u, nil
	}
	srv, err := New(&s, deps)
	if err != nil {
		t.Fatal(err)
	}
	return srv.(*localServer)
}

// scramLogin plays the client of the library.
func scramLogin(srv Server, mech, user, password, authzid string) (name string, err error) {
	client, err := scramHashes[mech].NewClient(user, password, authzid)
	if err != nil {
		return "", err
	}
	conv := client.NewConversation()
	first, err := conv.Step("")
	if err != nil {
		return "", err
	}
	x, err := srv.Begin(context.Background(), &Request{Mechanism: mech, Initial: []byte(first), HasInitial: true})
	if err != nil {
		return "", err
	}
	defer x.Close()
	var response []byte
	for {
		challenge, done, err := x.Next(context.Background(), response)
		if err != nil || done {
			if done && !conv.Valid() {
				err = errors.New("the server did not prove itself")
			}
			return x.Username(), err
		}
		if conv.Valid() {
			return x.Username(), errors.New("one challenge too many")
		}
		answer, err := conv.Step(string(challenge))
		if err != nil {
			return x.Username(), err
		}
		response = []byte(answer)
	}
}

func TestScram(t *testing.T) {
	t.Parallel()
	srv := secretServer(t, Settings{})
	tests := []struct {
		mech, user, password, authzid string
		want                          error
	}{
		{"SCRAM-SHA-256", "scram-sha-256", "secret pass", "", nil}, {"SCRAM-SHA-256", "scram-sha-256", "secret pass", "scram-sha-256", nil},
		{"SCRAM-SHA-256", "scram-sha-256", "wrong", "", ErrAuth}, {"SCRAM-SHA-256", "scram-sha-256", "secret pass", "clear", ErrAuth},
		{"SCRAM-SHA-1", "scram-sha-1", "secret pass", "", nil}, {"SCRAM-SHA-1", "scram-sha-1", "wrong", "", ErrAuth},
		{"SCRAM-SHA-1", "clear", "secret pass", "", nil}, {"SCRAM-SHA-256", "clear", "secret pass", "", nil}, {"SCRAM-SHA-256", "clear", "wrong", "", ErrAuth},
		{"SCRAM-SHA-256", "a,b=c", "secret pass", "", nil},
		// Nothing is kept for the mechanism: as for a user who is not known.
		{"SCRAM-SHA-1", "scram-sha-256", "secret pass", "", ErrAuth}, {"SCRAM-SHA-1", "ssha", "secret pass", "", ErrAuth},
		{"SCRAM-SHA-256", "nobody", "secret pass", "", ErrAuth},
		{"SCRAM-SHA-256", "down", "x", "", ErrTemporary}, {"SCRAM-SHA-256", "odd", "x", "", ErrTemporary}, {"SCRAM-SHA-256", "odd scram", "x", "", ErrTemporary},
		{"SCRAM-SHA-256", strings.Repeat("u", maxUser+1), "x", "", ErrAuth},
	}
	for _, tt := range tests {
		user, err := scramLogin(srv, tt.mech, tt.user, tt.password, tt.authzid)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || user != tt.user {
			t.Errorf("%s %s %q: %q, %v; want %v", tt.mech, tt.user, tt.password, user, err, tt.want)
		}
	}
	// A name that is not known shows the same salt each time.
	first := func() string {
		_, challenges, _ := login(srv, "SCRAM-SHA-256", true, "n,,n=nobody,r=abc", "x")
		return challenges[0][strings.Index(challenges[0], ",s="):]
	}
	if a, b := first(), first(); a != b || !strings.HasSuffix(a, ",i=4096") {
		t.Errorf("%q and %q", a, b)
	}
	if _, challenges, err := login(srv, "SCRAM-SHA-1", false, "nonsense"); len(challenges) != 1 || challenges[0] != "" || !errors.Is(err, ErrAuth) {
		t.Errorf("without initial response: %q, %v", challenges, err)
	}
}

func TestCram(t *testing.T) {
	t.Parallel()
	srv := secretServer(t, Settings{})
	for _, tt := range []struct {
		user, password string
		want           error
	}{
		{"clear", "secret pass", nil}, {"clear", "wrong", ErrAuth}, {"plain.b64", "secret pass", nil}, {"a,b=c", "secret pass", nil},
		{"ssha", "secret pass", ErrAuth}, {"nobody", "", ErrAuth}, {"down", "x", ErrTemporary}, {"odd", "x", ErrTemporary}, {"md5 digest", "x", ErrAuth},
	} {
		x, err := srv.Begin(context.Background(), &Request{Mechanism: "cram-md5"})
		if err != nil {
			t.Fatal(err)
		}
		challenge, _, err := x.Next(context.Background(), nil)
		if err != nil || !strings.HasSuffix(string(challenge), "@mx.test>") {
			t.Fatalf("%q, %v", challenge, err)
		}
		m := hmac.New(md5.New, []byte(tt.password))
		_, _ = m.Write(challenge)
		_, done, err := x.Next(context.Background(), []byte(tt.user+" "+hex.EncodeToString(m.Sum(nil))))
		if !errors.Is(err, tt.want) || done != (tt.want == nil) || x.Username() != tt.user {
			t.Errorf("%s: %q, %v, %v", tt.user, x.Username(), done, err)
		}
	}
	for _, bad := range []string{"", "clear", "clear 00", " 0123456789abcdef0123456789abcdef", "clear 0123456789abcdef0123456789abcdeg"} {
		if _, _, err := login(srv, "CRAM-MD5", false, bad); !errors.Is(err, ErrAuth) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, _, err := login(srv, "CRAM-MD5", true, "clear"); !errors.Is(err, ErrAuth) {
		t.Errorf("with an initial response: %v", err)
	}
}

func FuzzScram(f *testing.F) {
	f.Add("n,,n=clear,r=abc", "c=biws,r=abc,p=AAAA")
	f.Add("p=tls-unique,,n=clear,r=abc", "")
	f.Add("y,a=x,n=a=2Cb,r=abc", "c=eSws,r=abc")
	srv := secretServer(f, Settings{})
	f.Fuzz(func(t *testing.T, first, final string) {
		if _, _, err := login(srv, "SCRAM-SHA-256", true, first, final, ""); err == nil {
			t.Errorf("%q and %q are enough to log in", first, final)
		}
		_ = scramName([]byte(first))
	})
}

func FuzzCram(f *testing.F) {
	f.Add("clear 0123456789abcdef0123456789abcdef")
	f.Fuzz(func(t *testing.T, s string) {
		if user, digest, ok := parseCram(s); ok && (user == "" || len(digest) != md5.Size || !strings.HasPrefix(s, user+" ")) {
			t.Errorf("%q: %q %x", s, user, digest)
		}
	})
}

// TestDerive compares what is made of a password with what Dovecot made of it.
func TestDerive(t *testing.T) {
	t.Parallel()
	for _, mech := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256"} {
		h := scramHashes[mech]
		_, text, _ := strings.Cut(hashes[strings.ToLower(mech)], "}")
		want, err := parseSCRAM(text, h().Size())
		if err != nil {
			t.Fatal(err)
		}
		client, err := h.NewClient("joe", "secret pass", "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: want.Salt, Iters: want.Iters})
		if err != nil || string(got.ServerKey) != string(want.ServerKey) {
			t.Errorf("%s: %v", mech, err)
		}
	}
}
